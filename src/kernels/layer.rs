//! Convolution, batch norm, residual addition, ReLU and max pooling as one operation on Burn tensors, with its gradient.
//!
//! Input: images `[n, h, w, c]` (channels last) of float32 on Burn's CPU backend, with or without autodiff. Output: images of
//! the same kind. As one operation because each of its parts is bound by memory: apart, they read and write every feature map
//! a dozen times.

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::NoCheckpointing};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Flex, TensorMetadata};
use burn::tensor::{DType, Device, Shape, Tensor, TensorData};

use super::conv::{convolve, input_gradient, weight_gradient};
use super::memory::Map;
use super::norm::{self, InputGradient, Moments};
use super::pool::{PoolGradient, PoolShape, max_pool};
use super::scratch;
use super::{ConvShape, Isa};

type Values = FloatTensor<Flex>;
type Tracked = FloatTensor<Autodiff<Flex>>;

/// Where the statistics of a batch norm come from.
#[derive(Clone, Debug)]
pub enum Statistics {
    /// The batch itself.
    Batch,
    /// Given, and constant.
    Fixed(Moments),
}

/// A max pooling: side of its window, stride and padding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool {
    pub window: usize,
    pub stride: usize,
    pub pad: usize,
}

/// What a layer does besides convolving.
#[derive(Clone, Debug)]
pub struct Layer {
    pub stride: usize,
    pub pad: usize,
    pub statistics: Statistics,
    pub epsilon: f64,
    pub relu: bool,
    /// Behind the ReLU, which must be there; excludes a shortcut.
    pub pool: Option<Pool>,
}

/// Tensors of a layer.
#[derive(Clone, Debug)]
pub struct Parameters {
    /// `[k, c, kh, kw]`
    pub weight: Tensor<4>,
    /// Scale of the batch norm, `[k]`.
    pub gamma: Tensor<1>,
    /// Shift of the batch norm, `[k]`.
    pub beta: Tensor<1>,
}

/// The moments of a batch.
#[derive(Clone, Debug, PartialEq)]
pub struct BatchMoments {
    pub moments: Moments,
    /// Values of each channel that they were taken of.
    pub count: usize,
}

/// Whether this room computes with `tensor`: float32 on the CPU backend.
pub fn accepts<const D: usize>(tensor: &Tensor<D>) -> bool {
    let inner = |t: Tensor<D>| t.try_into_primitive::<Flex>().is_ok();
    let tracked = |t: Tensor<D>| t.try_into_primitive::<Autodiff<Flex>>().is_ok();
    tensor.dtype() == DType::F32 && (inner(tensor.clone()) || tracked(tensor.clone()))
}

/// Whether `device` is the CPU backend, computing in float32.
pub fn is_cpu(device: &Device) -> bool {
    accepts(&Tensor::<1>::zeros([1], device))
}

/// The float32 values of a tensor on the CPU backend, contiguous; `None` elsewhere. A tensor with autodiff gives its values.
pub fn values<const D: usize>(tensor: Tensor<D>) -> Option<FlexValues> {
    let tensor = tensor.inner_if_tracked();
    let tensor = tensor.try_into_primitive::<Flex>().ok()?;
    (tensor.dtype() == DType::F32).then(|| FlexValues(tensor.to_contiguous()))
}

/// See [`values`].
pub struct FlexValues(Values);

impl FlexValues {
    /// The values in row-major order.
    pub fn as_slice(&self) -> &[f32] {
        slice(&self.0)
    }
}

trait InnerIfTracked {
    fn inner_if_tracked(self) -> Self;
}

impl<const D: usize> InnerIfTracked for Tensor<D> {
    fn inner_if_tracked(self) -> Self {
        match self.clone().try_into_primitive::<Autodiff<Flex>>() {
            Ok(tracked) => Tensor::from_primitive::<Flex>(tracked.into_primitive()),
            Err(_) => self,
        }
    }
}

