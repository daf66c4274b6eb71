//! How much each hyperparameter matters.
//!
//! Input: the places and losses of trials. Output: the share of the losses' variance that one hyperparameter explains on its own.
//!
//! Trials are grouped by the value of a list, or by equal parts of a range, and the variance between the groups is set against all
//! of it; what groups would explain by chance is taken off (adjusted eta squared). With the few trials of a study that is as much
//! as can be told: models such as forests need hundreds of them.

use super::space::{Domain, Space, Values};

/// Parts that a range is cut into; with few trials fewer.
const MOST_PARTS: usize = 4;

/// The importance of each dimension of `space`, from 0 to 1; `None` where there are too few trials to tell, or all losses are
/// equal.
pub fn importance(space: &Space, trials: &[(&Values, f64)]) -> Vec<Option<f64>> {
    let finite: Vec<&(&Values, f64)> = trials.iter().filter(|(_, loss)| loss.is_finite()).collect();
    let losses: Vec<f64> = finite.iter().map(|(_, loss)| *loss).collect();
    let each = space.dimensions.iter().map(|dimension| {
        let parts = match &dimension.domain {
            Domain::Categorical(values) => values.len(),
            _ => (finite.len() as f64).sqrt() as usize,
        };
        let parts = match &dimension.domain {
            Domain::Categorical(_) => parts,
            _ => parts.clamp(2, MOST_PARTS),
        };
        let group = |values: &Values| {
            let unit = dimension.unit(values.get(&dimension.name)?)?;
            Some(((unit * parts as f64) as usize).min(parts - 1))
        };
        let groups: Option<Vec<usize>> = finite.iter().map(|(values, _)| group(values)).collect();
        explained(&groups?, &losses)
    });
    each.collect()
}

/// The share of the variance between groups, less what chance would give.
fn explained(groups: &[usize], losses: &[f64]) -> Option<f64> {
    let count = losses.len();
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let all = mean(losses);
    let total: f64 = losses.iter().map(|loss| (loss - all).powi(2)).sum();
    let mut used: Vec<usize> = groups.to_vec();
    used.sort_unstable();
    used.dedup();
    if total <= 0.0 || count <= used.len() {
        return None;
    }
    let within: f64 = used
        .iter()
        .map(|group| {
            let members: Vec<f64> = groups
                .iter()
                .zip(losses)
                .filter(|(g, _)| *g == group)
                .map(|(_, loss)| *loss)
                .collect();
            let middle = mean(&members);
            members
                .iter()
                .map(|loss| (loss - middle).powi(2))
                .sum::<f64>()
        })
        .sum();
    let unexplained = within / (count - used.len()) as f64 * (count - 1) as f64;
    Some((1.0 - unexplained / total).clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_by_hand() {
        // Means 1 and 3, within each group a spread of 0: everything is explained.
        assert_eq!(explained(&[0, 0, 1, 1], &[1.0, 1.0, 3.0, 3.0]), Some(1.0));
        // Groups of equal means explain nothing.
        assert_eq!(explained(&[0, 0, 1, 1], &[1.0, 3.0, 1.0, 3.0]), Some(0.0));
        // Losses 0, 2, 4, 6: total 20; within groups 2 + 2 = 4, over 2 degrees of freedom of 3: 1 - 6 / 20.
        let found = explained(&[0, 0, 1, 1], &[0.0, 2.0, 4.0, 6.0]).unwrap();
        assert!((found - 0.7).abs() < 1e-12, "{found}");
        assert_eq!(explained(&[0, 1], &[1.0, 2.0]), None);
        assert_eq!(explained(&[0, 0, 1], &[1.0, 1.0, 1.0]), None);
    }

    #[test]
    fn the_setting_that_decides_is_found() {
        let space = Space::parse("learning-rate=1e-4..1e-1;optimizer=sgd,adam").unwrap();
        let units = [0.05, 0.3, 0.55, 0.8, 0.1, 0.35, 0.6, 0.95];
        let points: Vec<Values> = units
            .iter()
            .enumerate()
            .map(|(index, unit)| space.at(&[*unit, if index % 2 == 0 { 0.2 } else { 0.7 }]))
            .collect();
        let trials: Vec<(&Values, f64)> = points.iter().zip(units).collect();
        let found = importance(&space, &trials);
        assert!(found[0].unwrap() > 0.7, "{found:?}");
        assert!(found[1].unwrap() < 0.3, "{found:?}");
    }
}
