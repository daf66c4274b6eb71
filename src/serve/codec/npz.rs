//! NPZ, a ZIP archive of NPY arrays.
//!
//! Input: an archive as NumPy's `savez` and `savez_compressed` write it. Output: the [`Request`] in its single array, or in
//! the one that has one of a few usual names. Inflating goes no further than the shape of the array justifies, and that is
//! checked against the limits first.

use std::io::Read;

use flate2::CrcReader;
use flate2::bufread::DeflateDecoder;

use super::error::shorten;
use super::{Limits, Request, RequestError, npy};

/// What an archive begins with: a member, or the end of an empty archive.
pub(super) const MAGICS: [&[u8]; 2] = [b"PK\x03\x04", b"PK\x05\x06"];
const MEMBER: &[u8] = b"PK\x03\x04";
const ENTRY: &[u8] = b"PK\x01\x02";
const END: &[u8] = b"PK\x05\x06";
/// Names of the array to take from several.
const USUAL: [&str; 4] = ["instances", "images", "arr_0", "x"];
/// Deflate cannot make less of zeros.
const MOST_DEFLATED: u64 = 1032;

/// Reads the array of an archive.
pub(super) fn read(archive: &[u8], limits: &Limits) -> Result<Request, RequestError> {
    let (entry, data) = find(archive).map_err(RequestError::Npz)?;
    let limit = limits.max_pixels.saturating_mul(24);
    if entry.size > limit {
        return Err(RequestError::TooManyBytes {
            bytes: entry.size,
            limit,
        });
    }
    let wrong = |what: &str| {
        Err(RequestError::Npz(format!(
            "member `{}` {what}",
            shorten(&entry.name)
        )))
    };
    match entry.method {
        0 if entry.size == data.len() as u64 => {
            let mut source = CrcReader::new(data);
            let request = npy::read(&mut source, entry.size, limits)?;
            match source.crc().sum() == entry.crc {
                true => Ok(request),
                false => wrong("is damaged: its checksum differs"),
            }
        }
        8 if entry.size <= (data.len() as u64).saturating_mul(MOST_DEFLATED) => {
            let mut source = CrcReader::new(DeflateDecoder::new(data));
            let request = npy::read(&mut source, entry.size, limits)?;
            // One byte more: the stream has to end where the array does, and only then says how much it took.
            let rest = source.read(&mut [0]);
            if !matches!(rest, Ok(0)) || source.get_ref().total_in() != data.len() as u64 {
                return wrong("is damaged: it does not have the size that the archive says");
            }
            match source.crc().sum() == entry.crc {
                true => Ok(request),
                false => wrong("is damaged: its checksum differs"),
            }
        }
        0 | 8 => wrong("is damaged: it cannot have the size that the archive says"),
        _ => wrong("is packed in another way than stored or deflated"),
    }
}

/// A member, as the directory of the archive describes it.
#[derive(Debug)]
struct Entry {
    name: String,
    encrypted: bool,
    method: u16,
    crc: u32,
    packed_size: u64,
    size: u64,
    offset: usize,
}

/// The array to read, and its packed bytes.
fn find(archive: &[u8]) -> Result<(Entry, &[u8]), String> {
    let entries = directory(archive)?;
    let mut arrays: Vec<Entry> = entries
        .into_iter()
        .filter(|entry| entry.name.ends_with(".npy"))
        .collect();
    let usual = USUAL.iter().find_map(|name| {
        let is_it = |entry: &Entry| entry.name.strip_suffix(".npy") == Some(name);
        arrays.iter().position(is_it)
    });
    let chosen = match (usual, arrays.len()) {
        (Some(index), _) => arrays.swap_remove(index),
        (None, 1) => arrays.swap_remove(0),
        (None, 0) => return Err("the archive holds no `.npy` array".into()),
        (None, several) => {
            let names = arrays.iter().take(5).map(|entry| shorten(&entry.name));
            return Err(format!(
                "one of {several} arrays has to be named {}; found {}",
                USUAL.join(", "),
                names.collect::<Vec<_>>().join(", ")
            ));
        }
    };
    let data = member(archive, &chosen).ok_or_else(|| {
        format!(
            "member `{}` is not where the archive says",
            shorten(&chosen.name)
        )
    })?;
    match chosen.encrypted {
        true => Err(format!("member `{}` is encrypted", shorten(&chosen.name))),
        false => Ok((chosen, data)),
    }
}

