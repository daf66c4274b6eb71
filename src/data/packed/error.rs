//! What can be wrong with images that come in RecordIO files, through a pipe or by an image list.
//!
//! Input: the file or pipe, with the record and byte, or the line, at fault. Output: a sentence that says what to change.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A place in a RecordIO file or stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct At {
    pub file: Arc<Path>,
    /// Counted from 0, as in the names of samples.
    pub record: u64,
    /// Where the record's header begins, in bytes from the beginning of the file or stream.
    pub offset: u64,
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let At {
            file,
            record,
            offset,
        } = self;
        write!(
            f,
            "record {record} (at byte {offset}) of {}",
            file.display()
        )
    }
}

/// An error of packed images. Labels and class names are shown quoted.
#[derive(Debug, thiserror::Error)]
pub enum PackedError {
    #[error("cannot read {path}: {source}; check that the file exists and its permissions")]
    Unreadable { path: PathBuf, source: io::Error },
    #[error(
        "cannot write the image store {path}: {source}; it takes as much disk as the images: raise the job's VolumeSizeInGB"
    )]
    Spool { path: PathBuf, source: io::Error },
    #[error("cannot start the thread that reads {path}: {source}; lower the number of threads")]
    Spawn { path: PathBuf, source: io::Error },

    // Pipes.
    #[error(
        "the pipe {path} did not appear within {seconds} s; check that the channel exists and that its input mode is Pipe"
    )]
    NoPipe { path: PathBuf, seconds: u64 },
    #[error(
        "nothing opened the pipe {path} for writing within {seconds} s; check the channel's S3 address and the role's permissions"
    )]
    NoWriter { path: PathBuf, seconds: u64 },
    #[error("{path} has no records; check the channel's S3 address or its manifest")]
    Empty { path: PathBuf },
    #[error(
        "{path} is not RecordIO; set the channel's RecordWrapperType to RecordIO (augmented manifest), or give .rec files of im2rec"
    )]
    Unwrapped { path: PathBuf },

    // The wrapping of records.
    #[error(
        "{at} does not begin with the RecordIO magic number; is the data really RecordIO, and uncompressed?"
    )]
    BadMagic { at: At },
    #[error("{at} is cut off; write or upload the data again, or look why its writer ended early")]
    Truncated { at: At },
    #[error(
        "{at} has parts in the wrong order (flag {flag}); write the data again with MXNet's tools"
    )]
    PartOrder { at: At, flag: u32 },
    #[error(
        "{at} is longer than the limit of {limit} bytes; leave the image out or make it smaller"
    )]
    TooLong { at: At, limit: u64 },

    // What is in a record.
    #[error(
        "{at} is neither an image (JPEG, PNG, WebP, GIF, BMP, TIFF), nor an im2rec record with one, nor a label's text; leave it out or pack the data again"
    )]
    UnknownPayload { at: At },
    #[error(
        "{at} is a RecordIO file within a record; set the channel's RecordWrapperType to None, for .rec files need no wrapping"
    )]
    Nested { at: At },
    #[error(
        "{at} has {labels} labels, and an image must have one; pack the data with one label per image"
    )]
    MultiLabel { at: At, labels: u32 },
    #[error(
        "{at} has the label {label}, and a label must be a whole number from 0 on; number the classes 0, 1, 2 and pack the data again"
    )]
    BadNumber { at: At, label: f32 },
    #[error("{at} is an empty label; give every image of the manifest a label")]
    EmptyLabel { at: At },
    #[error(
        "{at} has the label {label:?}, a JSON list or object; name an attribute in AttributeNames that holds one class name or number"
    )]
    CompoundLabel { at: At, label: String },
    #[error(
        "{at} is text ({text:?}) where an image must be; list exactly two attributes in AttributeNames, the image's first: [\"source-ref\", \"class\"]"
    )]
    LabelFirst { at: At, text: String },
    #[error(
        "{at} is an image without a label: file names, and with them the classes, do not come along in a stream of records; use an augmented manifest with the image's and the label's attribute in AttributeNames, or .rec files made by im2rec, or give class folders in File or FastFile mode"
    )]
    NoLabels { at: At },
    #[error(
        "{at} is an image whose label does not follow it, though those of earlier images do; check that every line of the manifest has the label's attribute"
    )]
    LabelMissing { at: At },
    #[error(
        "{at} is an image, and the data ends before its label: an odd number of records; check the manifest's last line"
    )]
    OddRecords { at: At },

    // Folders and lists.
    #[error("no .rec files in {folder}; put them into the folder itself, not below it")]
    NoRecFiles { folder: PathBuf },
    #[error("{first} and {second} are both image lists; keep one .lst file per channel")]
    TwoLists { first: PathBuf, second: PathBuf },
    #[error(
        "line {line} of {list} has {columns} of three columns; write number, label and path with tabs between them"
    )]
    FewColumns {
        list: PathBuf,
        line: u64,
        columns: usize,
    },
    #[error(
        "line {line} of {list} has {columns} columns, thus several labels, and an image must have one; write number, label and path"
    )]
    ManyColumns {
        list: PathBuf,
        line: u64,
        columns: usize,
    },
    #[error("line {line} of {list} is not UTF-8 text; save the list as UTF-8")]
    NotText { list: PathBuf, line: u64 },
    #[error(
        "line {line} of {list} has the label {label:?}, and a label must be a whole number from 0 on"
    )]
    BadListLabel {
        list: PathBuf,
        line: u64,
        label: String,
    },
    #[error(
        "line {line} of {list} has the path {image:?}, which leaves the image folder; write paths relative to it"
    )]
    OutsidePath {
        list: PathBuf,
        line: u64,
        image: String,
    },
    #[error("lines {first} and {second} of {list} give {image:?} different labels; keep one")]
    TwoLabels {
        list: PathBuf,
        first: u64,
        second: u64,
        image: String,
    },
    #[error("{list} lists no images; write a line with number, label and path for each")]
    EmptyList { list: PathBuf },
    #[error(
        "none of the {images} images that {list} lists is in {folder}, not even the first, {first:?}; write paths relative to that folder"
    )]
    NoListedImage {
        list: PathBuf,
        folder: PathBuf,
        images: usize,
        first: String,
    },

    // Labels against a list of classes.
    #[error("class {class:?} is given twice; name each class once, in the order of the labels")]
    DoubleClass { class: String },
    #[error(
        "label {label} of {image} would need more than the limit of {limit} classes; number the classes 0, 1, 2"
    )]
    TooManyClasses {
        image: PathBuf,
        label: usize,
        limit: usize,
    },
    #[error(
        "label {label} of {image} is not an index of one of the {classes} classes (0 to {}); correct the label or the list of classes", .classes.saturating_sub(1)
    )]
    IndexRange {
        image: PathBuf,
        label: usize,
        classes: usize,
    },
    #[error(
        "label {label:?} of {image} is not one of the {classes} classes; correct the label or the list of classes"
    )]
    UnknownLabel {
        image: PathBuf,
        label: String,
        classes: usize,
    },
    #[error(
        "label {label} of {image} is the index of class {class:?} but also the name of another class; use names that are not numbers, or number the classes from 0"
    )]
    TwoMeanings {
        image: PathBuf,
        label: usize,
        class: String,
    },
    #[error(
        "label {label} means {here:?} in {root} but {there:?} in the list of classes, where {here:?} has another index; make all lists of images with the same numbers"
    )]
    NamesDisagree {
        root: PathBuf,
        label: usize,
        here: String,
        there: String,
    },
}
