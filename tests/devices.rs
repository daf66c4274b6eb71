//! Every device and number format computes the same network: the CPU in float32 by this crate's kernels and in bfloat16 by
//! Burn's operations, and where a GPU is there (feature `cuda`), the GPU in both.
//!
//! Input: the golden vectors of onnxruntime and PyTorch. Tolerances are stated with each [`Setup`].

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::{GradientsParams, SgdConfig};
use burn::tensor::{DType, Device, Int, Tensor};
use sagemaker_burn::device::{DeviceRequest, gpu_count, select};
use sagemaker_burn::model::{Mode, ResNet, onnx::load};

use crate::main_job::run::{Sandbox, finish};
use crate::model_golden::{golden, images, largest_difference, path, shape};

/// A device, a number format, and how far from float32 on PyTorch's side it may be.
struct Setup {
    name: &'static str,
    device: Device,
    bfloat16: bool,
    /// Difference of logits, in units of the largest logit.
    logits: f32,
    /// Relative difference of the loss.
    loss: f32,
    /// 1 less the cosine between all gradients.
    gradients: f32,
}

fn setups() -> Vec<Setup> {
    let setup = |name, device: &Device, bfloat16, [logits, loss, gradients]: [f32; 3]| Setup {
        name,
        device: device.clone(),
        bfloat16,
        logits,
        loss,
        gradients,
    };
    let cpu = select(DeviceRequest::Cpu).unwrap().device;
    // bfloat16 has 8 bits, each layer rounds once: errors of 2^-9 that add up over 18 to 50 layers.
    const BFLOAT16: [f32; 3] = [0.02, 0.02, 0.005];
    let mut setups = vec![
        setup("cpu float32", &cpu, false, [1e-5, 1e-5, 1e-6]),
        setup("cpu bfloat16", &cpu, true, BFLOAT16),
    ];
    match gpu_count() {
        0 => println!("skipped on a GPU: there is none, or the tests were built without CUDA"),
        _ => {
            let gpu = select(DeviceRequest::Cuda(0)).unwrap().device;
            // Tensor cores may multiply float32 as TF32, which has 11 bits.
            setups.push(setup("gpu float32", &gpu, false, [5e-3, 2e-3, 1e-3]));
            if gpu.supports_dtype(DType::BF16) {
                // These networks have so few channels that Burn's convolutions compute them there, which add up in bfloat16.
                let [_, loss, gradients] = BFLOAT16;
                setups.push(setup("gpu bfloat16", &gpu, true, [0.05, loss, gradients]));
            }
        }
    }
    setups
}

impl Setup {
    fn network(&self, file: &str, device: &Device) -> ResNet {
        let model = load(&path(file), device).unwrap().model;
        match self.bfloat16 {
            true => model.in_bfloat16(),
            false => model,
        }
    }
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec::<f32>().unwrap()
}

#[test]
fn every_device_gives_the_logits_of_onnxruntime() {
    for setup in setups() {
        for case in golden()["cases"].as_array().unwrap() {
            let file = case["file"].as_str().unwrap();
            let golden: Vec<Vec<f32>> = serde_json::from_value(case["logits"].clone()).unwrap();
            let golden = golden.concat();
            let largest = golden.iter().fold(0f32, |most, v| most.max(v.abs()));
            let model = setup.network(file, &setup.device);
            let input = images(shape(&case["input"]), &setup.device);
            for (path, logits) in [
                ("module", model.forward(input.clone(), Mode::Eval)),
                ("fused", model.fused().forward(input.clone())),
            ] {
                let found = values(logits);
                let difference = largest_difference(&found, &golden) / largest;
                println!("{} {path} {file}: {difference:.1e}", setup.name);
                assert!(
                    difference <= setup.logits,
                    "{} {path} {file}: {difference}",
                    setup.name
                );
            }
        }
    }
}

/// All gradients, one behind the other, and whether each is float32.
#[derive(Default)]
struct Collected {
    gradients: Option<GradientsParams>,
    values: Vec<f32>,
}

impl ModuleVisitor for Collected {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let gradients = self.gradients.as_ref().unwrap();
        let Some(gradient) = gradients.get::<D>(param.id) else {
            return;
        };
        assert_eq!(gradient.dtype(), DType::F32, "gradients stay float32");
        self.values.extend(values(gradient));
    }
}

