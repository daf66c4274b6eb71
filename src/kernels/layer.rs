//! Convolution, batch norm, residual addition, ReLU and max pooling as one operation on Burn tensors, with its gradient.
//!
//! Input: images `[n, h, w, c]` (channels last) of float32 on Burn's CPU backend, with or without autodiff. Output: images of
//! the same kind. As one operation because each of its parts is bound by memory: apart, they read and write every feature map
//! a dozen times.

mod backward;

use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::autodiff::ops::{Backward, NodeGuard, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Flex, TensorMetadata};
use burn::tensor::{DType, Device, Shape, Tensor, TensorData};

use self::backward::{Plain, Residual};
use super::conv::convolve;
use super::memory::Map;
use super::norm::{self, Moments};
use super::pool::{PoolShape, max_pool};
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
    let tensor = match tensor.device().is_autodiff() {
        true => tensor
            .try_into_primitive::<Autodiff<Flex>>()
            .ok()?
            .into_primitive(),
        false => tensor.try_into_primitive::<Flex>().ok()?,
    };
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

/// What a layer's tensors must be.
const ACCEPTED: &str = "a layer's tensors are float32 on the CPU backend";

fn plain<const D: usize>(tensor: Tensor<D>) -> Values {
    values(tensor).unwrap_or_else(|| panic!("{ACCEPTED}")).0
}

/// The tensor with autodiff; one that comes without is a constant.
fn tracked<const D: usize>(tensor: Tensor<D>) -> Tracked {
    assert!(accepts(&tensor), "{ACCEPTED}");
    let tensor = match tensor.device().is_autodiff() {
        true => tensor,
        false => Tensor::from_inner(tensor),
    };
    let tensor = tensor.try_into_primitive::<Autodiff<Flex>>();
    tensor.unwrap_or_else(|_| panic!("{ACCEPTED}"))
}

/// `relu(norm(conv(x, weight)) + shortcut)`, pooled where asked, and the batch's moments where they were used. Where one of the
/// tensors has autodiff, the result has it too.
///
/// # Panics
/// Shapes that don't fit together, or tensors for which [`accepts`] is false.
pub fn forward(
    x: Tensor<4>,
    parameters: Parameters,
    shortcut: Option<Tensor<4>>,
    layer: &Layer,
) -> (Tensor<4>, Option<BatchMoments>) {
    let Parameters {
        weight,
        gamma,
        beta,
    } = parameters;
    let images = [Some(&x), Some(&weight), shortcut.as_ref()];
    let autodiff = images.iter().flatten().any(|t| t.device().is_autodiff())
        || [&gamma, &beta].iter().any(|t| t.device().is_autodiff());
    if autodiff {
        let (inputs, norm) = (
            [tracked(x), tracked(weight)],
            [tracked(gamma), tracked(beta)],
        );
        let (output, moments) = forward_tracked(inputs, norm, shortcut.map(tracked), layer);
        return (Tensor::from_primitive::<Autodiff<Flex>>(output), moments);
    }
    let inputs = Inputs {
        x: plain(x),
        weight: plain(weight),
        gamma: plain(gamma),
        beta: plain(beta),
    };
    let (output, saved) = compute(inputs, shortcut.map(plain).as_ref(), layer);
    let moments = saved.batch_moments(layer);
    (Tensor::from_primitive::<Flex>(output), moments)
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
    let output = finish(isa, &mut saved, (&scale, &shift), shortcut);
    (output, saved)
}

/// What follows the convolution: norm, addition, ReLU and pooling. Notes what their gradients need.
fn finish(
    isa: Isa,
    saved: &mut Saved,
    (scale, shift): (&[f32], &[f32]),
    shortcut: Option<&Values>,
) -> Values {
    let (z, relu) = (slice(&saved.z), saved.layer.relu);
    let Some(pool) = saved.layer.pool else {
        let mut output = Map::new(z.len());
        norm::scale_shift(
            isa,
            z,
            (scale, shift),
            shortcut.map(slice),
            relu,
            &mut output,
        );
        let ConvShape { n, k, .. } = saved.shape;
        let output = from_map(output, &[n, saved.shape.oh(), saved.shape.ow(), k]);
        saved.output = relu.then(|| output.clone());
        return output;
    };
    assert!(
        relu && shortcut.is_none(),
        "pooling goes behind a ReLU alone"
    );
    let pool = saved.pool_shape(pool);
    let size = [pool.n, pool.oh(), pool.ow(), pool.k];
    let mut output = Map::new(pool.output_len());
    let mut places = Map::new(pool.output_len());
    max_pool(
        isa,
        z,
        &pool,
        Some((scale, shift)),
        &mut output,
        Some(&mut places),
    );
    saved.places = Some(from_map(places, &size));
    from_map(output, &size)
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
    let added = shortcut.as_ref().map(|t| t.primitive().to_contiguous());
    let (output, saved) = compute(inputs, added.as_ref(), layer);
    let moments = saved.batch_moments(layer);
    let output = match shortcut {
        None => record(Plain, nodes, saved, output),
        Some(shortcut) => {
            let [x, weight, gamma, beta] = nodes;
            let nodes = [x, weight, gamma, beta, shortcut.node()];
            record(Residual, nodes, saved, output)
        }
    };
    (output, moments)
}

/// Notes how `output` came about, if somebody wants a gradient of it.
fn record<const N: usize>(
    operation: impl Backward<Flex, N, State = Saved>,
    nodes: [NodeGuard; N],
    saved: Saved,
    output: Values,
) -> Tracked {
    let operation = operation.prepare::<NoCheckpointing>(nodes).compute_bound();
    match operation.stateful() {
        OpsKind::Tracked(operation) => operation.finish(saved, output),
        OpsKind::UnTracked(operation) => operation.finish(output),
    }
}

#[cfg(test)]
mod tests;
