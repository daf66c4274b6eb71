//! The evaluation network on the CPU: plain memory and the kernels of this crate, no tensors in between.
//!
//! Input: a [`ResNet`] without autodiff, images `[N, 3, H, W]`. Output: features `[N, num_features]`. All layers of a call share
//! one piece of memory, and the call runs on the thread pool as a whole, so that no layer waits for threads to wake up.

use burn::tensor::Tensor;

use super::block::{Block, ConvNorm, STEM_POOL};
use super::resnet::ResNet;
use crate::kernels::layer::{self, values};
use crate::kernels::pool::{PoolShape, average, max_pool};
use crate::kernels::{FrozenConv, Isa, Size, scratch};

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
        let (pooled, channels) = self.stem_output(size);
        let largest = self.largest_map(pooled).max(len(pooled, channels));
        scratch::with(MAPS * largest, |memory| {
            let mut maps = memory.chunks_mut(largest);
            let mut next = || maps.next().unwrap_or_default();
            let mut maps = [next(), next(), next(), next()];
            self.run_stem(pixels, size, maps[0]);
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

    /// Size and channels of the stem's pooled result.
    fn stem_output(&self, size: Size) -> (Size, usize) {
        let (size, channels) = self.stem.output(size);
        let pool = stem_pool(size, channels);
        let (h, w) = (pool.oh(), pool.ow());
        (Size { h, w, ..size }, channels)
    }

    /// The stem and its pooling, a few images at a time: it makes the largest feature map of all, four times the next.
    fn run_stem(&self, pixels: &[f32], size: Size, pooled: &mut [f32]) {
        /// Images whose map fits into the third cache.
        const IMAGES: usize = 4;
        let group = Size {
            n: IMAGES.min(size.n),
            ..size
        };
        let (map, channels) = self.stem.output(group);
        let (one, _) = self.stem_output(Size { n: 1, ..size });
        let (pixels_len, pooled_len) = (len(Size { n: 1, ..size }, 3), len(one, channels));
        scratch::with(len(map, channels), |memory| {
            let inputs = pixels.chunks(IMAGES * pixels_len);
            for (pixels, pooled) in inputs.zip(pooled.chunks_mut(IMAGES * pooled_len)) {
                let n = pixels.len() / pixels_len;
                let map = Size { n, ..map };
                self.stem
                    .forward(pixels, Size { n, ..size }, None, true, memory);
                let (z, pool) = (&memory[..len(map, channels)], stem_pool(map, channels));
                max_pool(
                    self.isa,
                    z,
                    &pool,
                    None,
                    &mut pooled[..n * pooled_len],
                    None,
                );
            }
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

/// The pooling behind the stem, whose result has this size.
fn stem_pool(size: Size, channels: usize) -> PoolShape {
    PoolShape {
        n: size.n,
        h: size.h,
        w: size.w,
        k: channels,
        window: STEM_POOL.window,
        stride: STEM_POOL.stride,
        pad: STEM_POOL.pad,
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