/// A tensor of the CPU backend from values in row-major order.
pub fn tensor<const D: usize>(values: Vec<f32>, shape: [usize; D]) -> Tensor<D> {
    Tensor::from_primitive::<Flex>(new(values, &shape))
}

fn from_map(map: Map, shape: &[usize]) -> Values {
    let shape = Shape::from(shape.to_vec());
    Values::from_data(TensorData::from_bytes(map.into_bytes(), shape, DType::F32))
}

fn new(values: Vec<f32>, shape: &[usize]) -> Values {
    Values::from_data(TensorData::new(values, Shape::from(shape.to_vec())))
}

fn slice(values: &Values) -> &[f32] {
    values
        .as_slice()
        .unwrap_or_else(|| unreachable!("made contiguous and float32 on entry"))
}

/// `relu(norm(conv(x, weight)) + shortcut)`, pooled where asked, and the batch's moments where they were used.
///
/// # Panics
/// Shapes that don't fit together, or tensors for which [`accepts`] is false.
pub fn forward(
    x: Tensor<4>,
    parameters: Parameters,
    shortcut: Option<Tensor<4>>,
    layer: &Layer,
) -> (Tensor<4>, Option<BatchMoments>) {
    let tracked = |t: Tensor<4>| t.try_into_primitive::<Autodiff<Flex>>();
    let Parameters {
        weight,
        gamma,
        beta,
    } = parameters;
    match tracked(x.clone()) {
        Ok(x) => {
            let expect = "all tensors of a layer are on the same device";
            let vector = |t: Tensor<1>| t.try_into_primitive::<Autodiff<Flex>>().expect(expect);
            let inputs = [x, tracked(weight).expect(expect)];
            let norm = [vector(gamma), vector(beta)];
            let shortcut = shortcut.map(|t| tracked(t).expect(expect));
            let (output, moments) = forward_tracked(inputs, norm, shortcut, layer);
            (Tensor::from_primitive::<Autodiff<Flex>>(output), moments)
        }
        Err(_) => {
            let inner = |t: Option<FlexValues>| t.expect("float32 on the CPU backend").0;
            let inputs = Inputs {
                x: inner(values(x)),
                weight: inner(values(weight)),
                gamma: inner(values(gamma)),
                beta: inner(values(beta)),
            };
            let shortcut = shortcut.map(|t| inner(values(t)));
            let (output, saved) = compute(inputs, shortcut.as_ref(), layer);
            (
                Tensor::from_primitive::<Flex>(output),
                saved.batch_moments(layer),
            )
        }
    }
}

#[derive(Clone, Debug)]
struct Inputs {
    x: Values,
    weight: Values,
    gamma: Values,
    beta: Values,
}

/// What the backward pass needs.
#[derive(Clone, Debug)]
struct Saved {
    inputs: Inputs,
    shape: ConvShape,
    /// The convolution's result.
    z: Values,
    moments: Moments,
    layer: Layer,
    /// The layer's result where a ReLU made it and nothing was pooled.
    output: Option<Values>,
    /// Places of the pooled values.
    places: Option<Values>,
}

impl Saved {
    fn batch_moments(&self, layer: &Layer) -> Option<BatchMoments> {
        matches!(layer.statistics, Statistics::Batch).then(|| BatchMoments {
            moments: self.moments.clone(),
            count: self.shape.output_len() / self.shape.k,
        })
    }

    fn pool_shape(&self, pool: Pool) -> PoolShape {
        let shape = &self.shape;
        PoolShape {
            n: shape.n,
            h: shape.oh(),
            w: shape.ow(),
            k: shape.k,
            window: pool.window,
            stride: pool.stride,
            pad: pool.pad,
        }
    }
}

/// The layer, on a thread of the pool, so that its parallel parts don't each wait for one.
fn compute(inputs: Inputs, shortcut: Option<&Values>, layer: &Layer) -> (Values, Saved) {
    rayon::scope(|_| compute_here(inputs, shortcut, layer))
}

