//! The evaluation network on the CPU: plain memory and the kernels of this crate, no tensors in between.
//!
//! Input: a [`ResNet`] without autodiff, images `[N, 3, H, W]`. Output: features `[N, num_features]`. All layers of a call share
//! one piece of memory, and the call runs on the thread pool as a whole, so that no layer waits for threads to wake up.

use burn::tensor::Tensor;

use super::block::{Block, ConvNorm, STEM_POOL};
use super::resnet::ResNet;
use crate::kernels::inference::{FrozenConv, Size};
use crate::kernels::layer::{self, values};
use crate::kernels::pool::{PoolShape, average, max_pool};
use crate::kernels::{Isa, scratch};

/// See the module.
#[derive(Debug)]
pub struct FrozenResNet {
    isa: Isa,
    stem: FrozenConv,
    blocks: Vec<FrozenBlock>,
    num_features: usize,
}

#[derive(Debug)]
struct FrozenBlock {
    convs: Vec<FrozenConv>,
    downsample: Option<FrozenConv>,
}

/// Feature maps that a block works with: its input, its shortcut and two that take turns.
const MAPS: usize = 4;

impl FrozenResNet {
    pub(super) fn new(model: &ResNet) -> Self {
        Self {
            isa: Isa::detect(),
            stem: frozen(&model.stem),
            blocks: model
                .stages
                .iter()
                .flatten()
                .map(FrozenBlock::new)
                .collect(),
            num_features: model.num_features(),
        }
    }

    /// Images `[N, 3, H, W]` to features `[N, num_features]`.
    pub fn features(&self, images: Tensor<4>) -> Tensor<2> {
        let [n, _, h, w] = images.dims();
        let images = images.permute([0, 2, 3, 1]);
        let features = match values(images.clone()) {
            Some(pixels) => self.compute(pixels.as_slice(), Size { n, h, w }),
            // Images that come from another device, or as another type.
            None => {
                let pixels = images
                    .into_data()
                    .convert::<f32>()
                    .iter::<f32>()
                    .collect::<Vec<_>>();
                self.compute(&pixels, Size { n, h, w })
            }
        };
        layer::tensor(features, [n, self.num_features])
    }

    /// Pixels `[n, h, w, 3]` to features.
    fn compute(&self, pixels: &[f32], size: Size) -> Vec<f32> {
        let mut features = vec![0.0; size.n * self.num_features];
        // On a thread of the pool, so that the parallel parts don't each wait for one.
        rayon::scope(|_| self.run(pixels, size, &mut features));
        features
    }

    fn run(&self, pixels: &[f32], size: Size, features: &mut [f32]) {
        let isa = self.isa;
        let (stem_size, channels) = self.stem.output(size);
        let stem_len = len(stem_size, channels);
        let pool = PoolShape {
            n: size.n,
            h: stem_size.h,
            w: stem_size.w,
            k: channels,
            window: STEM_POOL.window,
            stride: STEM_POOL.stride,
            pad: STEM_POOL.pad,
        };
        let pooled = Size {
            n: size.n,
            h: pool.oh(),
            w: pool.ow(),
        };
        let largest = self.largest_map(pooled).max(pool.output_len());
        // The stem's result lies where the other maps come later.
        let others = stem_len.max((MAPS - 1) * largest);
        scratch::with(largest + others, |memory| {
            let (first, rest) = memory.split_at_mut(largest);
            self.stem.forward(pixels, size, None, true, rest);
            let first_len = pool.output_len();
            max_pool(
                isa,
                &rest[..stem_len],
                &pool,
                None,
                &mut first[..first_len],
                None,
            );
            let mut others = rest.chunks_mut(largest);
            let mut next = || others.next().unwrap_or_default();
            let mut maps = [first, next(), next(), next()];
            let (mut size, mut channels) = (pooled, channels);
            for block in &self.blocks {
                (size, channels) = block.run(&mut maps, size);
            }
            average(
                &maps[0][..len(size, channels)],
                size.h * size.w,
                channels,
                features,
            );
        });
    }

    /// Values of the largest feature map behind the stem.
    fn largest_map(&self, mut size: Size) -> usize {
        let mut largest = 0;
        for block in &self.blocks {
            for conv in &block.convs {
                let (output, channels) = conv.output(size);
                largest = largest.max(len(output, channels));
                size = output;
            }
        }
        largest
    }
}

fn len(size: Size, channels: usize) -> usize {
    size.n * size.h * size.w * channels
}

impl FrozenBlock {
    fn new(block: &Block) -> Self {
        Self {
            convs: block.convs.iter().map(frozen).collect(),
            downsample: block.downsample.as_ref().map(frozen),
        }
    }

    /// Turns the first map, of `size`, into the block's result.
    fn run(&self, maps: &mut [&mut [f32]; MAPS], size: Size) -> (Size, usize) {
        let [input, shortcut, from, to] = maps;
        let shortcut: &[f32] = match &self.downsample {
            Some(projection) => {
                projection.forward(input, size, None, false, shortcut);
                shortcut
            }
            None => input,
        };
        let (mut size, mut channels) = (size, 0);
        for (i, conv) in self.convs.iter().enumerate() {
            let source: &[f32] = if i == 0 { input } else { from };
            let added = (i + 1 == self.convs.len()).then_some(shortcut);
            conv.forward(source, size, added, true, to);
            (size, channels) = conv.output(size);
            std::mem::swap(from, to);
        }
        maps.swap(0, 2);
        (size, channels)
    }
}

/// Multiplies the batch norm into the weights; what it adds becomes the bias.
fn frozen(conv: &ConvNorm) -> FrozenConv {
    let (scale, shift) = conv.norm.scale_and_shift();
    let shape = conv.weight.dims();
    let scaled = conv.weight.val() * scale.reshape([shape[0], 1, 1, 1]);
    let host = |values: Option<layer::FlexValues>| match values {
        Some(values) => values.as_slice().to_vec(),
        None => unreachable!("this network is only made on the CPU backend"),
    };
    FrozenConv::new(
        Isa::detect(),
        host(values(scaled)),
        host(values(shift)),
        shape,
        conv.stride,
        conv.padding,
    )
}
