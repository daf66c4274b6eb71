//! Batch normalisation of images with PyTorch's running statistics.
//!
//! Input and output: `[N, C, H, W]`. Burn's own layer takes its mode from the device and feeds the
//! biased variance into the running average. Here the caller passes the [`Mode`], and the running
//! variance is the unbiased one, so that a network trained here evaluates as one trained by PyTorch.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use burn::module::{
    Content, Devices, Module, ModuleDisplay, ModuleDisplayDefault, ModuleMapper, ModuleVisitor,
    Param, ParamId,
};
use burn::tensor::{
    DType, Device, Tensor, activation,
    module::{batch_norm, batch_norm_train},
};

use super::block::stem_max_pool;
use crate::kernels::layer::{BatchMoments, Statistics, tensor, values};
use crate::kernels::norm::Moments;

/// Weight of the newest batch in the running statistics, as in PyTorch.
const MOMENTUM: f64 = 0.1;

/// Which statistics normalise an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Those of the batch, which also move the running statistics.
    Train,
    /// The running statistics, which stay as they are.
    Eval,
}

/// Normalises each channel, then scales it by `gamma` and shifts it by `beta`.
#[derive(Module, Debug)]
pub struct BatchNorm2d {
    /// Scale, `[C]`.
    pub gamma: Param<Tensor<1>>,
    /// Shift, `[C]`.
    pub beta: Param<Tensor<1>>,
    /// Running mean, `[C]`.
    pub running_mean: RunningStatistic,
    /// Running variance, unbiased, `[C]`.
    pub running_var: RunningStatistic,
    /// Added to the variance.
    pub epsilon: f64,
}

impl BatchNorm2d {
    /// `[N, C, H, W]` to the same shape and type. Computed in float32 whatever the type of the images: sums over millions of
    /// bfloat16 values lose the small ones.
    pub fn forward(&self, input: Tensor<4>, mode: Mode) -> Tensor<4> {
        let dtype = input.dtype();
        let input = input.cast(DType::F32);
        let output = match mode {
            Mode::Train => self.forward_train(input),
            Mode::Eval => batch_norm(
                input,
                self.gamma.val(),
                self.beta.val(),
                self.running_mean.value(),
                self.running_var.value(),
                self.epsilon,
            ),
        };
        output.cast(dtype)
    }

    /// [`BatchNorm2d::forward`], then the addition of `shortcut` and a ReLU, each where asked. On a GPU, in bfloat16, the statistics of
    /// a batch and all that is done with them take one operation.
    pub fn forward_then(
        &self,
        input: Tensor<4>,
        mode: Mode,
        shortcut: Option<Tensor<4>>,
        relu: bool,
    ) -> Tensor<4> {
        #[cfg(feature = "cuda")]
        if takes(&input, mode) {
            return self.moved_by(crate::gpu::norm(input, self.on_gpu(), shortcut, relu));
        }
        let mut output = self.forward(input, mode);
        if let Some(shortcut) = shortcut {
            output = output + shortcut;
        }
        match relu {
            true => activation::relu(output),
            false => output,
        }
    }

    /// [`BatchNorm2d::forward`], then a ReLU and the [pooling of a stem](stem_max_pool).
    pub(super) fn forward_then_pool(&self, input: Tensor<4>, mode: Mode) -> Tensor<4> {
        #[cfg(feature = "cuda")]
        if takes(&input, mode) {
            return self.moved_by(crate::gpu::norm_pool(input, self.on_gpu()));
        }
        stem_max_pool(self.forward_then(input, mode, None, true))
    }

    #[cfg(feature = "cuda")]
    fn on_gpu(&self) -> crate::gpu::Norm {
        crate::gpu::Norm {
            gamma: self.gamma.val(),
            beta: self.beta.val(),
            running_mean: self.running_mean.value(),
            running_variance: self.running_var.value(),
            momentum: MOMENTUM,
            epsilon: self.epsilon,
        }
    }

    /// Takes over the running statistics; the images.
    #[cfg(feature = "cuda")]
    fn moved_by(&self, found: crate::gpu::Normalised) -> Tensor<4> {
        let [mean, variance] = found.running;
        self.running_mean.replace(mean);
        self.running_var.replace(variance);
        found.output
    }

    /// What evaluation multiplies each channel by, and then adds; both `[C]`, float32.
    pub fn scale_and_shift(&self) -> (Tensor<1>, Tensor<1>) {
        let deviation = self.running_var.value().add_scalar(self.epsilon).sqrt();
        let scale = self.gamma.val() / deviation;
        let shift = self.beta.val() - self.running_mean.value() * scale.clone();
        (scale, shift)
    }