fn compute_here(inputs: Inputs, shortcut: Option<&Values>, layer: &Layer) -> (Values, Saved) {
    let isa = Isa::detect();
    let ([n, h, w, c], [k, c_weight, kh, kw]) =
        (inputs.x.shape().dims(), inputs.weight.shape().dims());
    assert_eq!(c, c_weight, "channels of the images and of the weights");
    let shape = ConvShape {
        n,
        h,
        w,
        c,
        k,
        kh,
        kw,
        stride: layer.stride,
        pad: layer.pad,
    };
    for (name, values) in [("gamma", &inputs.gamma), ("beta", &inputs.beta)] {
        assert_eq!(slice(values).len(), k, "{name} has one value per channel");
    }
    if let Statistics::Fixed(Moments { mean, variance }) = &layer.statistics {
        assert!(
            mean.len() == k && variance.len() == k,
            "moments have one value per channel"
        );
    }
    if let Some(shortcut) = shortcut {
        let result: [usize; 4] = shortcut.shape().dims();
        assert_eq!(
            result,
            [n, shape.oh(), shape.ow(), k],
            "the shortcut has the result's shape"
        );
    }
    let mut z = Map::new(shape.output_len());
    convolve(isa, slice(&inputs.x), &shape, slice(&inputs.weight), &mut z);
    let moments = match &layer.statistics {
        Statistics::Batch => norm::moments(isa, &z, k),
        Statistics::Fixed(moments) => moments.clone(),
    };
    let (scale, shift) =
        moments.scale_shift(slice(&inputs.gamma), slice(&inputs.beta), layer.epsilon);
    let mut saved = Saved {
        inputs,
        shape,
        z: from_map(z, &[n, shape.oh(), shape.ow(), k]),
        moments,
        layer: layer.clone(),
        output: None,
        places: None,
    };
    let output = match layer.pool {
        Some(pool) => {
            assert!(
                layer.relu && shortcut.is_none(),
                "pooling goes behind a ReLU alone"
            );
            let pool = saved.pool_shape(pool);
            let size = [n, pool.oh(), pool.ow(), k];
            let mut output = Map::new(pool.output_len());
            let mut places = Map::new(pool.output_len());
            let affine = Some((&scale[..], &shift[..]));
            max_pool(
                isa,
                slice(&saved.z),
                &pool,
                affine,
                &mut output,
                Some(&mut places),
            );
            saved.places = Some(from_map(places, &size));
            from_map(output, &size)
        }
        None => {
            let mut output = Map::new(shape.output_len());
            let (scale_shift, shortcut) = ((&scale[..], &shift[..]), shortcut.map(slice));
            norm::scale_shift(
                isa,
                slice(&saved.z),
                scale_shift,
                shortcut,
                layer.relu,
                &mut output,
            );
            let output = from_map(output, &[n, shape.oh(), shape.ow(), k]);
            saved.output = layer.relu.then(|| output.clone());
            output
        }
    };
    (output, saved)
}

