//! Arrays as NumPy writes them.
//!
//! Input: a shape and values. Output: the bytes of an `.npy` file.

/// An `.npy` file, version 1.
pub fn npy(descr: &str, fortran: bool, shape: &[usize], data: &[u8]) -> Vec<u8> {
    let order = if fortran { "True" } else { "False" };
    let shape: String = shape.iter().map(|n| format!("{n}, ")).collect();
    let mut header =
        format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': ({shape}), }}");
    let length = (10 + header.len() + 1).next_multiple_of(64) - 10;
    header.push_str(&" ".repeat(length - header.len() - 1));
    header.push('\n');
    let mut out = b"\x93NUMPY\x01\x00".to_vec();
    out.extend((header.len() as u16).to_le_bytes());
    out.extend(header.as_bytes());
    out.extend(data);
    out
}

pub fn f4(values: &[f32]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect()
}

pub fn f8(values: &[f32]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| f64::from(*value).to_le_bytes())
        .collect()
}

/// `[h, w, 3]` to `[3, h, w]`.
pub fn channels_first<T: Copy>(values: &[T]) -> Vec<T> {
    (0..3)
        .flat_map(|channel| {
            values
                .iter()
                .skip(channel)
                .step_by(3)
                .copied()
                .collect::<Vec<_>>()
        })
        .collect()
}

/// C order to Fortran order.
pub fn fortran<T: Copy>(values: &[T], shape: &[usize]) -> Vec<T> {
    let mut out = Vec::with_capacity(values.len());
    let mut index = vec![0; shape.len()];
    for _ in 0..values.len() {
        let at = index.iter().zip(shape).fold(0, |at, (i, n)| at * n + i);
        out.push(values[at]);
        for (i, n) in index.iter_mut().zip(shape) {
            *i += 1;
            if *i < *n {
                break;
            }
            *i = 0;
        }
    }
    out
}