    /// What normalises an image in `mode`, for the kernels of this crate. On the CPU backend only.
    pub(crate) fn statistics(&self, mode: Mode) -> Statistics {
        let values = |s: &RunningStatistic| values(s.value()).map(|v| v.as_slice().to_vec());
        match (mode, values(&self.running_mean), values(&self.running_var)) {
            (Mode::Eval, Some(mean), Some(variance)) => {
                Statistics::Fixed(Moments { mean, variance })
            }
            _ => Statistics::Batch,
        }
    }

    /// Moves the running statistics by the moments of a batch.
    pub(crate) fn absorb(&self, BatchMoments { moments, count }: BatchMoments) {
        let unbiased = unbiased(count as f64);
        let channels = moments.mean.len();
        let variance = tensor(moments.variance, [channels]).mul_scalar(unbiased);
        self.running_mean.blend(tensor(moments.mean, [channels]));
        self.running_var.blend(variance);
    }

    fn forward_train(&self, input: Tensor<4>) -> Tensor<4> {
        let [n, _, height, width] = input.dims();
        let count = (n * height * width) as f64;
        let result = batch_norm_train(input, self.gamma.val(), self.beta.val(), self.epsilon);
        let unbiased = result.variance.mul_scalar(unbiased(count));
        self.running_mean.blend(result.mean);
        self.running_var.blend(unbiased);
        result.output
    }
}

/// Whether the kernels of this crate for GPUs normalise these images.
#[cfg(feature = "cuda")]
fn takes(input: &Tensor<4>, mode: Mode) -> bool {
    mode == Mode::Train && input.dtype() == DType::BF16 && crate::gpu::accepts(input)
}

/// What makes the variance of `count` values that of all values there could be. One value per channel has no spread; without the
/// guard the variance would become NaN.
fn unbiased(count: f64) -> f64 {
    count / (count - 1.0).max(1.0)
}

/// A statistic that a forward pass may move, always float32: a tenth of a small difference would be
/// lost in bfloat16.
///
/// A clone is a snapshot, as it is for weights: Burn's `RunningState` shares its value between
/// clones, and a kept "best" network would go on moving with the one in training.
pub struct RunningStatistic {
    id: ParamId,
    value: Arc<Mutex<Tensor<1>>>,
}

impl RunningStatistic {
    /// A statistic with the given start value, `[C]`.
    pub fn new(id: ParamId, value: Tensor<1>) -> Self {
        Self {
            id,
            value: Arc::new(Mutex::new(value.cast(DType::F32))),
        }
    }

    /// The current value, `[C]`.
    pub fn value(&self) -> Tensor<1> {
        self.lock().clone()
    }

    fn blend(&self, batch: Tensor<1>) {
        let mut value = self.lock();
        let kept = value.clone().mul_scalar(1.0 - MOMENTUM);
        // The kernels give the moments of a batch without autodiff.
        let batch = match value.device().is_autodiff() {
            true if !batch.device().is_autodiff() => Tensor::from_inner(batch),
            _ => batch.detach(),
        };
        let batch = batch.cast(DType::F32);
        *value = kept.add(batch.mul_scalar(MOMENTUM)).detach();
    }

    #[cfg(feature = "cuda")]
    fn replace(&self, value: Tensor<1>) {
        *self.lock() = value;
    }

    fn lock(&self) -> MutexGuard<'_, Tensor<1>> {
        // A tensor is replaced as a whole, so a panic elsewhere can't leave half of one.
        self.value.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn as_param(&self) -> Param<Tensor<1>> {
        Param::initialized(self.id, self.value())
    }
}

impl Clone for RunningStatistic {
    fn clone(&self) -> Self {
        Self::new(self.id, self.value())
    }
}

impl std::fmt::Debug for RunningStatistic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RunningStatistic(id={})", self.id)
    }
}

impl ModuleDisplayDefault for RunningStatistic {
    fn content(&self, content: Content) -> Option<Content> {
        content.add_formatted(&"RunningStatistic").optional()
    }
}

impl ModuleDisplay for RunningStatistic {}

impl Module for RunningStatistic {
    fn visit<V: ModuleVisitor>(&self, visitor: &mut V) {
        visitor.visit_float(&self.as_param());
    }

