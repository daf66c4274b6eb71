//! What the kernels must compute, in plain loops and float64.

use super::ConvShape;

/// Values between -1 and 1, the same for the same seed.
pub fn noise(len: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    (0..len).map(|_| next()).collect()
}

/// The largest difference, relative to the largest expected value; NaN where there is one.
pub fn relative_error(found: &[f32], expected: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let scale = expected.iter().fold(1e-9f64, |most, v| most.max(v.abs()));
    let errors = found
        .iter()
        .zip(expected)
        .map(|(f, e)| (f64::from(*f) - e).abs());
    let worst = errors.fold(
        0.0,
        |most: f64, e| if e > most || e.is_nan() { e } else { most },
    );
    worst / scale
}

/// Calls `visit(input, weight, output)` with the indices of every product.
fn products(shape: &ConvShape, mut visit: impl FnMut(usize, usize, usize)) {
    let ConvShape {
        n,
        h,
        w,
        c,
        k,
        kh,
        kw,
        stride,
        pad,
    } = *shape;
    let (oh, ow) = (shape.oh(), shape.ow());
    for image in 0..n {
        for (i, j) in (0..oh).flat_map(|i| (0..ow).map(move |j| (i, j))) {
            for (a, b) in (0..kh).flat_map(|a| (0..kw).map(move |b| (a, b))) {
                let y = (i * stride + a).wrapping_sub(pad);
                let x = (j * stride + b).wrapping_sub(pad);
                if y >= h || x >= w {
                    continue;
                }
                for output in 0..k {
                    for input in 0..c {
                        visit(
                            ((image * h + y) * w + x) * c + input,
                            ((output * c + input) * kh + a) * kw + b,
                            ((image * oh + i) * ow + j) * k + output,
                        );
                    }
                }
            }
        }
    }
}

/// The convolution, `[n, oh, ow, k]`.
pub fn convolution(x: &[f32], weights: &[f32], shape: &ConvShape) -> Vec<f64> {
    let mut y = vec![0.0; shape.output_len()];
    products(shape, |i, w, o| {
        y[o] += f64::from(x[i]) * f64::from(weights[w])
    });
    y
}

/// The gradients of input and weights.
pub fn gradients(
    x: &[f32],
    weights: &[f32],
    dy: &[f32],
    shape: &ConvShape,
) -> (Vec<f64>, Vec<f64>) {
    let mut dx = vec![0.0; shape.input_len()];
    let mut dw = vec![0.0; shape.weights_len()];
    products(shape, |i, w, o| {
        dx[i] += f64::from(dy[o]) * f64::from(weights[w]);
        dw[w] += f64::from(dy[o]) * f64::from(x[i]);
    });
    (dx, dw)
}
