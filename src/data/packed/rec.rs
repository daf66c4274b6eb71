//! RecordIO files in a folder, as `im2rec` makes them (content type `application/x-recordio`).
//!
//! Input: a folder with `.rec` files. Output: [`LabelledImages`] that point into those files; nothing is copied.
//!
//! One kind of record cannot be pointed at: where four bytes of an image happen to be RecordIO's magic number, the writer
//! cut the record in two and left them out (about one image of 150,000 at 100 KB each). Only those images are joined and
//! written to a file of their own, the spool.

use std::path::{Path, PathBuf};

use super::error::PackedError;
use super::image_record::{HEAD_BYTES, classify};
use super::labelled::{Labelled, LabelledImages};
use super::listing;
use super::pairing::Pairing;
use super::recordio::{Place, RecordReader, unreadable};
use super::spool::Spool;
use crate::data::sample::Part;

/// The `.rec` files that lie in `folder` itself, in natural order.
///
/// # Errors
/// The folder cannot be read.
pub fn find_rec(folder: &Path) -> Result<Vec<PathBuf>, PackedError> {
    listing::with_extension(folder, "rec")
}

/// Lists the images in the `.rec` files of `folder`, named `<folder>/<file>.rec/<record, 8 digits>`. `spool` is a file to
/// create if it is needed; it must last as long as the images are used. `None`: `stopped` said so.
///
/// # Errors
/// No `.rec` files or no records in them, a file that cannot be read or is not RecordIO, a record that is not an image
/// with one label.
pub fn read_rec(
    folder: &Path,
    spool: &Path,
    stopped: &dyn Fn() -> bool,
) -> Result<Option<LabelledImages>, PackedError> {
    let files = find_rec(folder)?;
    if files.is_empty() {
        return Err(PackedError::NoRecFiles {
            folder: folder.to_path_buf(),
        });
    }
    let mut spool = Spool::new(spool);
    let mut pairing = Pairing::new();
    for file in &files {
        if !list_records(file, &mut spool, &mut pairing, stopped)? {
            return Ok(None);
        }
    }
    spool.finish()?;
    let labelled = pairing.finish()?;
    if labelled.is_empty() {
        return Err(PackedError::Empty {
            path: folder.to_path_buf(),
        });
    }
    let images = labelled.into_iter().map(|((path, part), label)| Labelled {
        path,
        part: Some(part),
        label,
    });
    Ok(Some(LabelledImages {
        root: folder.to_path_buf(),
        images: images.collect(),
        names: None,
    }))
}

/// Adds the records of one file; false if it was told to stop.
fn list_records(
    file: &Path,
    spool: &mut Spool,
    pairing: &mut Pairing<(PathBuf, Part)>,
    stopped: &dyn Fn() -> bool,
) -> Result<bool, PackedError> {
    let end = std::fs::metadata(file)
        .map_err(|source| unreadable(file, source))?
        .len();
    let mut reader = RecordReader::open(file)?;
    let mut head = Vec::new();
    while let Some(Place { at, payload, bytes }) = reader.read_head(HEAD_BYTES, end, &mut head)? {
        if stopped() {
            return Ok(false);
        }
        let name = file.join(format!("{:08}", at.record));
        let source = at.file.clone();
        pairing.accept(at, classify(&head, bytes), |image_at| {
            let part = match payload {
                Some(offset) => Part {
                    file: source,
                    offset: offset + image_at,
                    bytes: bytes - image_at,
                },
                // A joined record is here as a whole.
                None => spool.append(&head[image_at as usize..])?,
            };
            Ok((name, part))
        })?;
    }
    Ok(true)
}

#[cfg(test)]
mod tests;
