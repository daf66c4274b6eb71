//! What the layers of a network make of images, for a look inside.
//!
//! Input: images `[N, 3, H, W]` and an [`Observer`]. Output: inputs and outputs of the layers, under the names that PyTorch's modules
//! would have. It is a forward pass of its own, beside the one that trains: that one fuses layers, so most of these tensors never
//! exist in it, and nothing that is looked at may change what is learned.

use burn::module::Module;
use burn::tensor::activation::relu;
use burn::tensor::{DType, Tensor};

use super::batch_norm::Mode;
use super::block::{Block, ConvNorm, global_average_pool, stem_max_pool};
use super::config::ResNetConfig;
use super::layout::ConvSpec;
use super::resnet::ResNet;
use crate::kernels::layer::accepts;

/// Who looks.
pub trait Observer {
    /// Whether the tensor of this name is wanted. Nothing is computed for one that is not.
    fn wants(&self, name: &str) -> bool;

    /// Takes a tensor, `[N, C, H, W]`, without gradients.
    fn saw(&mut self, name: &str, value: &Tensor<4>);
}

/// Suffixes of the two sides of a layer.
fn input(layer: &str) -> String {
    format!("{layer}_input_0")
}

fn output(layer: &str) -> String {
    format!("{layer}_output_0")
}

/// A block uses its ReLU after each convolution, and PyTorch's hook counts the uses.
fn relu_side(block: &str, side: &str, use_number: usize) -> String {
    let dot = if block.is_empty() { "" } else { "." };
    format!("{block}{dot}relu_{side}_{use_number}")
}

/// Tensors that only a pass without fusion has: all but what follows the ReLUs.
fn inner_names(block: &str, convs: &[ConvSpec], downsample: Option<&ConvSpec>) -> Vec<String> {
    let mut names = Vec::new();
    for spec in convs.iter().chain(downsample) {
        let layers = [&spec.conv, &spec.norm];
        names.extend(
            layers
                .into_iter()
                .flat_map(|layer| [input(layer), output(layer)]),
        );
    }
    names.extend((0..convs.len()).map(|i| relu_side(block, "input", i)));
    if downsample.is_some() {
        let layer = format!("{block}.downsample");
        names.extend([input(&layer), output(&layer)]);
    }
    names
}

impl ResNetConfig {
    /// The names of all tensors that [`ResNet::observe`] can show.
    pub fn layer_tensors(&self) -> Vec<String> {
        let layout = self.layout();
        let sides = |layer: &str| [input(layer), output(layer)];
        let mut names = inner_names("", std::slice::from_ref(&layout.stem), None);
        names.push(relu_side("", "output", 0));
        names.extend(sides("maxpool"));
        for (stage, blocks) in layout.stages.iter().enumerate() {
            names.extend(sides(&format!("layer{}", stage + 1)));
            for (index, block) in blocks.iter().enumerate() {
                let name = format!("layer{}.{index}", stage + 1);
                names.extend(inner_names(&name, &block.convs, block.downsample.as_ref()));
                names.extend((0..block.convs.len()).map(|i| relu_side(&name, "output", i)));
                names.extend(sides(&name));
            }
        }
        names.extend(sides("avgpool"));
        names
    }
}