fn forward_tracked(
    [x, weight]: [Tracked; 2],
    [gamma, beta]: [Tracked; 2],
    shortcut: Option<Tracked>,
    layer: &Layer,
) -> (Tracked, Option<BatchMoments>) {
    let inputs = Inputs {
        x: x.primitive().to_contiguous(),
        weight: weight.primitive().to_contiguous(),
        gamma: gamma.primitive().to_contiguous(),
        beta: beta.primitive().to_contiguous(),
    };
    let nodes = [x.node(), weight.node(), gamma.node(), beta.node()];
    match shortcut {
        None => {
            let (output, saved) = compute(inputs, None, layer);
            let moments = saved.batch_moments(layer);
            let output = match Plain
                .prepare::<NoCheckpointing>(nodes)
                .compute_bound()
                .stateful()
            {
                OpsKind::Tracked(prep) => prep.finish(saved, output),
                OpsKind::UnTracked(prep) => prep.finish(output),
            };
            (output, moments)
        }
        Some(shortcut) => {
            let values = shortcut.primitive().to_contiguous();
            let (output, saved) = compute(inputs, Some(&values), layer);
            let moments = saved.batch_moments(layer);
            let [x, weight, gamma, beta] = nodes;
            let nodes = [x, weight, gamma, beta, shortcut.node()];
            let output = match Residual
                .prepare::<NoCheckpointing>(nodes)
                .compute_bound()
                .stateful()
            {
                OpsKind::Tracked(prep) => prep.finish(saved, output),
                OpsKind::UnTracked(prep) => prep.finish(output),
            };
            (output, moments)
        }
    }
}

/// A layer without a shortcut.
#[derive(Debug)]
struct Plain;

/// A layer with a shortcut.
#[derive(Debug)]
struct Residual;

impl Backward<Flex, 4> for Plain {
    type State = Saved;

    fn backward(self, ops: Ops<Saved, 4>, grads: &mut Gradients, _: &mut Checkpointer) {
        let gradient = grads.consume::<Flex>(&ops.node);
        let wanted = ops.parents.each_ref().map(Option::is_some);
        let found = rayon::scope(|_| gradients(ops.state, gradient, wanted, false));
        for (parent, value) in ops.parents.into_iter().zip(found.inputs) {
            if let (Some(parent), Some(value)) = (parent, value) {
                grads.register::<Flex>(parent.id, value);
            }
        }
    }
}

impl Backward<Flex, 5> for Residual {
    type State = Saved;

    fn backward(self, ops: Ops<Saved, 5>, grads: &mut Gradients, _: &mut Checkpointer) {
        let gradient = grads.consume::<Flex>(&ops.node);
        let [x, weight, gamma, beta, shortcut] = ops.parents;
        let parents = [x, weight, gamma, beta];
        let wanted = parents.each_ref().map(Option::is_some);
        let found = rayon::scope(|_| gradients(ops.state, gradient, wanted, shortcut.is_some()));
        for (parent, value) in parents.into_iter().zip(found.inputs) {
            if let (Some(parent), Some(value)) = (parent, value) {
                grads.register::<Flex>(parent.id, value);
            }
        }
        if let (Some(parent), Some(value)) = (shortcut, found.shortcut) {
            grads.register::<Flex>(parent.id, value);
        }
    }
}

/// Gradients of x, weight, gamma and beta, and of the shortcut.
struct Found {
    inputs: [Option<Values>; 4],
    shortcut: Option<Values>,
}