/// Loss and gradients of a fixed batch.
fn loss_and_gradients(model: &ResNet, device: &Device) -> (f32, GradientsParams, Vec<f32>) {
    let logits = model.forward(images([4, 3, 64, 64], device), Mode::Train);
    let targets = Tensor::<1, Int>::from_data([0, 5, 2, 3], device);
    let criterion = burn::nn::loss::CrossEntropyLossConfig::new().init(device);
    let loss = criterion.forward(logits, targets);
    let gradients = GradientsParams::from_grads(loss.backward(), model);
    let mut collected = Collected {
        gradients: Some(gradients),
        values: Vec::new(),
    };
    model.visit(&mut collected);
    let gradients = collected.gradients.unwrap();
    (loss.into_scalar::<f32>(), gradients, collected.values)
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        let products = a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b));
        products.sum()
    };
    (dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()) as f32
}

#[test]
fn every_device_takes_the_same_training_step() {
    let file = "resnet18-kept.onnx";
    let reference = Device::flex().autodiff();
    let model = load(&path(file), &reference).unwrap().model;
    let (_, _, expected) = loss_and_gradients(&model.freeze_batch_norm(), &reference);
    let golden_loss = golden()["train"]["loss"].as_f64().unwrap() as f32;
    for setup in setups() {
        let device = setup.device.clone().autodiff();
        // The noise of these images is nearly the same for all of them: with the statistics of a batch, little else than rounding
        // is left of their gradients, so the angle is taken with fixed ones.
        let fixed = setup.network(file, &device).freeze_batch_norm();
        let (_, _, found) = loss_and_gradients(&fixed, &device);
        let angle = 1.0 - cosine(&found, &expected);
        let mut model = setup.network(file, &device);
        let mut optimizer = SgdConfig::new().init();
        let mut losses = Vec::new();
        for _ in 0..5 {
            let (loss, gradients, _) = loss_and_gradients(&model, &device);
            losses.push(loss);
            model = optimizer.step(0.05, model, gradients);
        }
        assert_eq!(model.stem.weight.val().dtype(), DType::F32);
        let first = losses[0];
        let error = (first - golden_loss).abs() / golden_loss;
        println!("{}: loss {error:.1e}, gradients {angle:.1e}", setup.name);
        assert!(error <= setup.loss, "{}: {first} {golden_loss}", setup.name);
        assert!(angle <= setup.gradients, "{}: {angle}", setup.name);
        assert!(losses[4] < 0.7 * first, "{}: {losses:?}", setup.name);
    }
}

#[test]
fn a_fine_tuning_learns_the_same_in_every_format() {
    let sandbox = Sandbox::with_pictures();
    let gpu = gpu_count() > 0;
    let devices = if gpu { &["cpu", "cuda"][..] } else { &["cpu"] };
    let mut best = Vec::new();
    for device in devices {
        for precision in ["float32", "bfloat16"] {
            let run = format!("{device}-{precision}");
            let options = format!(
                "--freeze false --learning-rate 0.003 --epochs 10 --device {device} --precision {precision}"
            );
            let mut command = sandbox.training(&run, &options);
            command.env_remove("CUDA_VISIBLE_DEVICES");
            let ended = finish(command).succeeded();
            assert!(
                ended.stderr.contains(&format!("device: {device}")),
                "{ended:#?}"
            );
            let accuracy = sandbox.column(&run, "valid_accuracy");
            best.push((run, accuracy.into_iter().fold(0.0, f64::max)));
        }
    }
    println!("{best:?}");
    for (run, accuracy) in &best {
        assert!((accuracy - best[0].1).abs() <= 0.15, "{run}: {best:?}");
        // The model directory is float32 and answers wherever it is taken.
        let expected = probability(&sandbox, run, "cpu");
        for device in devices {
            let found = probability(&sandbox, run, device);
            assert!(
                (found - expected).abs() < 0.01,
                "{run} on {device}: {found} {expected}"
            );
        }
    }
}

