//! Why an ONNX file can't be used, in words that say what to do.

use std::path::{Path, PathBuf};

/// An ONNX file that can't be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {kind}", path.display())]
pub struct OnnxError {
    pub path: PathBuf,
    pub kind: OnnxErrorKind,
}

/// What is wrong with the file.
#[derive(Debug, thiserror::Error)]
pub enum OnnxErrorKind {
    #[error("can't be read: {0}")]
    Io(std::io::Error),
    #[error("the file ends in the middle of {0}; it was cut off, so fetch it again")]
    Truncated(&'static str),
    #[error("not an ONNX file ({0})")]
    Parse(String),
    #[error("refused: {what} is {found}, more than the {limit} that any supported network needs")]
    TooLarge {
        what: &'static str,
        found: u64,
        limit: u64,
    },
    #[error("opset {0} is too old; convert the file to opset 7 or newer")]
    OldOpset(i64),
    #[error("not a ResNet18, 34 or 50: {0}")]
    NotAResNet(String),
    #[error(
        "a v2 (pre-activation) ResNet, with batch norm before convolution at `{node}`; use the v1 file of the network, such as resnet18-v1"
    )]
    PreActivation { node: String },
    #[error(
        "the graph prepares its input with {op} (`{node}`) before the first convolution; export the network without preprocessing"
    )]
    Preprocessing { node: String, op: String },
    #[error("exported in training mode (`{node}`); export it again after `model.eval()`")]
    TrainingMode { node: String },
    #[error("{op} (`{node}`) is not supported here: {why}")]
    Unsupported {
        node: String,
        op: String,
        why: String,
    },
    #[error("`{node}` needs the weights `{name}`, which the file doesn't hold")]
    MissingInitializer { node: String, name: String },
    #[error(
        "the weights `{name}` have the shape {found:?}, but {expected:?} is needed for {place}"
    )]
    BadShape {
        name: String,
        place: String,
        expected: Vec<usize>,
        found: Vec<i64>,
    },
    #[error("the weights `{name}` can't be decoded: {why}")]
    BadWeights { name: String, why: String },
    #[error("the weights `{name}` lie in another file, which can't be used: {why}")]
    ExternalData { name: String, why: String },
}

impl OnnxErrorKind {
    /// Names the file.
    pub(super) fn at(self, path: &Path) -> OnnxError {
        OnnxError {
            path: path.to_owned(),
            kind: self,
        }
    }
}

/// A text from the file, fit for an error message: short and without control characters.
pub(super) fn quote(text: &str) -> String {
    const MAX_CHARS: usize = 80;
    let clipped: String = text.chars().take(MAX_CHARS).collect();
    let ellipsis = if clipped.len() < text.len() {
        "..."
    } else {
        ""
    };
    format!("{}{ellipsis}", clipped.escape_debug())
}
