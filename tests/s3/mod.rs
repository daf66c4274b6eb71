//! The S3 client against a real S3 API server on this machine.
//!
//! The server is `moto_server` (PyPI: `moto[server]`), found through `SAGEMAKER_BURN_MOTO_SERVER` or `PATH`; without it
//! these tests say that they were skipped. No traffic leaves the machine.

mod download;
mod faults;
mod interrupted;
mod program;
mod proxy;
mod refused;
mod server;
mod upload;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use sagemaker_burn::s3::{Client, Keys, Progress, S3Uri, Settings};
use tempfile::TempDir;

/// A client of the service at `endpoint` with keys that moto accepts, which loses no time between attempts.
fn client(endpoint: &str) -> Client {
    Client::with_settings(settings(endpoint)).unwrap()
}

fn settings(endpoint: &str) -> Settings {
    Settings {
        endpoint: Some(endpoint.into()),
        region: "us-east-1".into(),
        keys: Keys {
            id: "test".into(),
            secret: "test".into(),
        },
        first_pause: Duration::from_millis(20),
        silence: Duration::from_secs(30),
    }
}

fn uri(text: &str) -> S3Uri {
    text.parse().unwrap()
}

/// A callback that never stops.
fn go_on(_: &Progress) -> bool {
    true
}

fn write(folder: &Path, name: &str, content: impl AsRef<[u8]>) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

/// All files below a folder but the hidden ones, by relative path.
fn content(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if name.starts_with('.') {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else {
                let relative = path.strip_prefix(folder).unwrap().into();
                files.insert(relative, fs::read(path).unwrap());
            }
        }
    }
    files
}

/// Bytes in which a piece that is missing or doubled shows.
fn noise(bytes: usize) -> Vec<u8> {
    (0..bytes as u64)
        .map(|i| (i.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8)
        .collect()
}

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}
