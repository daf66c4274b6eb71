//! MXNet's RecordIO, the way SageMaker wraps the records of a stream.
//!
//! Input: bytes, in order. Output: one record's payload after the other, and where it lies.
//!
//! ```text
//! record = part+       part = magic u32 | flag and length u32 | bytes | zeros up to a multiple of 4
//! flag (upper 3 bits):  0 the only part   1 the first   2 a middle one   3 the last
//! ```
//!
//! Numbers are little-endian. A writer cuts a record where the magic number stands in its payload, and leaves the number
//! out there; the reader puts it back between the parts.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;
use std::sync::Arc;

use super::error::{At, PackedError};

/// The four bytes before every part, as a little-endian number.
pub const MAGIC: u32 = 0xCED7_230A;
/// Longest payload, in bytes; the limit of an image file as well.
pub const MAX_RECORD_BYTES: u64 = 512 << 20;

const LENGTH_BITS: u32 = 29;
const WHOLE: u32 = 0;
const FIRST: u32 = 1;
const MIDDLE: u32 = 2;
const LAST: u32 = 3;

/// Where a record lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub at: At,
    /// Where the payload begins, in bytes from the beginning; `None` if it was joined from several parts.
    pub payload: Option<u64>,
    /// Length of the payload.
    pub bytes: u64,
}

/// Reads records in order.
pub struct RecordReader<R> {
    input: R,
    file: Arc<Path>,
    /// Bytes read or skipped so far.
    position: u64,
    records: u64,
    limit: u64,
}

/// The header of a part.
struct Part {
    flag: u32,
    bytes: u64,
}

impl Part {
    fn padding(&self) -> u64 {
        self.bytes.next_multiple_of(4) - self.bytes
    }
}

impl<R: Read> RecordReader<R> {
    /// `file` is named in errors.
    pub fn new(input: R, file: impl Into<Arc<Path>>) -> Self {
        Self {
            input,
            file: file.into(),
            position: 0,
            records: 0,
            limit: MAX_RECORD_BYTES,
        }
    }

    /// Refuses payloads of more than `bytes`.
    pub fn with_limit(mut self, bytes: u64) -> Self {
        self.limit = bytes;
        self
    }

    /// Reads the next payload into `payload`, replacing what is there. `None` at the end.
    ///
    /// # Errors
    /// The input cannot be read, is cut off or is not RecordIO; a record is too long.
    pub fn read_record(&mut self, payload: &mut Vec<u8>) -> Result<Option<Place>, PackedError> {
        payload.clear();
        let at = self.here();
        let Some(part) = self.header(&at)? else {
            return Ok(None);
        };
        if part.flag != WHOLE {
            return self.join(at, part, payload).map(Some);
        }
        let start = self.position;
        self.body(&at, &part, payload)?;
        self.records += 1;
        Ok(Some(Place {
            at,
            payload: Some(start),
            bytes: part.bytes,
        }))
    }

    fn here(&self) -> At {
        At {
            file: self.file.clone(),
            record: self.records,
            offset: self.position,
        }
    }

    /// The header of the next part, `None` at the end of the input.
    fn header(&mut self, at: &At) -> Result<Option<Part>, PackedError> {
        let mut header = Vec::with_capacity(8);
        self.take(8, &mut header)?;
        let (magic, rest) = header.split_at(header.len().min(4));
        if magic.is_empty() {
            return Ok(None);
        }
        // Four wrong bytes say more than that four others are missing.
        if !MAGIC.to_le_bytes().starts_with(magic) {
            return Err(PackedError::BadMagic {
                at: At {
                    offset: self.position - header.len() as u64,
                    ..at.clone()
                },
            });
        }
        let Ok(word) = <[u8; 4]>::try_from(rest) else {
            return Err(PackedError::Truncated { at: at.clone() });
        };
        let word = u32::from_le_bytes(word);
        Ok(Some(Part {
            flag: word >> LENGTH_BITS,
            bytes: u64::from(word & ((1 << LENGTH_BITS) - 1)),
        }))
    }