/// What the model of `run` gives the best class of a photo.
fn probability(sandbox: &Sandbox, run: &str, device: &str) -> f64 {
    let photo = "data/test/wild cat/0.jpg";
    let arguments = [
        "predict", "--model", run, "--json", "--device", device, photo,
    ];
    let mut command = sandbox.command(&arguments);
    command.env_remove("CUDA_VISIBLE_DEVICES");
    let answer = finish(command).succeeded().stdout;
    let answer: serde_json::Value = serde_json::from_str(answer.trim()).unwrap();
    answer["predictions"][0]["probability"].as_f64().unwrap()
}

#[cfg(feature = "cuda")]
mod kernels {
    //! The GPU's own kernels against Burn's operations on the CPU in float32, output and gradients. Images are bfloat16, so each value
    //! is off by up to 2^-9 of itself; the sums are float32.

    use burn::tensor::module::{batch_norm_train, conv2d, max_pool2d};
    use burn::tensor::ops::{ConvOptions, MaxPoolOptions};
    use burn::tensor::{DType, Device, Distribution, Tensor, activation::relu};
    use sagemaker_burn::device::{DeviceRequest, gpu_count, select};
    use sagemaker_burn::gpu;

    use crate::model_golden::largest_difference;

    /// Largest difference in units of the largest value.
    const TOLERANCE: f32 = 0.01;

    fn check<const D: usize>(name: &str, found: Tensor<D>, expected: Tensor<D>) {
        assert_eq!(found.dims(), expected.dims(), "{name}");
        let values = |t: Tensor<D>| {
            t.cast(DType::F32)
                .into_data()
                .try_into_vec::<f32>()
                .unwrap()
        };
        let (found, expected) = (values(found), values(expected));
        // With few values a ReLU may leave zeros alone.
        let largest = expected
            .iter()
            .fold(f32::MIN_POSITIVE, |most, v| most.max(v.abs()));
        let error = largest_difference(&found, &expected) / largest;
        println!("{name}: {error:.1e}");
        assert!(error <= TOLERANCE, "{name}: {error}");
    }

    /// The CPU's device and the GPU's, both with autodiff.
    fn devices() -> Option<[Device; 2]> {
        if gpu_count() == 0 {
            println!("skipped: there is no GPU");
            return None;
        }
        let gpu = select(DeviceRequest::Cuda(0)).unwrap().device;
        Some([Device::flex().autodiff(), gpu.autodiff()])
    }

    /// Noise that bfloat16 holds exactly, on the CPU and as bfloat16 on the GPU.
    fn images(shape: [usize; 4], [cpu, gpu]: &[Device; 2]) -> [Tensor<4>; 2] {
        let noise = Tensor::<4>::random(shape, Distribution::Normal(0.0, 1.0), &Device::flex());
        let data = noise.cast(DType::BF16).cast(DType::F32).into_data();
        let on_gpu = Tensor::<4>::from_data(data.clone(), gpu).cast(DType::BF16);
        [
            Tensor::from_data(data, cpu).require_grad(),
            on_gpu.detach().require_grad(),
        ]
    }

    fn float32<const D: usize>(
        shape: [usize; D],
        scale: f64,
        devices: &[Device; 2],
    ) -> [Tensor<D>; 2] {
        let noise = Tensor::<D>::random(shape, Distribution::Normal(0.0, scale), &Device::flex());
        let data = noise.cast(DType::BF16).cast(DType::F32).into_data();
        devices
            .each_ref()
            .map(|device| Tensor::from_data(data.clone(), device).require_grad())
    }

