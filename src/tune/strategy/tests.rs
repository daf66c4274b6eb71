//! The strategies on functions whose best point is known.

use std::collections::BTreeSet;

use super::*;

fn space(typed: &str) -> Space {
    Space::parse(typed).unwrap()
}

/// The lowest loss that `trials` trials find.
fn best(
    kind: StrategyKind,
    space: &Space,
    seed: u64,
    trials: usize,
    loss: fn(&Values) -> f64,
) -> f64 {
    let mut search = Search::new(kind, space, seed);
    let mut best = f64::INFINITY;
    for number in 1..=trials {
        let values = search.ask(number).unwrap();
        let found = loss(&values);
        search.tell(&values, found);
        best = best.min(found);
    }
    best
}

fn float(values: &Values, name: &str) -> f64 {
    values[name].parse().unwrap()
}

#[test]
fn the_grid_covers_the_product_once() {
    let space = space("batch-size=8,16,32;optimizer=sgd,adam;epochs=2..3");
    let mut search = Search::new(StrategyKind::Grid, &space, 1);
    let all: Vec<Values> = (1..=12).map(|number| search.ask(number).unwrap()).collect();
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), 12);
    assert_eq!(search.ask(13), None);
}

#[test]
fn no_strategy_tries_anything_twice_and_each_ends_with_the_space() {
    let space = space("batch-size=8,32;learning-rate=0.001,0.003,0.01");
    for kind in [
        StrategyKind::Random,
        StrategyKind::Bayesian,
        StrategyKind::Hyperband,
    ] {
        let mut search = Search::new(kind, &space, 3);
        let mut seen = BTreeSet::new();
        for number in 1..=6 {
            let values = search.ask(number).unwrap();
            search.tell(&values, float(&values, "learning-rate"));
            assert!(seen.insert(values), "{kind:?}");
        }
        assert_eq!(search.ask(7), None, "{kind:?}");
    }
}

/// Best at a learning rate of 0.01, a weight decay of 0.1 and with adam.
fn bowl(values: &Values) -> f64 {
    let rate = float(values, "learning-rate").log10() + 2.0;
    let decay = float(values, "weight-decay") - 0.1;
    let name = if values["optimizer"] == "adam" {
        0.0
    } else {
        1.0
    };
    rate * rate + 20.0 * decay * decay + name
}

#[test]
fn the_model_beats_chance() {
    let space =
        space("learning-rate=1e-5..1:log;weight-decay=0..0.5;optimizer=sgd,adam,adamw,rmsprop");
    let mean = |kind| {
        let seeds = 0..60;
        seeds
            .map(|seed| best(kind, &space, seed, 40, bowl))
            .sum::<f64>()
            / 60.0
    };
    let (model, chance) = (mean(StrategyKind::Bayesian), mean(StrategyKind::Random));
    assert!(model < 0.5 * chance, "{model} {chance}");
}

#[test]
fn the_seed_and_the_outcomes_decide_everything() {
    let space = space("learning-rate=1e-5..1;batch-size=4..64;optimizer=sgd,adam");
    for kind in [StrategyKind::Random, StrategyKind::Bayesian] {
        let run = |seed| {
            let mut search = Search::new(kind, &space, seed);
            let step = |number| {
                let values = search.ask(number).unwrap();
                search.tell(&values, float(&values, "learning-rate"));
                values
            };
            (1..=15).map(step).collect::<Vec<Values>>()
        };
        let whole = run(7);
        assert_eq!(whole, run(7), "{kind:?}");
        assert_ne!(whole, run(8), "{kind:?}");

        // Another process that is told what came before goes on in the same way.
        let mut search = Search::new(kind, &space, 7);
        for values in &whole[..9] {
            search.handed_out(values);
            search.tell(values, float(values, "learning-rate"));
        }
        assert_eq!(search.ask(10).as_ref(), Some(&whole[9]), "{kind:?}");
    }
}

#[test]
fn a_failed_trial_counts_as_bad_and_no_more() {
    let space = space("learning-rate=1e-5..1");
    let mut search = Search::new(StrategyKind::Bayesian, &space, 5);
    let mut high = 0;
    for number in 1..=40 {
        let values = search.ask(number).unwrap();
        let rate = float(&values, "learning-rate");
        let failed = rate > 0.01;
        high += usize::from(failed && number > 20);
        search.tell(&values, if failed { f64::INFINITY } else { rate });
    }
    // A third of the range, were it by chance.
    assert!(high <= 4, "{high} of 20");
}
