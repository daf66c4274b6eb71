//! `model.tar.gz`, the form in which SageMaker keeps a model directory.
//!
//! Input: the archive. Output: its files in a temporary folder.

use std::fs::{self, File};
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use tar::Archive;
use tempfile::TempDir;

use super::examples::{EXAMPLES, MOST_EXAMPLE_BYTES, MOST_EXAMPLES, is_example_name};
use super::{ArtifactError, MANIFEST, ONNX, WEIGHTS};

/// Whether `path` is a file named like an archive.
pub fn is_archive(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let name = name.to_ascii_lowercase();
    (name.ends_with(".tar.gz") || name.ends_with(".tgz")) && path.is_file()
}

/// Takes the files of a model directory out of the archive. Only names that such a directory has are written, so nothing
/// else in it, and no path in it, matters.
///
/// # Errors
/// An archive that is damaged or holds no model.
pub fn unpack(path: &Path) -> Result<TempDir, ArtifactError> {
    let failed = |message: String| ArtifactError::Archive {
        path: path.to_owned(),
        message,
    };
    let folder = tempfile::tempdir().map_err(|error| failed(error.to_string()))?;
    let unpacked = unpack_into(path, folder.path()).map_err(|error| failed(error.to_string()))?;
    match unpacked {
        true => Ok(folder),
        false => Err(failed(format!(
            "it holds no {MANIFEST}, so it is not a model of this program"
        ))),
    }
}

/// Whether a manifest was found.
fn unpack_into(path: &Path, folder: &Path) -> io::Result<bool> {
    let mut archive = Archive::new(GzDecoder::new(BufReader::new(File::open(path)?)));
    let (mut found, mut examples) = (false, 0);
    for entry in archive.entries()? {
        let mut entry = entry?;
        let name: PathBuf = entry.path()?.components().skip_while(is_dot).collect();
        let is_small_file =
            entry.header().entry_type().is_file() && entry.size() <= MOST_EXAMPLE_BYTES;
        if is_small_file && is_example(&name) && examples < MOST_EXAMPLES {
            fs::create_dir_all(folder.join(EXAMPLES))?;
            io::copy(&mut entry, &mut File::create(folder.join(&name))?)?;
            examples += 1;
            continue;
        }
        let known = [MANIFEST, WEIGHTS, ONNX]
            .into_iter()
            .find(|known| name == Path::new(known));
        if let Some(known) = known.filter(|_| entry.header().entry_type().is_file()) {
            io::copy(&mut entry, &mut File::create(folder.join(known))?)?;
            found |= known == MANIFEST;
        }
    }
    Ok(found)
}

/// `examples/` and a name of an example, nothing before or between.
fn is_example(path: &Path) -> bool {
    let name = path.strip_prefix(EXAMPLES).ok().and_then(Path::to_str);
    name.is_some_and(is_example_name)
}

fn is_dot(component: &std::path::Component) -> bool {
    matches!(component, std::path::Component::CurDir)
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;

    fn archive(path: &Path, files: &[(&str, &str)]) {
        let mut builder = tar::Builder::new(GzEncoder::new(
            File::create(path).unwrap(),
            Compression::fast(),
        ));
        for (name, content) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            // Not append_data, which refuses a path that leaves the folder.
            header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_cksum();
            builder.append(&header, content.as_bytes()).unwrap();
        }
        builder.into_inner().unwrap().finish().unwrap();
    }

    #[test]
    fn known_files_come_out_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("model.tar.gz");
        let (large, largest) = ("x".repeat(65_537), "x".repeat(65_536));
        let files = [
            ("./manifest.json", "{}"),
            ("model.safetensors", "w"),
            ("../model.onnx", "evil"),
            ("code/inference.py", "x"),
            ("./examples/0000-1.jpg", "photo"),
            ("examples/0001-1.jpg", &large),
            ("examples/0001-2.jpg", &largest),
            ("examples/notes.txt", "x"),
            ("examples/../0002-1.jpg", "evil"),
            ("/examples/0002-2.jpg", "evil"),
            ("examples/examples/0002-3.jpg", "evil"),
        ];
        archive(&path, &files);
        let unpacked = unpack(&path).unwrap();
        let names = |folder: &Path| {
            let entries = fs::read_dir(folder).unwrap();
            let mut names: Vec<_> = entries.map(|e| e.unwrap().file_name()).collect();
            names.sort();
            names
        };
        assert_eq!(
            names(unpacked.path()),
            ["examples", "manifest.json", "model.safetensors"]
        );
        let examples = names(&unpacked.path().join("examples"));
        assert_eq!(examples, ["0000-1.jpg", "0001-2.jpg"]);
        assert!(!dir.path().join("model.onnx").exists());
    }

    #[test]
    fn damaged_and_foreign_archives_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("model.tar.gz");
        archive(&path, &[("saved_model.pb", "tensorflow")]);
        let error = unpack(&path).unwrap_err().to_string();
        assert!(
            error.contains("model.tar.gz") && error.contains("manifest.json"),
            "{error}"
        );
        let whole = fs::read(&path).unwrap();
        fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        assert!(
            unpack(&path)
                .unwrap_err()
                .to_string()
                .contains("model.tar.gz")
        );
    }
}