    #[test]
    fn convolutions_are_those_of_burn() {
        let Some(devices) = devices() else { return };
        // n, c, h, w; k; side, stride, padding
        for (x, k, [side, stride, pad]) in [
            ([3, 64, 9, 11], 64, [3, 1, 1]),
            ([2, 128, 14, 14], 192, [3, 1, 1]),
            ([5, 256, 7, 7], 128, [3, 1, 1]),
            ([2, 64, 13, 8], 128, [3, 2, 1]),
            ([2, 64, 13, 8], 128, [1, 2, 0]),
            ([2, 128, 6, 5], 64, [1, 1, 0]),
            ([2, 3, 40, 36], 64, [7, 2, 3]),
            ([2, 3, 40, 37], 64, [7, 2, 3]),
            ([3, 64, 11, 9], 64, [5, 3, 1]),
            ([2, 24, 10, 10], 64, [3, 1, 1]),
            ([2, 24, 11, 9], 64, [3, 2, 1]),
            ([2, 128, 9, 7], 128, [3, 2, 1]),
            ([2, 64, 2, 1], 64, [3, 2, 1]),
            ([2, 512, 2, 2], 512, [3, 1, 1]),
            ([3, 256, 1, 1], 64, [3, 1, 1]),
            ([1, 64, 12, 11], 64, [7, 2, 3]),
        ] {
            let c = x[1];
            let name = format!("{x:?} to {k}, {side}x{side}/{stride}");
            let fan_in = (c * side * side) as f64;
            let [images_cpu, images_gpu] = images(x, &devices);
            let [weight_cpu, weight_gpu] =
                float32([k, c, side, side], fan_in.sqrt().recip(), &devices);
            // A gradient of three channels nobody asks for.
            let images_gpu = if c < 8 {
                images_gpu.detach().set_require_grad(false)
            } else {
                images_gpu
            };
            let options = ConvOptions::new([stride; 2], [pad; 2], [1, 1], 1);
            let expected = conv2d(images_cpu.clone(), weight_cpu.clone(), None, options);
            assert!(gpu::convolves(&images_gpu, &weight_gpu), "{name}");
            let found = gpu::conv(images_gpu.clone(), weight_gpu.clone(), stride, pad);
            check(&format!("{name}, output"), found.clone(), expected.clone());
            let [slope_cpu, slope_gpu] = images(expected.dims(), &devices);
            let expected = (expected * slope_cpu).sum().backward();
            let found = (found * slope_gpu).cast(DType::F32).sum().backward();
            let of = |t: &Tensor<4>, g: &burn::tensor::Gradients| t.grad(g).unwrap();
            check(
                &format!("{name}, weights"),
                of(&weight_gpu, &found),
                of(&weight_cpu, &expected),
            );
            if c >= 8 {
                check(
                    &format!("{name}, images"),
                    of(&images_gpu, &found),
                    of(&images_cpu, &expected),
                );
            }
        }
    }

    fn norm_of(
        gamma: &Tensor<1>,
        beta: &Tensor<1>,
        [mean, variance]: [&Tensor<1>; 2],
    ) -> gpu::Norm {
        gpu::Norm {
            gamma: gamma.clone(),
            beta: beta.clone(),
            running_mean: mean.clone().detach(),
            running_variance: variance.clone().detach(),
            momentum: 0.25,
            epsilon: 1e-5,
        }
    }

    /// The result of a norm, the statistics of `count` values, and the running ones moved by them.
    fn check_forward(
        name: &str,
        found: &gpu::Normalised,
        expected: &Tensor<4>,
        [mean, variance]: [Tensor<1>; 2],
        count: f64,
        [running_mean, running_variance]: [Tensor<1>; 2],
    ) {
        let unbiased = variance.clone() * (count / (count - 1.0));
        let inverse = (variance + 1e-5).sqrt().recip();
        let [moved_mean, moved_variance] = found.running.clone();
        for (what, found, expected) in [
            (
                "running mean",
                moved_mean,
                running_mean * 0.75 + mean.clone() * 0.25,
            ),
            (
                "running variance",
                moved_variance,
                running_variance * 0.75 + unbiased * 0.25,
            ),
            ("mean", found.mean.clone(), mean),
            ("inverse", found.inverse.clone(), inverse),
        ] {
            check(&format!("{name}, {what}"), found, expected);
        }
        check(
            &format!("{name}, output"),
            found.output.clone(),
            expected.clone(),
        );
    }