    /// Appends the bytes of a part to `payload` and reads over the padding.
    fn body(&mut self, at: &At, part: &Part, payload: &mut Vec<u8>) -> Result<(), PackedError> {
        if payload.len() as u64 + part.bytes > self.limit {
            return Err(PackedError::TooLong {
                at: at.clone(),
                limit: self.limit,
            });
        }
        let mut padding = Vec::with_capacity(4);
        let whole = self.take(part.bytes, payload)? == part.bytes
            && self.take(part.padding(), &mut padding)? == part.padding();
        match whole {
            true => Ok(()),
            false => Err(PackedError::Truncated { at: at.clone() }),
        }
    }

    /// Reads the parts of a record whose first header is `part`.
    fn join(
        &mut self,
        at: At,
        mut part: Part,
        payload: &mut Vec<u8>,
    ) -> Result<Place, PackedError> {
        let mut allowed = [FIRST, FIRST];
        loop {
            if !allowed.contains(&part.flag) {
                return Err(PackedError::PartOrder {
                    at,
                    flag: part.flag,
                });
            }
            self.body(&at, &part, payload)?;
            if part.flag == LAST {
                break;
            }
            payload.extend(MAGIC.to_le_bytes());
            allowed = [MIDDLE, LAST];
            part = self
                .header(&at)?
                .ok_or_else(|| PackedError::Truncated { at: at.clone() })?;
        }
        self.records += 1;
        Ok(Place {
            at,
            payload: None,
            bytes: payload.len() as u64,
        })
    }

    /// Appends up to `bytes` bytes, fewer only at the end of the input. The buffer grows with what arrives, not with what
    /// a header promised.
    fn take(&mut self, bytes: u64, into: &mut Vec<u8>) -> Result<u64, PackedError> {
        let read = self.input.by_ref().take(bytes).read_to_end(into);
        let read = read.map_err(|source| unreadable(&self.file, source))? as u64;
        self.position += read;
        Ok(read)
    }
}

impl RecordReader<BufReader<File>> {
    /// Opens a file of records.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn open(path: &Path) -> Result<Self, PackedError> {
        let file = File::open(path).map_err(|source| unreadable(path, source))?;
        Ok(Self::new(BufReader::with_capacity(1 << 14, file), path))
    }

    /// As [`RecordReader::read_record`], but a record of one part is read only up to `head` bytes; the rest is skipped,
    /// so that a list of the records costs little of the disk's time. `end` is the length of the file.
    ///
    /// # Errors
    /// Those of [`RecordReader::read_record`].
    pub(super) fn read_head(
        &mut self,
        head: u64,
        end: u64,
        payload: &mut Vec<u8>,
    ) -> Result<Option<Place>, PackedError> {
        payload.clear();
        let at = self.here();
        let Some(part) = self.header(&at)? else {
            return Ok(None);
        };
        if part.flag != WHOLE {
            return self.join(at, part, payload).map(Some);
        }
        let start = self.position;
        let behind = start + part.bytes + part.padding();
        if behind > end {
            return Err(PackedError::Truncated { at });
        }
        if part.bytes > self.limit {
            return Err(PackedError::TooLong {
                at,
                limit: self.limit,
            });
        }
        self.take(part.bytes.min(head), payload)?;
        let rest = behind.saturating_sub(self.position);
        // At most 512 MiB, so it fits.
        self.input
            .seek_relative(rest as i64)
            .map_err(|source| unreadable(&self.file, source))?;
        self.position = behind;
        self.records += 1;
        Ok(Some(Place {
            at,
            payload: Some(start),
            bytes: part.bytes,
        }))
    }
}

pub(super) fn unreadable(path: &Path, source: io::Error) -> PackedError {
    PackedError::Unreadable {
        path: path.to_path_buf(),
        source,
    }
}

#[cfg(test)]
mod tests;
