//! From samples to tensors: what the training loop and evaluation draw their batches from.
//!
//! Input: a [`Loader`](crate::data::Loader) of images, or a [`FeatureTable`] computed once. Output: [`Minibatch`]es
//! through the one trait [`Source`], so that a loop reads the same whether it sees images or features.

mod feature_file;
mod features;
mod images;
mod mixup;

use burn::tensor::Tensor;

pub use feature_file::{
    backbone_fingerprint, contents_stamp, features_key, read_features, write_features,
};
pub use features::{FeatureSource, FeatureTable};
pub use images::{ImageSource, normalise, normalised};
pub use mixup::Mix;

use crate::data::{DataError, Skipped};

/// What goes into the network: whole images, or features of the frozen backbone.
#[derive(Clone, Debug)]
pub enum Inputs {
    /// `[N, 3, H, W]`, normalised.
    Images(Tensor<4>),
    /// `[N, C]`, what the backbone makes of the images.
    Features(Tensor<2>),
}

/// A batch on its device.
#[derive(Clone, Debug)]
pub struct Minibatch {
    pub inputs: Inputs,
    /// Position in its epoch, from 0.
    pub number: usize,
    /// Class of each sample.
    pub targets: Vec<usize>,
    /// Position of each sample in its folder's list.
    pub indices: Vec<usize>,
    /// What bringing it to its device took.
    pub upload_seconds: f64,
}

/// A stream of minibatches, the same for the same epoch number however often it is asked for.
pub type Minibatches<'a> = Box<dyn Iterator<Item = Result<Minibatch, DataError>> + 'a>;

/// Where batches come from.
pub trait Source {
    /// Batches of an epoch, counting those that broken files may leave empty.
    fn batches(&self) -> usize;

    /// Samples of an epoch, counting broken ones.
    fn samples(&self) -> usize;

    /// The batches of an epoch from `first_batch` on; 0 is the beginning, a resumed run starts later.
    fn epoch(&self, epoch: usize, first_batch: usize) -> Minibatches<'_>;

    /// Files that could not be read so far.
    fn skipped(&self) -> Vec<Skipped>;
}