    #[test]
    fn batch_norms_with_a_pooling_are_those_of_burn() {
        let Some(devices) = devices() else { return };
        for shape in [[3, 64, 9, 12], [2, 64, 16, 7], [2, 24, 5, 5], [2, 2, 1, 6]] {
            let name = format!("{shape:?}");
            let [z_cpu, z_gpu] = images(shape, &devices);
            let [gamma_cpu, gamma_gpu] = float32([shape[1]], 1.0, &devices);
            let [beta_cpu, beta_gpu] = float32([shape[1]], 1.0, &devices);
            let [mean_cpu, mean_gpu] = float32([shape[1]], 1.0, &devices);
            let [variance_cpu, variance_gpu] = float32([shape[1]], 1.0, &devices);
            let expected =
                batch_norm_train(z_cpu.clone(), gamma_cpu.clone(), beta_cpu.clone(), 1e-5);
            let (mean, variance) = (expected.mean, expected.variance);
            let options = MaxPoolOptions::new([3, 3])
                .with_stride([2, 2])
                .with_padding([1, 1]);
            let expected = max_pool2d(relu(expected.output), options);
            let norm = norm_of(&gamma_gpu, &beta_gpu, [&mean_gpu, &variance_gpu]);
            let found = gpu::norm_pool(z_gpu.clone(), norm);
            let count = (shape[0] * shape[2] * shape[3]) as f64;
            check_forward(
                &name,
                &found,
                &expected,
                [mean, variance],
                count,
                [mean_cpu, variance_cpu],
            );
            let [slope_cpu, slope_gpu] = images(expected.dims(), &devices);
            let expected = (expected * slope_cpu).sum().backward();
            let found = (found.output * slope_gpu).cast(DType::F32).sum().backward();
            let of = |t: &Tensor<4>, g: &burn::tensor::Gradients| t.grad(g).unwrap();
            check(
                &format!("{name}, z"),
                of(&z_gpu, &found),
                of(&z_cpu, &expected),
            );
            for (what, gpu, cpu) in [
                ("gamma", &gamma_gpu, &gamma_cpu),
                ("beta", &beta_gpu, &beta_cpu),
            ] {
                check(
                    &format!("{name}, {what}"),
                    gpu.grad(&found).unwrap(),
                    cpu.grad(&expected).unwrap(),
                );
            }
        }
    }

    #[test]
    fn batch_norms_are_those_of_burn() {
        let Some(devices) = devices() else { return };
        for (shape, relu_behind, added) in [
            ([5, 64, 9, 11], true, false),
            ([5, 64, 9, 11], true, true),
            ([5, 128, 7, 6], false, false),
            ([3, 24, 20, 20], true, true),
            ([2, 2, 5, 5], true, false),
        ] {
            let name = format!("{shape:?}, {relu_behind}, {added}");
            let [z_cpu, z_gpu] = images(shape, &devices);
            let [gamma_cpu, gamma_gpu] = float32([shape[1]], 1.0, &devices);
            let [beta_cpu, beta_gpu] = float32([shape[1]], 1.0, &devices);
            let [cut_cpu, cut_gpu] = images(shape, &devices);
            let expected =
                batch_norm_train(z_cpu.clone(), gamma_cpu.clone(), beta_cpu.clone(), 1e-5);
            let (mean, variance) = (expected.mean, expected.variance);
            let mut expected = expected.output;
            if added {
                expected = expected + cut_cpu.clone();
            }
            if relu_behind {
                expected = relu(expected);
            }
            let shortcut = added.then(|| cut_gpu.clone());
            let [mean_cpu, mean_gpu] = float32([shape[1]], 1.0, &devices);
            let [variance_cpu, variance_gpu] = float32([shape[1]], 1.0, &devices);
            let norm = norm_of(&gamma_gpu, &beta_gpu, [&mean_gpu, &variance_gpu]);
            let found = gpu::norm(z_gpu.clone(), norm, shortcut, relu_behind);
            let count = (shape[0] * shape[2] * shape[3]) as f64;
            check_forward(
                &name,
                &found,
                &expected,
                [mean, variance],
                count,
                [mean_cpu, variance_cpu],
            );
            let [slope_cpu, slope_gpu] = images(shape, &devices);
            let expected = (expected * slope_cpu).sum().backward();
            let found = (found.output * slope_gpu).cast(DType::F32).sum().backward();
            check(
                &format!("{name}, z"),
                z_gpu.grad(&found).unwrap(),
                z_cpu.grad(&expected).unwrap(),
            );
            check(
                &format!("{name}, gamma"),
                gamma_gpu.grad(&found).unwrap(),
                gamma_cpu.grad(&expected).unwrap(),
            );
            check(
                &format!("{name}, beta"),
                beta_gpu.grad(&found).unwrap(),
                beta_cpu.grad(&expected).unwrap(),
            );
            if added {
                check(
                    &format!("{name}, shortcut"),
                    cut_gpu.grad(&found).unwrap(),
                    cut_cpu.grad(&expected).unwrap(),
                );
            }
        }
    }
}