    fn map<M: ModuleMapper>(self, mapper: &mut M) -> Self {
        let (id, value, _) = mapper.map_float(self.as_param()).consume();
        // A buffer is no target of the optimizer, whatever the mapper asked for.
        Self::new(id, value.set_require_grad(false))
    }

    fn to_device(self, device: &Device) -> Self {
        Self::new(self.id, self.value().to_device(device))
    }

    fn fork(self, device: &Device) -> Self {
        self.to_device(device)
    }

    fn collect_devices(&self, mut devices: Devices) -> Devices {
        let device = self.value().device();
        if !devices.contains(&device) {
            devices.push(device);
        }
        devices
    }

    fn materialize(self) -> Self {
        self
    }

    fn valid(&self) -> Self {
        Self::new(self.id, self.value().without_autodiff())
    }

    fn train(self) -> Self {
        Self::new(self.id, Tensor::from_inner(self.value()))
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Tolerance;

    use super::*;

    fn layer(device: &Device) -> BatchNorm2d {
        let param = |id: u64, v: f32| {
            Param::initialized(ParamId::from(id), Tensor::from_floats([v], device))
        };
        let statistic =
            |id: u64, v: f32| RunningStatistic::new(id.into(), Tensor::from_floats([v], device));
        BatchNorm2d {
            gamma: param(1, 2.0),
            beta: param(2, 0.5),
            running_mean: statistic(3, 1.0),
            running_var: statistic(4, 4.0),
            epsilon: 1e-5,
        }
    }

    fn scalar(tensor: Tensor<1>) -> f32 {
        tensor.into_scalar::<f32>()
    }

    #[test]
    fn training_moves_the_statistics_by_the_unbiased_variance() {
        let device = Device::flex().autodiff();
        let norm = layer(&device);
        let input = Tensor::from_floats([[[[1.0, 2.0], [3.0, 6.0]]]], &device);
        let output = norm.forward(input, Mode::Train);
        // Batch mean 3, biased variance 3.5, unbiased 14/3.
        assert!((scalar(norm.running_mean.value()) - (0.9 + 0.3)).abs() < 1e-6);
        let expected = 0.9 * 4.0 + 0.1 * 14.0 / 3.0;
        assert!((scalar(norm.running_var.value()) - expected).abs() < 1e-6);
        let deviation = 3.5f32.sqrt();
        let normalised = [-2.0, -1.0, 0.0, 3.0].map(|v| v / deviation * 2.0 + 0.5);
        let expected = Tensor::<1>::from_floats(normalised, &device).into_data();
        let output = output.reshape([4]).into_data();
        output.assert_approx_eq::<f32>(&expected, Tolerance::absolute(1e-4));
    }

    #[test]
    fn evaluation_uses_the_statistics_even_on_an_autodiff_device() {
        let device = Device::flex().autodiff();
        let norm = layer(&device);
        let output = norm.forward(Tensor::from_floats([[[[5.0]]]], &device), Mode::Eval);
        assert!((scalar(output.reshape([1])) - 4.5).abs() < 1e-4);
        assert_eq!(scalar(norm.running_mean.value()), 1.0);
    }

    #[test]
    fn one_value_per_channel_stays_finite() {
        let device = Device::flex();
        let norm = layer(&device);
        norm.forward(Tensor::from_floats([[[[5.0]]]], &device), Mode::Train);
        assert!(scalar(norm.running_var.value()).is_finite());
    }

    #[test]
    fn a_clone_is_a_snapshot() {
        let device = Device::flex();
        let norm = layer(&device);
        let kept = norm.clone();
        norm.forward(Tensor::from_floats([[[[5.0, 9.0]]]], &device), Mode::Train);
        assert_ne!(scalar(norm.running_mean.value()), 1.0);
        assert_eq!(scalar(kept.running_mean.value()), 1.0);
    }

    #[test]
    fn bfloat16_images_keep_float32_statistics() {
        let device = Device::flex();
        let norm = layer(&device);
        let input = Tensor::<4>::from_floats([[[[1.0, 1.25]]]], &device).cast(DType::BF16);
        assert_eq!(
            norm.forward(input.clone(), Mode::Train).dtype(),
            DType::BF16
        );
        // 0.9 * 1 + 0.1 * 1.125: bfloat16 has no such value.
        assert!((scalar(norm.running_mean.value()) - 1.0125).abs() < 1e-6);
        assert_eq!(norm.forward(input, Mode::Eval).dtype(), DType::BF16);
    }
}