impl ResNet {
    /// Shows `observer` the layers at work on images `[N, 3, H, W]`, without gradients and without moving any statistics.
    pub fn observe(&self, images: Tensor<4>, mode: Mode, observer: &mut dyn Observer) {
        // A copy, whose running statistics may move.
        let model = self.valid();
        let mode = if model.bn_frozen { Mode::Eval } else { mode };
        let layout = model.config.layout();
        let mut pass = Pass { mode, observer };
        let images = images.cast(model.image_dtype());
        let x = pass.unit(&model.stem, &layout.stem, images);
        let x = pass.relu("", 0, x);
        pass.show(&input("maxpool"), &x);
        let mut x = stem_max_pool(x);
        pass.show(&output("maxpool"), &x);
        for (stage, (blocks, specs)) in model.stages.iter().zip(&layout.stages).enumerate() {
            let name = format!("layer{}", stage + 1);
            pass.show(&input(&name), &x);
            for (index, (block, spec)) in blocks.iter().zip(specs).enumerate() {
                let block_name = format!("{name}.{index}");
                pass.show(&input(&block_name), &x);
                let hidden = inner_names(&block_name, &spec.convs, spec.downsample.as_ref());
                // The kernels of this crate fuse what is not wanted, where they apply.
                let fuses = accepts(&x) && accepts(&block.convs[0].weight.val());
                x = match !fuses || hidden.iter().any(|name| pass.observer.wants(name)) {
                    true => pass.open_block(
                        block,
                        &spec.convs,
                        spec.downsample.as_ref(),
                        &block_name,
                        x,
                    ),
                    false => pass.fused_block(block, &block_name, x),
                };
                pass.show(&output(&block_name), &x);
            }
            pass.show(&output(&name), &x);
        }
        pass.show(&input("avgpool"), &x);
        let pooled = global_average_pool(x.cast(DType::F32));
        let [n, channels] = pooled.dims();
        pass.show(&output("avgpool"), &pooled.reshape([n, channels, 1, 1]));
    }
}

/// A forward pass that shows what it makes.
struct Pass<'a> {
    mode: Mode,
    observer: &'a mut dyn Observer,
}

