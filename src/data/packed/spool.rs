//! A file that images are written to one after the other.
//!
//! Input: encoded images. Output: the [`Part`] of the file that each one takes.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::Arc;

use super::error::PackedError;
use crate::data::sample::Part;

/// The file; it is created with the first image.
pub(super) struct Spool {
    path: Arc<Path>,
    writer: Option<BufWriter<File>>,
    bytes: u64,
}

impl Spool {
    pub fn new(path: &Path) -> Self {
        Self {
            path: path.into(),
            writer: None,
            bytes: 0,
        }
    }

    /// Writes one image behind the others.
    ///
    /// # Errors
    /// The file cannot be created or written.
    pub fn append(&mut self, image: &[u8]) -> Result<Part, PackedError> {
        let writer = match &mut self.writer {
            Some(writer) => writer,
            none => {
                let file = File::create(&self.path).map_err(|e| failed(&self.path, e))?;
                none.insert(BufWriter::with_capacity(1 << 20, file))
            }
        };
        writer.write_all(image).map_err(|e| failed(&self.path, e))?;
        let part = Part {
            file: self.path.clone(),
            offset: self.bytes,
            bytes: image.len() as u64,
        };
        self.bytes += part.bytes;
        Ok(part)
    }

    /// Bytes written so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Hands everything to the file; the parts can be read from now on.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn finish(self) -> Result<(), PackedError> {
        let Some(mut writer) = self.writer else {
            return Ok(());
        };
        writer.flush().map_err(|e| failed(&self.path, e))
    }
}

fn failed(path: &Path, source: io::Error) -> PackedError {
    PackedError::Spool {
        path: path.to_path_buf(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let error = Spool::new(Path::new("/nowhere/spool"))
            .append(b"image")
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot write the image store /nowhere/spool: No such file or directory (os error 2); it takes as much disk \
             as the images: raise the job's VolumeSizeInGB"
        );
    }

    #[test]
    fn no_file_without_images() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::new(&folder.path().join("spool"));
        spool.finish().unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
