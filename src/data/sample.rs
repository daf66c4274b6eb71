//! One labelled image: a file of its own, or a part of a file that holds many.
//!
//! Input: where the encoded image lies. Output: its bytes, or its pixels.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use image::RgbImage;

use super::decode::{DecodeError, DecodeLimits, decode_bytes, read_file};

/// A run of bytes within a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    pub file: Arc<Path>,
    /// From the beginning of the file, in bytes.
    pub offset: u64,
    pub bytes: u64,
}

/// One image and the index of its class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// The file; for a part of one, a name below the data set's root that tells this image from all others.
    pub path: PathBuf,
    pub class: usize,
    /// Where the bytes lie if `path` is not a file.
    pub part: Option<Part>,
}

impl Sample {
    /// An image in a file of its own.
    pub fn of_file(path: PathBuf, class: usize) -> Self {
        Sample {
            path,
            class,
            part: None,
        }
    }

    /// The file at `path`, where there is one.
    pub fn file(&self) -> Option<&Path> {
        self.part.is_none().then_some(self.path.as_path())
    }

    /// The file that holds the bytes.
    pub fn container(&self) -> &Path {
        self.part.as_ref().map_or(&self.path, |part| &part.file)
    }

    /// Reads the encoded image.
    ///
    /// # Errors
    /// The file cannot be read, or is larger than `limits` say.
    pub fn read(&self, limits: &DecodeLimits) -> Result<Vec<u8>, DecodeError> {
        match &self.part {
            None => read_file(&self.path, limits),
            Some(part) => part.read(limits),
        }
    }

    /// Reads and decodes the image.
    ///
    /// # Errors
    /// See [`DecodeError`].
    pub fn decode(&self, limits: &DecodeLimits) -> Result<RgbImage, DecodeError> {
        decode_bytes(&self.read(limits)?, limits)
    }
}

impl Part {
    fn read(&self, limits: &DecodeLimits) -> Result<Vec<u8>, DecodeError> {
        if self.bytes > limits.max_file_bytes {
            return Err(DecodeError::FileTooLarge {
                bytes: self.bytes,
                limit: limits.max_file_bytes,
            });
        }
        let mut file = File::open(&self.file)?;
        file.seek(SeekFrom::Start(self.offset))?;
        let mut bytes = Vec::with_capacity(self.bytes as usize);
        file.take(self.bytes).read_to_end(&mut bytes)?;
        match bytes.len() as u64 == self.bytes {
            true => Ok(bytes),
            false => Err(DecodeError::Truncated),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_read_whole_or_not_at_all() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), b"before|image|behind").unwrap();
        let part = |offset, bytes| Part {
            file: file.path().into(),
            offset,
            bytes,
        };
        let limits = DecodeLimits::default();
        assert_eq!(part(7, 5).read(&limits).unwrap(), b"image");
        assert!(matches!(
            part(15, 5).read(&limits),
            Err(DecodeError::Truncated)
        ));
        let tight = DecodeLimits {
            max_file_bytes: 4,
            ..limits
        };
        assert!(matches!(
            part(7, 5).read(&tight),
            Err(DecodeError::FileTooLarge { bytes: 5, limit: 4 })
        ));
    }
}