impl Pass<'_> {
    fn show(&mut self, name: &str, value: &Tensor<4>) {
        if self.observer.wants(name) {
            self.observer.saw(name, value);
        }
    }

    /// A convolution and its batch norm.
    fn unit(&mut self, conv: &ConvNorm, spec: &ConvSpec, x: Tensor<4>) -> Tensor<4> {
        self.show(&input(&spec.conv), &x);
        let x = conv.convolve(x);
        self.show(&output(&spec.conv), &x);
        self.show(&input(&spec.norm), &x);
        let x = conv.norm.forward(x, self.mode);
        self.show(&output(&spec.norm), &x);
        x
    }

    fn relu(&mut self, block: &str, use_number: usize, x: Tensor<4>) -> Tensor<4> {
        self.show(&relu_side(block, "input", use_number), &x);
        let x = relu(x);
        self.show(&relu_side(block, "output", use_number), &x);
        x
    }

    /// [`Block::forward`] with everything to be seen.
    fn open_block(
        &mut self,
        block: &Block,
        convs: &[ConvSpec],
        downsample: Option<&ConvSpec>,
        name: &str,
        x: Tensor<4>,
    ) -> Tensor<4> {
        let shortcut = match (&block.downsample, downsample) {
            (Some(projection), Some(spec)) => {
                let layer = format!("{name}.downsample");
                self.show(&input(&layer), &x);
                let projected = self.unit(projection, spec, x.clone());
                self.show(&output(&layer), &projected);
                projected
            }
            _ => x.clone(),
        };
        let (mut x, mut shortcut) = (x, Some(shortcut));
        for (i, (conv, spec)) in block.convs.iter().zip(convs).enumerate() {
            x = self.unit(conv, spec, x);
            if i + 1 == block.convs.len()
                && let Some(shortcut) = shortcut.take()
            {
                x = x + shortcut;
            }
            x = self.relu(name, i, x);
        }
        x
    }

    /// The same by the kernels of this crate, where nothing but what follows the ReLUs is wanted.
    fn fused_block(&mut self, block: &Block, name: &str, x: Tensor<4>) -> Tensor<4> {
        let x = x.permute([0, 2, 3, 1]);
        let shortcut = match &block.downsample {
            Some(projection) => {
                projection.forward_channels_last(x.clone(), self.mode, None, false, None)
            }
            None => x.clone(),
        };
        let (mut x, mut shortcut) = (x, Some(shortcut));
        for (i, conv) in block.convs.iter().enumerate() {
            let is_last = i + 1 == block.convs.len();
            let added = if is_last { shortcut.take() } else { None };
            x = conv.forward_channels_last(x, self.mode, added, true, None);
            self.show(
                &relu_side(name, "output", i),
                &x.clone().permute([0, 3, 1, 2]),
            );
        }
        x.permute([0, 3, 1, 2])
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use burn::tensor::{Device, Distribution, Tolerance};

    use super::*;
    use crate::model::{Architecture, state_dict};

    /// Takes what its names ask for; an empty list asks for everything.
    struct Notebook {
        wanted: Vec<String>,
        seen: BTreeMap<String, Tensor<4>>,
    }

    impl Observer for Notebook {
        fn wants(&self, name: &str) -> bool {
            self.wanted.is_empty() || self.wanted.iter().any(|wanted| wanted == name)
        }

        fn saw(&mut self, name: &str, value: &Tensor<4>) {
            self.seen.insert(name.to_string(), value.clone());
        }
    }

    fn seen(model: &ResNet, mode: Mode, wanted: &[&str]) -> BTreeMap<String, Tensor<4>> {
        let mut notebook = Notebook {
            wanted: wanted.iter().map(|name| name.to_string()).collect(),
            seen: BTreeMap::new(),
        };
        model.observe(images(), mode, &mut notebook);
        notebook.seen
    }

    fn images() -> Tensor<4> {
        let device = Device::flex();
        device.seed(3);
        Tensor::random([2, 3, 64, 64], Distribution::Normal(0.0, 1.0), &device)
    }

    fn model(architecture: Architecture) -> ResNet {
        let config = ResNetConfig {
            width: 4,
            ..ResNetConfig::new(architecture, 3)
        };
        ResNet::new(&config, 1, &Device::flex()).unwrap()
    }

    /// Batch norms of two images and four pixels enlarge what rounding leaves.
    fn assert_close(one: &Tensor<4>, other: &Tensor<4>) {
        let tolerance = Tolerance::<f32>::rel_abs(2e-3, 2e-3);
        one.to_data().assert_approx_eq(&other.to_data(), tolerance);
    }

    #[test]
    fn all_that_is_named_is_shown_and_the_end_is_that_of_the_network() {
        for architecture in Architecture::ALL {
            let model = model(architecture);
            for mode in [Mode::Train, Mode::Eval] {
                let before = state_dict(&model);
                let seen = seen(&model, mode, &[]);
                assert_eq!(state_dict(&model), before, "statistics have moved");
                let mut expected = model.config().layer_tensors();
                expected.sort();
                assert_eq!(seen.keys().cloned().collect::<Vec<_>>(), expected);
                let features = model.clone().features(images(), mode);
                let [n, channels] = features.dims();
                assert_close(
                    &seen["avgpool_output_0"],
                    &features.reshape([n, channels, 1, 1]),
                );
            }
        }
    }

    #[test]
    fn fused_blocks_show_the_same_as_open_ones() {
        for architecture in [Architecture::Resnet18, Architecture::Resnet50] {
            let model = model(architecture);
            let names = model.config().layer_tensors();
            let outputs: Vec<&str> = names
                .iter()
                .filter(|name| name.contains("relu_output"))
                .map(String::as_str)
                .collect();
            let open = seen(&model, Mode::Train, &[]);
            let fused = seen(&model, Mode::Train, &outputs);
            assert_eq!(fused.len(), outputs.len());
            for (name, value) in fused {
                assert_close(&value, &open[&name]);
            }
        }
    }

    #[test]
    fn names_are_those_of_pytorchs_hook() {
        let names = model(Architecture::Resnet18).config().layer_tensors();
        for name in [
            "conv1_input_0",
            "bn1_output_0",
            "relu_output_0",
            "maxpool_output_0",
            "layer1.0.relu_input_1",
            "layer2.0.downsample.1_output_0",
            "layer2.0.downsample_input_0",
            "layer4_output_0",
            "avgpool_output_0",
        ] {
            assert!(names.contains(&name.to_string()), "{name}");
        }
    }
}
