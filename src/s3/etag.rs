//! The ETag that S3 gives to what is uploaded in one piece or in equal parts.
//!
//! Input: a file. Output: whether an object's ETag is that of this file. Objects encrypted with KMS keys have other ETags,
//! which never match: such a file is uploaded again.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use md5::{Digest, Md5};

use crate::files::hex;

/// Whether `etag` is the one of the file at `path`, if uploaded in parts of `part_bytes` or, for an ETag without a count of
/// parts, in one piece. Reads the whole file, unless the ETag shows that it is of no use.
///
/// # Errors
/// The file cannot be read.
pub(super) fn matches(path: &Path, etag: &str, part_bytes: u64) -> io::Result<bool> {
    let etag = etag.trim_matches('"');
    let file = File::open(path)?;
    let bytes = file.metadata()?.len();
    match etag.split_once('-') {
        None if is_md5(etag) => Ok(hex(&digest(&mut &file)?) == etag),
        Some((md5, count)) if is_md5(md5) => {
            let parts = bytes.div_ceil(part_bytes);
            if count.parse() != Ok(parts) {
                return Ok(false);
            }
            let mut all = Md5::new();
            for _ in 0..parts {
                all.update(digest(&mut (&file).take(part_bytes))?);
            }
            Ok(hex(&all.finalize()) == md5)
        }
        _ => Ok(false),
    }
}

/// The ETag of an object whose parts have these ETags, without quotes; `None` where they are no MD5 sums.
pub(super) fn of_parts(etags: &[&str]) -> Option<String> {
    let mut all = Md5::new();
    for etag in etags {
        let etag = etag.trim_matches('"');
        if !is_md5(etag) {
            return None;
        }
        for at in (0..etag.len()).step_by(2) {
            all.update([u8::from_str_radix(&etag[at..at + 2], 16).ok()?]);
        }
    }
    Some(format!("{}-{}", hex(&all.finalize()), etags.len()))
}

fn is_md5(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|letter| letter.is_ascii_hexdigit())
}

fn digest(reader: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut hasher = Md5::new();
    let mut buffer = vec![0; 1 << 18];
    loop {
        match reader.read(&mut buffer)? {
            0 => return Ok(hasher.finalize().to_vec()),
            count => hasher.update(&buffer[..count]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_etag_is_recognised_with_and_without_parts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::fs::write(&path, b"hello").unwrap();
        let is = |etag: &str, part| matches(&path, etag, part).unwrap();
        assert!(is("\"5d41402abc4b2a76b9719d911017c592\"", 99));
        assert!(!is("\"5d41402abc4b2a76b9719d911017c593\"", 99));
        // md5(md5("hel") + md5("lo")), as S3 counts.
        let parts = {
            let mut all = Md5::new();
            all.update(Md5::digest(b"hel"));
            all.update(Md5::digest(b"lo"));
            hex(&all.finalize())
        };
        assert!(is(&format!("\"{parts}-2\""), 3));
        let sums = ["hel", "lo"].map(|part| format!("\"{}\"", hex(&Md5::digest(part))));
        let sums = [&*sums[0], &*sums[1]];
        assert_eq!(of_parts(&sums), Some(format!("{parts}-2")));
        assert_eq!(of_parts(&["\"kms\""]), None);
        assert!(!is(&format!("\"{parts}-2\""), 2));
        assert!(!is("\"anything\"", 3));
        assert!(!is("", 3));
    }
}
