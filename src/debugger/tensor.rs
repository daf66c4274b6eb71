//! Tensors on the host, as Debugger files hold them.
//!
//! Input: values of a step. Output: [`HostTensor`]s and their type codes; [`StepRecord`], all that was saved of one step.

use burn::tensor::TensorData;

use super::reduction::Reduction;

/// A mode of Debugger: which loop a step belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ModeKey {
    Train,
    Eval,
    Predict,
    Global,
}

impl ModeKey {
    pub const ALL: [ModeKey; 4] = [
        ModeKey::Train,
        ModeKey::Eval,
        ModeKey::Predict,
        ModeKey::Global,
    ];

    /// As index files have it.
    pub fn name(self) -> &'static str {
        match self {
            ModeKey::Train => "TRAIN",
            ModeKey::Eval => "EVAL",
            ModeKey::Predict => "PREDICT",
            ModeKey::Global => "GLOBAL",
        }
    }

    /// As records have it.
    pub fn code(self) -> u8 {
        self as u8 + 1
    }

    /// What precedes a parameter that is meant for this mode alone.
    pub fn prefix(self) -> &'static str {
        match self {
            ModeKey::Train => "train.",
            ModeKey::Eval => "eval.",
            ModeKey::Predict => "predict.",
            ModeKey::Global => "global.",
        }
    }

    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.name() == name)
    }
}

/// Values of one of the types that readers of Debugger's files know.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    F32(Vec<f32>),
    F64(Vec<f64>),
    F16(Vec<half::f16>),
    I32(Vec<i32>),
    I64(Vec<i64>),
    U8(Vec<u8>),
    Bool(Vec<bool>),
}

/// A tensor in memory, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct HostTensor {
    pub shape: Vec<usize>,
    pub values: Values,
}

impl HostTensor {
    pub fn floats(values: Vec<f32>, shape: impl Into<Vec<usize>>) -> Self {
        HostTensor {
            shape: shape.into(),
            values: Values::F32(values),
        }
    }

    pub fn integers(values: Vec<i64>) -> Self {
        HostTensor {
            shape: vec![values.len()],
            values: Values::I64(values),
        }
    }

    pub fn scalar(value: f32) -> Self {
        Self::floats(vec![value], [])
    }

    /// Floating-point values of any width, as float32.
    pub fn of_data(data: TensorData) -> Self {
        let shape = data.shape().to_vec();
        let data = data.convert::<f32>();
        let values = match data.as_slice::<f32>() {
            Ok(values) => values.to_vec(),
            Err(_) => data.iter::<f32>().collect(),
        };
        Self::floats(values, shape)
    }

    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The values as float64, in memory order.
    pub fn to_f64(&self) -> Vec<f64> {
        match &self.values {
            Values::F32(v) => v.iter().map(|x| f64::from(*x)).collect(),
            Values::F64(v) => v.clone(),
            Values::F16(v) => v.iter().map(|x| x.to_f64()).collect(),
            Values::I32(v) => v.iter().map(|x| f64::from(*x)).collect(),
            Values::I64(v) => v.iter().map(|x| *x as f64).collect(),
            Values::U8(v) => v.iter().map(|x| f64::from(*x)).collect(),
            Values::Bool(v) => v.iter().map(|x| f64::from(u8::from(*x))).collect(),
        }
    }

    /// A reduction of the values, of which there is at least one.
    pub fn reduce(&self, reduction: Reduction) -> f64 {
        match &self.values {
            Values::F32(values) => reduction.of(values.iter().map(|x| f64::from(*x))),
            _ => reduction.of(self.to_f64().into_iter()),
        }
    }

    /// How many of the values are so.
    pub fn count(&self, is_so: impl Fn(f64) -> bool) -> usize {
        self.counts(self.value_count().max(1), is_so).iter().sum()
    }

    /// How many are so of each run of `length` values, which is not 0.
    pub fn counts(&self, length: usize, is_so: impl Fn(f64) -> bool) -> Vec<usize> {
        let of = |run: &[f64]| run.iter().filter(|x| is_so(**x)).count();
        match &self.values {
            // By far the most, and not to be copied.
            Values::F32(values) => values
                .chunks_exact(length)
                .map(|run| run.iter().filter(|x| is_so(f64::from(**x))).count())
                .collect(),
            _ => self.to_f64().chunks_exact(length).map(of).collect(),
        }
    }

    /// The position of the largest value of each row, of two equal ones the later.
    pub fn argmax_of_rows(&self) -> Vec<usize> {
        let width = self.shape.last().copied().unwrap_or(1).max(1);
        let largest = |row: &[f64]| {
            let best = row.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
            best.map_or(0, |(class, _)| class)
        };
        self.to_f64().chunks_exact(width).map(largest).collect()
    }

    /// TensorFlow's code of the type.
    pub fn dtype_code(&self) -> u64 {
        match self.values {
            Values::F32(_) => 1,
            Values::F64(_) => 2,
            Values::I32(_) => 3,
            Values::U8(_) => 4,
            Values::I64(_) => 9,
            Values::Bool(_) => 10,
            Values::F16(_) => 19,
        }
    }

