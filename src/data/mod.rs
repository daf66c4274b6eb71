//! From a folder of photos to batches of pixels.
//!
//! ```text
//! directory -> Splits{train, valid, test: ImageFolder} -> Loader -> Batch{images, targets}
//!                    (split, folder)         ^             |
//!                                            |  decode -> preprocess or augment, cache
//! pipe, .rec files, image list -> LabelledImages
//!                    (packed)
//! ```
//!
//! Input: a directory laid out as one folder per class, alone or below `train`, `valid` and `test`; or the channels of a
//! SageMaker job in one of the forms of [`packed`].
//! Output: [`Batch`]es of `u8` RGB pixels, `[batch, height, width, 3]`; they stay bytes until they are on the device.
//! [`inspect`] walks the same files and reports what is in them.

pub mod augment;
pub mod cache;
pub mod class_list;
pub mod decode;
pub mod error;
mod fast_jpeg;
pub mod folder;
pub mod inspect;
pub mod loader;
pub mod packed;
pub mod preprocess;
pub mod split;

mod jitter;
mod natural;
pub mod parallel;
pub mod path_text;
mod pixels;
mod prefetch;
pub mod quick_look;
mod sample;
pub mod seed;
pub mod source;
mod trivial;

pub use augment::Augmentation;
pub use cache::ImageCache;
pub use class_list::class_list;
pub use decode::{DecodeError, DecodeLimits, decode_bytes, decode_file};
pub use error::DataError;
pub use folder::{EXTENSIONS, ImageFolder, images_in};
pub use loader::{
    Batch, LoadStats, Loader, LoaderConfig, Mode, Skipped, epoch_order, unreadable_classes,
};
pub use packed::{Labelled, LabelledImages, PackedError, RecordWrapper};
pub use pixels::{jpeg, resize_to, square};
pub use prefetch::Epoch;
pub use preprocess::Preprocess;
pub use quick_look::{QuickLook, quick_look};
pub use sample::{Part, Sample};
pub use seed::{Purpose, rng};
pub use source::{DataSource, Images, Opening};
pub use split::{SplitFolders, SplitOptions, SplitOrigin, Splits, fingerprint, open_test, redraw};