fn gradients(saved: Saved, gradient: Values, wanted: [bool; 4], shortcut_wanted: bool) -> Found {
    let isa = Isa::detect();
    // Not shadowed but replaced: a second reference would make the changes below copy it.
    let mut gradient = {
        let given = gradient;
        given.to_contiguous()
    };
    let [x_wanted, weight_wanted, ..] = wanted;
    let pool = saved.layer.pool.map(|pool| saved.pool_shape(pool));
    let Saved {
        inputs,
        shape,
        mut z,
        moments,
        layer,
        output,
        places,
    } = saved;
    let k = shape.k;
    let gamma = slice(&inputs.gamma).to_vec();
    let pooled = |z: &Values, work: &mut dyn FnMut(PoolGradient)| {
        if let (Some(shape), Some(places)) = (&pool, &places) {
            work(PoolGradient {
                shape,
                gradient: slice(&gradient),
                places: slice(places),
                z: slice(z),
            });
        }
    };
    let mut sums = None;
    pooled(&z, &mut |pool| sums = Some(pool.sums(isa, &moments.mean)));
    let sums = sums.unwrap_or_else(|| {
        let output = output.as_ref().map(slice);
        norm::gradient_sums(isa, slice(&gradient), output, slice(&z), &moments.mean)
    });
    let precision = moments.precision(layer.epsilon);
    let gamma_gradient = (sums.product.iter().zip(&precision))
        .map(|(s, p)| s * p)
        .collect();
    let terms = match layer.statistics {
        Statistics::Batch => {
            let rows = shape.output_len() / k;
            InputGradient::of_batch(&gamma, &moments, layer.epsilon, &sums, rows)
        }
        Statistics::Fixed(_) => {
            let scale: Vec<f32> = gamma.iter().zip(&precision).map(|(g, p)| g * p).collect();
            InputGradient::fixed(&scale)
        }
    };
    let mut dw = weight_wanted.then(|| Map::zeros(shape.weights_len()));
    let mut dx = x_wanted.then(|| Map::new(shape.input_len()));
    let backward =
        |images: std::ops::Range<usize>, dz: &[f32], dw: Option<&mut Map>, dx: Option<&mut Map>| {
            let part = ConvShape {
                n: images.len(),
                ..shape
            };
            let range =
                images.start * part.input_len() / part.n..images.end * part.input_len() / part.n;
            if let Some(dw) = dw {
                weight_gradient(isa, &slice(&inputs.x)[range.clone()], &part, dz, dw);
            }
            if let Some(dx) = dx {
                input_gradient(isa, dz, &part, slice(&inputs.weight), &mut dx[range]);
            }
        };
    if pool.is_some() {
        // The gradient of the largest feature map is made for a few images at a time.
        const IMAGES: usize = 4;
        let image_len = shape.output_len() / shape.n;
        if weight_wanted || x_wanted {
            scratch::with(IMAGES.min(shape.n) * image_len, |dz| {
                for first in (0..shape.n).step_by(IMAGES) {
                    let images = first..shape.n.min(first + IMAGES);
                    let dz = &mut dz[..images.len() * image_len];
                    pooled(&z, &mut |pool| {
                        pool.input_gradient(isa, &terms, images.clone(), dz);
                    });
                    backward(images, dz, dw.as_mut(), dx.as_mut());
                }
            });
        }
    } else {
        let output = output.as_ref().map(slice);
        let (gradient, z) = (gradient.storage_mut(), z.storage_mut());
        norm::input_gradient(isa, gradient, output, z, &terms, shortcut_wanted);
        backward(0..shape.n, z, dw.as_mut(), dx.as_mut());
    }
    let ConvShape {
        n, h, w, c, kh, kw, ..
    } = shape;
    let [_, _, gamma_wanted, beta_wanted] = wanted;
    Found {
        inputs: [
            dx.map(|dx| from_map(dx, &[n, h, w, c])),
            dw.map(|dw| from_map(dw, &[k, c, kh, kw])),
            gamma_wanted.then(|| new(gamma_gradient, &[k])),
            beta_wanted.then(|| new(sums.gradient, &[k])),
        ],
        shortcut: shortcut_wanted.then_some(gradient),
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::activation::relu;
    use burn::tensor::module::{batch_norm, batch_norm_train, conv2d, max_pool2d};
    use burn::tensor::ops::{ConvOptions, MaxPoolOptions};

    use super::*;
    use crate::kernels::reference::{noise, relative_error};

    /// Largest error relative to the largest value, against Burn's own operations, which sum in another order.
    const TOLERANCE: f64 = 2e-5;

    struct Case {
        /// n, c, h, w
        x: [usize; 4],
        /// k, c, kh, kw
        weight: [usize; 4],
        layer: Layer,
        shortcut: bool,
    }

    fn layer(stride: usize, pad: usize, statistics: Statistics) -> Layer {
        Layer {
            stride,
            pad,
            statistics,
            epsilon: 1e-5,
            relu: true,
            pool: None,
        }
    }

    fn cases() -> Vec<Case> {
        let fixed = |k: usize| {
            let variance = noise(k, 21).into_iter().map(|v| v + 1.5).collect();
            Statistics::Fixed(Moments {
                mean: noise(k, 20),
                variance,
            })
        };
        let case = |x, weight, layer, shortcut| Case {
            x,
            weight,
            layer,
            shortcut,
        };
        let pool = Some(Pool {
            window: 3,
            stride: 2,
            pad: 1,
        });
        let stem = Layer {
            pool,
            ..layer(2, 3, Statistics::Batch)
        };
        let frozen_stem = Layer {
            pool,
            ..layer(2, 3, fixed(6))
        };
        let linear = Layer {
            relu: false,
            ..layer(2, 0, Statistics::Batch)
        };
        vec![
            // Wide enough for Winograd, and a narrow one.
            case(
                [4, 48, 9, 11],
                [64, 48, 3, 3],
                layer(1, 1, Statistics::Batch),
                true,
            ),
            case(
                [2, 3, 7, 6],
                [5, 3, 3, 3],
                layer(1, 1, Statistics::Batch),
                false,
            ),
            case([2, 3, 7, 6], [5, 3, 3, 3], layer(1, 1, fixed(5)), true),
            case(
                [2, 6, 8, 7],
                [9, 6, 3, 3],
                layer(2, 1, Statistics::Batch),
                false,
            ),
            case([2, 6, 8, 7], [9, 6, 1, 1], linear, false),
            case(
                [1, 6, 5, 5],
                [4, 6, 1, 1],
                layer(1, 0, Statistics::Batch),
                true,
            ),
            case([6, 3, 20, 17], [6, 3, 7, 7], stem, false),
            case([6, 3, 20, 17], [6, 3, 7, 7], frozen_stem, false),
        ]
    }

    /// The layer by Burn's own operations, channels first.
    fn stock(x: Tensor<4>, p: Parameters, shortcut: Option<Tensor<4>>, layer: &Layer) -> Tensor<4> {
        let options = ConvOptions::new([layer.stride; 2], [layer.pad; 2], [1, 1], 1);
        let device = x.device();
        let z = conv2d(x, p.weight, None, options);
        let mut y = match &layer.statistics {
            Statistics::Batch => batch_norm_train(z, p.gamma, p.beta, layer.epsilon).output,
            Statistics::Fixed(moments) => {
                let vector = |v: &[f32]| Tensor::<1>::from_floats(v, &device);
                let (mean, variance) = (vector(&moments.mean), vector(&moments.variance));
                batch_norm(z, p.gamma, p.beta, mean, variance, layer.epsilon)
            }
        };
        if let Some(shortcut) = shortcut {
            y = y + shortcut;
        }
        if layer.relu {
            y = relu(y);
        }
        match layer.pool {
            None => y,
            Some(pool) => {
                let options = MaxPoolOptions::new([pool.window; 2])
                    .with_stride([pool.stride; 2])
                    .with_padding([pool.pad; 2]);
                max_pool2d(y, options)
            }
        }
    }

    fn check(name: &str, found: Tensor<4>, expected: Tensor<4>) {
        assert_eq!(found.dims(), expected.dims(), "{name}");
        let found: Vec<f32> = found.into_data().iter::<f32>().collect();
        let expected: Vec<f64> = expected.into_data().iter::<f64>().collect();
        let error = relative_error(&found, &expected);
        assert!(error < TOLERANCE, "{name}: {error:e}");
    }

    #[test]
    fn output_and_gradients_are_those_of_burns_operations() {
        let device = Device::flex().autodiff();
        let leaf = |len: usize, seed: u64, shape: Vec<usize>| {
            TensorData::new(noise(len, seed), Shape::from(shape))
        };
        for (number, case) in cases().into_iter().enumerate() {
            let Case {
                x,
                weight,
                layer,
                shortcut,
            } = case;
            let k = weight[0];
            let image = |dims: [usize; 4], seed| {
                let data = leaf(dims.iter().product(), seed, dims.to_vec());
                Tensor::<4>::from_data(data, &device).require_grad()
            };
            let vector =
                |seed| Tensor::<1>::from_floats(&noise(k, seed)[..], &device).require_grad();
            let (images, weights) = (image(x, 1), image(weight, 2));
            let (gamma, beta) = (vector(3), vector(4));
            let parameters = || Parameters {
                weight: weights.clone(),
                gamma: gamma.clone(),
                beta: beta.clone(),
            };
            let size =
                |side: usize, kernel: usize| (side + 2 * layer.pad - kernel) / layer.stride + 1;
            let added =
                shortcut.then(|| image([x[0], k, size(x[2], weight[2]), size(x[3], weight[3])], 5));
            let expected = stock(images.clone(), parameters(), added.clone(), &layer);
            let last = |t: Tensor<4>| t.permute([0, 2, 3, 1]);
            let (found, moments) = forward(
                last(images.clone()),
                parameters(),
                added.clone().map(last),
                &layer,
            );
            assert_eq!(
                moments.is_some(),
                matches!(layer.statistics, Statistics::Batch)
            );
            let found = found.permute([0, 3, 1, 2]);
            check(
                &format!("case {number}, output"),
                found.clone(),
                expected.clone(),
            );
            // A gradient that differs from value to value.
            let slope = leaf(expected.shape().num_elements(), 6, expected.dims().to_vec());
            let slope = Tensor::<4>::from_data(slope, &device);
            let expected = (expected * slope.clone()).sum().backward();
            let found = (found * slope).sum().backward();
            let grad = |t: &Tensor<4>, name: &str| {
                let pair = (t.grad(&found).unwrap(), t.grad(&expected).unwrap());
                check(
                    &format!("case {number}, gradient of {name}"),
                    pair.0,
                    pair.1,
                );
            };
            grad(&images, "the images");
            grad(&weights, "the weights");
            if let Some(added) = &added {
                grad(added, "the shortcut");
            }
            for (vector, name) in [(&gamma, "gamma"), (&beta, "beta")] {
                let wide = |t: Tensor<1>| t.reshape([1, 1, 1, k]);
                let found = wide(vector.grad(&found).unwrap());
                let expected = wide(vector.grad(&expected).unwrap());
                check(
                    &format!("case {number}, gradient of {name}"),
                    found,
                    expected,
                );
            }
        }
    }

    #[test]
    fn frozen_parameters_get_no_gradient_and_the_others_do() {
        let device = Device::flex().autodiff();
        let ones = |dims: [usize; 4]| Tensor::<4>::ones(dims, &device);
        let weight = ones([2, 3, 3, 3]);
        let gamma = Tensor::<1>::ones([2], &device).require_grad();
        let parameters = Parameters {
            weight: weight.clone(),
            gamma: gamma.clone(),
            beta: Tensor::zeros([2], &device),
        };
        let layer = layer(1, 1, Statistics::Batch);
        let (y, _) = forward(ones([1, 4, 4, 3]), parameters, None, &layer);
        let gradients = y.sum().backward();
        assert!(weight.grad(&gradients).is_none());
        assert!(gamma.grad(&gradients).is_some());
    }

    #[test]
    fn only_float32_on_the_cpu_is_accepted() {
        let tensor = Tensor::<1>::ones([2], &Device::flex());
        assert!(accepts(&tensor) && is_cpu(&Device::flex()));
        assert!(is_cpu(&Device::flex().autodiff()));
        assert!(!accepts(&tensor.clone().cast(DType::BF16)));
        assert!(values(tensor.clone().cast(DType::F64)).is_none());
        let part =
            Tensor::<2>::from_floats([[1., 2.], [3., 4.]], &Device::flex()).slice([1..2, 0..2]);
        assert_eq!(values(part).unwrap().as_slice(), [3., 4.]);
    }
}