    /// Little-endian bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        match &self.values {
            Values::F32(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Values::F64(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Values::F16(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Values::I32(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Values::I64(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Values::U8(v) => v.clone(),
            Values::Bool(v) => v.iter().map(|x| u8::from(*x)).collect(),
        }
    }

    /// The tensor that these bytes are; `None` for a type that is not known, or where the bytes do not fill the shape.
    pub fn of_bytes(code: u64, shape: Vec<usize>, bytes: &[u8]) -> Option<Self> {
        fn each<const N: usize, T>(bytes: &[u8], of: impl Fn([u8; N]) -> T) -> Option<Vec<T>> {
            let (chunks, rest) = bytes.as_chunks::<N>();
            rest.is_empty()
                .then(|| chunks.iter().map(|chunk| of(*chunk)).collect())
        }
        let values = match code {
            1 => Values::F32(each(bytes, f32::from_le_bytes)?),
            2 => Values::F64(each(bytes, f64::from_le_bytes)?),
            3 => Values::I32(each(bytes, i32::from_le_bytes)?),
            4 => Values::U8(bytes.to_vec()),
            9 => Values::I64(each(bytes, i64::from_le_bytes)?),
            10 => Values::Bool(bytes.iter().map(|b| *b != 0).collect()),
            19 => Values::F16(each(bytes, half::f16::from_le_bytes)?),
            _ => return None,
        };
        let count = shape
            .iter()
            .try_fold(1usize, |count, side| count.checked_mul(*side))?;
        let tensor = HostTensor { shape, values };
        (tensor.value_count() == count).then_some(tensor)
    }

    fn value_count(&self) -> usize {
        match &self.values {
            Values::F32(v) => v.len(),
            Values::F64(v) => v.len(),
            Values::F16(v) => v.len(),
            Values::I32(v) => v.len(),
            Values::I64(v) => v.len(),
            Values::U8(v) => v.len(),
            Values::Bool(v) => v.len(),
        }
    }
}

/// What was saved of a tensor in one step.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Entry {
    pub name: String,
    /// The tensor itself, where it was saved.
    pub value: Option<HostTensor>,
    pub reductions: Vec<(Reduction, f64)>,
    /// The shape, where that alone was asked for.
    pub shape: Option<Vec<usize>>,
}

impl Entry {
    pub fn whole(name: impl Into<String>, value: HostTensor) -> Self {
        Entry {
            name: name.into(),
            value: Some(value),
            ..Default::default()
        }
    }

    /// A reduction: as saved, else computed; `None` where neither can be.
    pub fn reduced(&self, reduction: Reduction) -> Option<f64> {
        let saved = self.reductions.iter().find(|(kind, _)| *kind == reduction);
        match (saved, &self.value) {
            (Some((_, value)), _) => Some(*value),
            (None, Some(tensor)) if !tensor.is_empty() => Some(tensor.reduce(reduction)),
            (None, _) => None,
        }
    }
}

/// All that was saved of one step by one worker.
#[derive(Clone, Debug, PartialEq)]
pub struct StepRecord {
    pub mode: ModeKey,
    /// Steps of this mode before this one.
    pub mode_step: usize,
    /// Steps of all modes before this one.
    pub global_step: usize,
    /// Seconds since 1970.
    pub wall_time: f64,
    pub entries: Vec<Entry>,
}

impl StepRecord {
    pub fn entry(&self, name: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.name == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_survives_its_bytes() {
        for values in [
            Values::F32(vec![1.5, -0.0]),
            Values::F64(vec![1e300, 2.0]),
            Values::F16(vec![half::f16::ONE, half::f16::INFINITY]),
            Values::I32(vec![-1, 7]),
            Values::I64(vec![i64::MIN, 3]),
            Values::U8(vec![0, 255]),
            Values::Bool(vec![true, false]),
        ] {
            let tensor = HostTensor {
                shape: vec![2, 1],
                values,
            };
            let bytes = tensor.to_bytes();
            let back = HostTensor::of_bytes(tensor.dtype_code(), vec![2, 1], &bytes);
            assert_eq!(back, Some(tensor));
        }
    }

    #[test]
    fn the_largest_of_each_row_and_counts_of_runs() {
        let tensor = HostTensor::floats(vec![0.0, 2.0, 1.0, 5.0, -1.0, 0.0], [2, 3]);
        assert_eq!(tensor.argmax_of_rows(), [1, 0]);
        assert_eq!(tensor.counts(3, |x| x > 0.0), [2, 1]);
        assert_eq!(HostTensor::integers(vec![3, -1]).count(|x| x > 0.0), 1);
        assert_eq!(HostTensor::integers(Vec::new()).count(|_| true), 0);
    }

    #[test]
    fn bytes_that_do_not_fill_a_shape_are_refused() {
        assert_eq!(HostTensor::of_bytes(1, vec![2], &[0; 4]), None);
        assert_eq!(HostTensor::of_bytes(1, vec![1], &[0; 5]), None);
        assert_eq!(HostTensor::of_bytes(1, vec![usize::MAX, 4], &[0; 4]), None);
        // bfloat16 has no code that the readers know.
        assert_eq!(HostTensor::of_bytes(14, vec![1], &[0; 2]), None);
    }

    #[test]
    fn saved_reductions_count_before_computed_ones() {
        let mean = "mean".parse().unwrap();
        let mut entry = Entry::whole("x", HostTensor::floats(vec![1.0, 3.0], [2]));
        assert_eq!(entry.reduced(mean), Some(2.0));
        entry.reductions.push((mean, 7.0));
        assert_eq!(entry.reduced(mean), Some(7.0));
        entry.value = None;
        assert_eq!(entry.reduced("max".parse().unwrap()), None);
    }
}
