//! A stream of records, kept in a file.
//!
//! Input: RecordIO bytes in the order they come, and a file to create. Output: [`LabelledImages`] that point into the file.
//!
//! An image is named after its content, so images have the same names, and thus the same order, in whatever order they
//! came.

use std::io::Read;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::error::PackedError;
use super::image_record::classify;
use super::label::Label;
use super::labelled::{Labelled, LabelledImages};
use super::pairing::Pairing;
use super::recordio::RecordReader;
use super::spool::Spool;
use crate::data::sample::Part;
use crate::files::hex;

/// The channel's `RecordWrapperType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordWrapper {
    /// The platform makes each object, or each attribute of a manifest's line, a record.
    RecordIo,
    /// The objects' bytes as they are; of use only if they are `.rec` files.
    None,
}

/// How far the reading has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Images kept so far.
    pub images: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// An image in the spool and the hash of its content.
struct Kept {
    sha256: [u8; 32],
    part: Part,
}

/// Reads `input` to its end; `source` names it in errors. `on_progress` is called after each image.
///
/// # Errors
/// The input cannot be read, is empty, cut off or not RecordIO; a record that is not welcome; the spool cannot be written.
pub(super) fn read_stream(
    input: impl Read,
    source: &Path,
    spool: &Path,
    wrapper: RecordWrapper,
    on_progress: &mut dyn FnMut(Progress),
) -> Result<LabelledImages, PackedError> {
    let mut reader = RecordReader::new(input, source);
    let mut store = Spool::new(spool);
    let mut pairing = Pairing::new();
    let mut payload = Vec::new();
    let mut progress = Progress::default();
    while let Some(place) = reader
        .read_record(&mut payload)
        .map_err(|error| name_wrapper(error, wrapper))?
    {
        let content = classify(&payload, place.bytes);
        pairing.accept(place.at, content, |image_at| {
            let image = &payload[image_at as usize..];
            let part = store.append(image)?;
            progress.images += 1;
            progress.bytes = store.bytes();
            on_progress(progress);
            Ok(Kept {
                sha256: Sha256::digest(image).into(),
                part,
            })
        })?;
    }
    store.finish()?;
    let labelled = pairing.finish()?;
    if labelled.is_empty() {
        return Err(PackedError::Empty {
            path: source.to_path_buf(),
        });
    }
    let root = spool.parent().unwrap_or(Path::new("")).to_path_buf();
    Ok(LabelledImages {
        images: name_by_content(&root, labelled),
        root,
        names: None,
    })
}

/// A stream without wrapping that does not begin as RecordIO has another remedy than a broken one.
fn name_wrapper(error: PackedError, wrapper: RecordWrapper) -> PackedError {
    match error {
        PackedError::BadMagic { at } if wrapper == RecordWrapper::None && at.offset == 0 => {
            PackedError::Unwrapped {
                path: at.file.to_path_buf(),
            }
        }
        other => other,
    }
}

fn name_by_content(root: &Path, mut labelled: Vec<(Kept, Label)>) -> Vec<Labelled> {
    // Equal images differ at most in their labels; with those in order too, nothing depends on the order of the stream.
    labelled.sort_by(|(a, label_a), (b, label_b)| {
        a.sha256.cmp(&b.sha256).then_with(|| label_a.cmp(label_b))
    });
    let mut images = Vec::with_capacity(labelled.len());
    let mut last = (String::new(), 1);
    for (Kept { sha256, part }, label) in labelled {
        let name = hex(&sha256[..8]);
        let repeats = if name == last.0 { last.1 + 1 } else { 1 };
        let path: PathBuf = match repeats {
            1 => root.join(&name),
            n => root.join(format!("{name}-{n}")),
        };
        images.push(Labelled {
            path,
            part: Some(part),
            label,
        });
        last = (name, repeats);
    }
    images
}

#[cfg(test)]
mod tests;
