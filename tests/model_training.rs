//! One training step agrees with PyTorch, and repeated steps agree with each other bit for bit.

use std::collections::HashMap;

use burn::{
    module::{Module, ModuleVisitor, Param, ParamId},
    nn::loss::CrossEntropyLossConfig,
    optim::{GradientsParams, SgdConfig},
    tensor::{Device, Gradients, Int, Tensor, TensorData},
};
use sagemaker_burn::model::{
    Mode, ResNet, ResNetConfig, config::Architecture, onnx::load, read_safetensors, state_dict,
};
use serde_json::Value;

use crate::model_golden::{golden, images, largest_difference, path};

/// Relative tolerance of a gradient's norm. float32 sums in another order than PyTorch's.
const GRADIENT_TOLERANCE: f64 = 1e-3;
/// Absolute tolerance of weights and statistics after the step.
const WEIGHT_TOLERANCE: f32 = 1e-5;

fn autodiff() -> Device {
    Device::flex().autodiff()
}

fn loss(model: &ResNet, device: &Device) -> Tensor<1> {
    let logits = model.forward(images([4, 3, 64, 64], device), Mode::Train);
    let targets = Tensor::<1, Int>::from_data([0, 5, 2, 3], device);
    CrossEntropyLossConfig::new()
        .init(device)
        .forward(logits, targets)
}

/// The norm of each parameter's gradient, by the id of the parameter.
struct Norms<'a> {
    gradients: &'a Gradients,
    by_id: HashMap<ParamId, f64>,
    order: Vec<ParamId>,
}

impl ModuleVisitor for Norms<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.order.push(param.id);
        if let Some(gradient) = param.val().grad(self.gradients) {
            let values = gradient.into_data().try_into_vec::<f32>().unwrap();
            let sum: f64 = values.iter().map(|v| f64::from(*v).powi(2)).sum();
            self.by_id.insert(param.id, sum.sqrt());
        }
    }
}

fn gradient_norms(model: &ResNet, gradients: &Gradients) -> HashMap<String, f64> {
    let mut norms = Norms {
        gradients,
        by_id: HashMap::new(),
        order: Vec::new(),
    };
    model.visit(&mut norms);
    let names = model.config().tensors().into_iter().map(|t| t.name);
    names
        .zip(&norms.order)
        .filter_map(|(name, id)| Some((name, *norms.by_id.get(id)?)))
        .collect()
}

/// Compares loss and gradients with a golden step.
fn assert_agrees(model: &ResNet, loss: f32, gradients: &Gradients, golden: &Value) {
    let golden_loss = golden["loss"].as_f64().unwrap() as f32;
    assert!((loss - golden_loss).abs() < 1e-5, "{loss} {golden_loss}");
    let found = gradient_norms(model, gradients);
    let golden = golden["gradient_norms"].as_object().unwrap();
    assert_eq!(found.len(), golden.len());
    for (name, norm) in golden {
        let norm = norm.as_f64().unwrap();
        let error = (found[name] - norm).abs() / norm.max(1e-3);
        assert!(error < GRADIENT_TOLERANCE, "{name}: {} {norm}", found[name]);
    }
}

#[test]
fn a_training_step_is_that_of_pytorch() {
    let device = autodiff();
    let model = load(&path("resnet18-kept.onnx"), &device).unwrap().model;
    let loss = loss(&model, &device);
    let gradients = loss.clone().backward();
    let value = loss.into_scalar::<f32>();
    assert_agrees(&model, value, &gradients, &golden()["train"]);
    let gradients = GradientsParams::from_grads(gradients, &model);
    let model = SgdConfig::new().init().step(0.01, model, gradients);
    let (state, _) = read_safetensors(&path("trained.safetensors")).unwrap();
    let golden: HashMap<String, TensorData> = state.into_iter().collect();
    let mut largest = 0f32;
    for (name, data) in state_dict(&model) {
        let found = data.try_into_vec::<f32>().unwrap();
        let golden = golden[&name].clone().try_into_vec::<f32>().unwrap();
        assert_eq!(found.len(), golden.len(), "{name}");
        let difference = largest_difference(&found, &golden);
        assert!(difference < WEIGHT_TOLERANCE, "{name}: {difference}");
        largest = largest.max(difference);
    }
    println!("largest difference after the step {largest:.1e}");
}

#[test]
fn frozen_batch_norms_train_as_those_of_pytorch_in_evaluation() {
    let device = autodiff();
    let model = load(&path("resnet18-kept.onnx"), &device).unwrap().model;
    let model = model.freeze_batch_norm();
    let before = state_dict(&model);
    let loss = loss(&model, &device);
    let gradients = loss.clone().backward();
    let value = loss.into_scalar::<f32>();
    assert_agrees(&model, value, &gradients, &golden()["train_frozen"]);
    assert_eq!(state_dict(&model), before, "the statistics must not move");
}

#[test]
fn a_frozen_backbone_leaves_only_the_classifier_to_train() {
    let device = autodiff();
    let model = load(&path("resnet18-kept.onnx"), &device).unwrap().model;
    // Also on a plain device the setting must survive the way there and back.
    let model = model.freeze_backbone().valid().train();
    let gradients = loss(&model, &device).backward();
    let mut names: Vec<_> = gradient_norms(&model, &gradients).into_keys().collect();
    names.sort();
    assert_eq!(names, ["fc.bias", "fc.weight"]);
}

#[test]
fn a_network_built_without_autodiff_can_be_trained_later() {
    let model = load(&path("resnet18-kept.onnx"), &Device::flex())
        .unwrap()
        .model;
    let model = model.train();
    let gradients = loss(&model, &autodiff()).backward();
    assert_eq!(gradient_norms(&model, &gradients).len(), 62);
}

#[test]
fn a_new_head_and_loaded_weights_can_be_trained() {
    let device = autodiff();
    let imported = load(&path("resnet18-folded.onnx"), &device).unwrap();
    let model = imported.model.with_new_head(6, 3).unwrap();
    let state = state_dict(&model);
    let model = ResNet::from_state_dict(model.config(), state, &device).unwrap();
    assert!(model.has_frozen_batch_norm(), "its statistics were folded");
    let gradients = loss(&model, &device).backward();
    assert_eq!(gradient_norms(&model, &gradients).len(), 62);
}

fn train(steps: usize) -> (Vec<(String, TensorData)>, f32) {
    let device = autodiff();
    let config = ResNetConfig {
        width: 4,
        ..ResNetConfig::new(Architecture::Resnet18, 6)
    };
    let mut model = ResNet::new(&config, 1, &device).unwrap();
    let mut optimizer = SgdConfig::new().init();
    let mut last = 0.0;
    for _ in 0..steps {
        let loss = loss(&model, &device);
        last = loss.clone().into_scalar::<f32>();
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        model = optimizer.step(0.05, model, gradients);
    }
    (state_dict(&model), last)
}

#[test]
fn training_repeats_bit_for_bit() {
    let (first, first_loss) = train(4);
    assert!(first_loss < train(1).1, "four steps must lower the loss");
    for _ in 0..3 {
        let (again, loss) = train(4);
        assert_eq!(loss.to_bits(), first_loss.to_bits());
        assert_eq!(again, first);
    }
}
