//! Images that do not come as one file in a class folder.
//!
//! ```text
//! pipe /opt/ml/input/data/train_0 -> stream -> spool (a file) --+
//! folder of .rec files -> rec ----------------------------------+-> LabelledImages -> ImageFolder
//! image list (.lst) and folder of images -> lst ----------------+
//!
//! stream, rec: recordio (records) -> image_record (what one holds) -> pairing (an image and its label)
//! ```
//!
//! Input: a channel of a SageMaker job in one of these forms. Output: [`LabelledImages`], which a list of classes makes
//! an [`ImageFolder`](super::ImageFolder); from there on nothing tells them from images in class folders.
//!
//! Labels that are whole numbers are class indices, all others are class names.

mod error;
mod image_record;
mod label;
mod labelled;
mod listing;
mod lst;
mod pairing;
mod pipe;
mod rec;
mod recordio;
mod spool;
mod stream;

#[cfg(test)]
mod test_records;

pub use error::{At, PackedError};
pub use label::Label;
pub use labelled::{Labelled, LabelledImages, MAX_CLASSES};
pub use lst::{find_lst, read_lst};
pub use pipe::{PIPE_WAIT, PipeSource, read_pipe};
pub use rec::{find_rec, read_rec};
pub use recordio::{MAX_RECORD_BYTES, Place, RecordReader};
pub use stream::{Progress, RecordWrapper};
