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
use crate::model_golden::{golden, images, path, shape};

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
                setups.push(setup("gpu bfloat16", &gpu, true, BFLOAT16));
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
                assert_eq!(found.len(), golden.len());
                let pairs = found.iter().zip(&golden);
                let difference = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max) / largest;
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