/// The packed bytes of a member, behind its own header.
fn member<'a>(archive: &'a [u8], entry: &Entry) -> Option<&'a [u8]> {
    let header = archive.get(entry.offset..)?.get(..30)?;
    let name_length = usize::from(u16_at(header, 26)?);
    let extra_length = usize::from(u16_at(header, 28)?);
    if !header.starts_with(MEMBER) {
        return None;
    }
    let behind = archive.get(entry.offset + 30..)?;
    if behind.get(..name_length)? != entry.name.as_bytes() {
        return None;
    }
    let data = behind.get(name_length + extra_length..)?;
    data.get(..usize::try_from(entry.packed_size).ok()?)
}

/// The members of an archive.
fn directory(archive: &[u8]) -> Result<Vec<Entry>, String> {
    let truncated = || "the archive has no directory; it is truncated or no ZIP file".to_owned();
    let (count, mut rest) = end(archive).ok_or_else(truncated)?;
    let mut entries = Vec::new();
    for _ in 0..count {
        let (entry, behind) = entry(rest).ok_or("the directory of the archive is damaged")?;
        // Set where the true value did not fit.
        const ELSEWHERE: u64 = u32::MAX as u64;
        if [entry.size, entry.packed_size, entry.offset as u64].contains(&ELSEWHERE) {
            return Err("members of 4 GiB or more are not read".into());
        }
        entries.push(entry);
        rest = behind;
    }
    Ok(entries)
}

/// How many members an archive says to have, and its directory.
fn end(archive: &[u8]) -> Option<(u16, &[u8])> {
    // Only a comment of at most 65535 bytes may follow; a record fits if its comment ends with the archive.
    const LENGTH: usize = 22;
    let last = archive.len().checked_sub(LENGTH)?;
    let start = (last.saturating_sub(usize::from(u16::MAX))..=last)
        .rev()
        .find(|&start| {
            let comment = u16_at(archive, start + 20).map(usize::from);
            archive[start..].starts_with(END) && comment == Some(last - start)
        })?;
    let (size, offset) = (u32_at(archive, start + 12)?, u32_at(archive, start + 16)?);
    let directory = archive[..start].get(offset as usize..)?;
    Some((
        u16_at(archive, start + 10)?,
        directory.get(..size as usize)?,
    ))
}

/// The next entry of a directory, and what follows it.
fn entry(directory: &[u8]) -> Option<(Entry, &[u8])> {
    if !directory.starts_with(ENTRY) {
        return None;
    }
    let lengths = [28, 30, 32].map(|at| u16_at(directory, at).map(usize::from));
    let [Some(name), Some(extra), Some(comment)] = lengths else {
        return None;
    };
    let entry = Entry {
        encrypted: u16_at(directory, 8)? & 1 != 0,
        method: u16_at(directory, 10)?,
        crc: u32_at(directory, 16)?,
        packed_size: u32_at(directory, 20)?.into(),
        size: u32_at(directory, 24)?.into(),
        offset: u32_at(directory, 42)? as usize,
        name: String::from_utf8(directory.get(46..)?.get(..name)?.to_vec()).ok()?,
    };
    Some((entry, directory.get(46 + name + extra + comment..)?))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    Some(u16::from_le_bytes(*bytes))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_le_bytes(*bytes))
}

#[cfg(test)]
pub(super) mod tests;
