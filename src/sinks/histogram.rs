//! Histograms for TensorBoard.
//!
//! Input: tensors of a step by tag. Output: [`HistogramFile`], an event file with what `tf.summary.histogram` of TensorFlow 2 writes.

use std::path::Path;

use super::SinkError;
use super::event_file::{EventFile, histograms_event, restart_event, version_event};

/// As many as TensorFlow makes, and as TensorBoard shows.
const BUCKETS: usize = 30;

/// How many of a tensor's values lie where.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Histogram {
    /// Left edge, right edge and count. The last bucket holds its right edge, too.
    pub buckets: Vec<[f64; 3]>,
}

impl Histogram {
    /// Buckets of one width from the smallest to the largest value. Values that are not finite lie nowhere.
    pub fn of(values: &[f32]) -> Self {
        let finite = || {
            values
                .iter()
                .map(|x| f64::from(*x))
                .filter(|x| x.is_finite())
        };
        let (least, most) = finite()
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), x| {
                (least.min(x), most.max(x))
            });
        let width = (most - least) / BUCKETS as f64;
        if width == 0.0 {
            let count = finite().count() as f64;
            return Histogram {
                buckets: vec![[least - 0.5, most + 0.5, count]],
            };
        }
        if width.is_nan() || width < 0.0 {
            return Histogram::default();
        }
        let mut counts = [0u64; BUCKETS];
        for x in finite() {
            counts[(((x - least) / width) as usize).min(BUCKETS - 1)] += 1;
        }
        let edge = |index: usize| match index {
            BUCKETS => most,
            index => least + index as f64 * width,
        };
        let buckets = counts.iter().enumerate();
        Histogram {
            buckets: buckets
                .map(|(index, count)| [edge(index), edge(index + 1), *count as f64])
                .collect(),
        }
    }
}

/// An event file with histograms, in a folder of its own: TensorBoard reads one file at a time of each folder.
pub struct HistogramFile {
    file: EventFile,
    /// Whether an earlier part of the run has left a file, whose later steps do not count any more.
    goes_on: bool,
}

impl HistogramFile {
    /// # Errors
    /// The folder or the file cannot be made.
    pub fn create(folder: &Path) -> Result<Self, SinkError> {
        let goes_on = EventFile::any_in(folder);
        let now = crate::files::seconds_since_epoch();
        let mut file = EventFile::create(folder, now)?;
        file.append(&version_event(now))?;
        Ok(HistogramFile { file, goes_on })
    }

    /// Writes the histograms of a step.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(
        &mut self,
        wall_time: f64,
        step: usize,
        histograms: &[(String, Histogram)],
    ) -> Result<(), SinkError> {
        if std::mem::take(&mut self.goes_on) {
            self.file.append(&restart_event(wall_time, step))?;
        }
        self.file
            .append(&histograms_event(wall_time, step, histograms))?;
        // Steps are rare enough, and whoever looks at a running training wants to see them.
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_lies_in_its_bucket() {
        let values: Vec<f32> = (0..=60).map(|i| i as f32 / 60.0).collect();
        let histogram = Histogram::of(&values);
        assert_eq!(histogram.buckets.len(), 30);
        assert_eq!(histogram.buckets[0][0], 0.0);
        assert_eq!(histogram.buckets[29][1], 1.0);
        for (index, [left, right, count]) in histogram.buckets.iter().enumerate() {
            let is_last = index == 29;
            let inside = values.iter().filter(|x| {
                let x = f64::from(**x);
                x >= *left && (x < *right || is_last && x == *right)
            });
            // An edge that no float32 meets may round to either side.
            assert!((inside.count() as f64 - count).abs() <= 1.0, "{index}");
        }
        let all: f64 = histogram.buckets.iter().map(|bucket| bucket[2]).sum();
        assert_eq!(all, 61.0);
    }

    #[test]
    fn equal_values_and_values_that_are_none() {
        assert_eq!(Histogram::of(&[2.0; 5]).buckets, [[1.5, 2.5, 5.0]]);
        assert!(Histogram::of(&[f32::NAN, f32::INFINITY]).buckets.is_empty());
        assert!(Histogram::of(&[]).buckets.is_empty());
        let some: f64 = Histogram::of(&[f32::NAN, 1.0, 2.0])
            .buckets
            .iter()
            .map(|b| b[2])
            .sum();
        assert_eq!(some, 2.0);
        // The range of two float32 values is a finite float64.
        let extremes = Histogram::of(&[f32::MIN, f32::MAX]).buckets;
        assert!(
            extremes[0][2] == 1.0 && extremes[29][2] == 1.0,
            "{extremes:?}"
        );
    }
}
