//! The pass of a frozen backbone over the images: done once, kept for a restart, and shared with other runs where asked.
//!
//! Input: a folder of images and the network. Output: a [`FeatureTable`], out of a file where one fits, else computed. Batches
//! of the pass have a size of their own, so that runs whose batch sizes differ see the very same features.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use super::StopSignal;
use super::feeds::Loaders;
use super::keeper::Pace;
use crate::data::{DataError, ImageFolder};
use crate::device::Selected;
use crate::feed::{
    FeatureTable, ImageSource, contents_stamp, features_key, read_features, write_features,
};
use crate::model::ResNet;

/// Images of a batch of the pass. On a CPU more is no faster.
pub const FEATURE_BATCH: usize = 32;
/// How often it is looked whether another run has done the work.
const LOOK: Duration = Duration::from_millis(20);

/// Where tables are kept.
#[derive(Clone, Copy)]
pub enum Store<'a> {
    /// Beside the checkpoints of the run, until it has ended.
    OfRun(&'a Path),
    /// In a folder that runs share, for good.
    Shared(&'a Path),
}

/// Everything that the pass needs besides images.
pub struct FeaturePass<'a> {
    pub loaders: &'a Loaders,
    pub model: &'a ResNet,
    /// See [`crate::feed::backbone_fingerprint`].
    pub network: &'a str,
    pub device: &'a Selected,
    pub stop: &'a StopSignal,
    pub store: Store<'a>,
}

/// Batches of the pass over a folder.
pub fn feature_batches(folder: &ImageFolder) -> usize {
    folder.len().div_ceil(FEATURE_BATCH)
}

/// Removes what a finished run needs no more.
pub fn forget_features(weights: &Path) {
    for split in ["train", "valid"] {
        // Most runs have none.
        let _ = std::fs::remove_file(of_run(weights, split));
    }
}

fn of_run(weights: &Path, split: &str) -> PathBuf {
    weights.join(format!("features-{split}.safetensors"))
}

impl FeaturePass<'_> {
    /// The features of `folder`, the images of `split`; `on_batch` is told how many batches are done. `None` where a signal came.
    ///
    /// # Errors
    /// Images that cannot be read, in strict mode or all of them.
    pub fn table(
        &self,
        split: &str,
        folder: &ImageFolder,
        on_batch: impl FnMut(usize),
    ) -> Result<Option<FeatureTable>, DataError> {
        let key = features_key(self.network, folder, self.loaders.preprocess());
        let cache = match self.store {
            Store::OfRun(weights) => {
                let path = of_run(weights, split);
                let kept = self.read(&path, folder, &key);
                announce(&kept, folder, "are here from before");
                return self.complete(kept, &path, folder, &key, on_batch);
            }
            Store::Shared(cache) => cache,
        };
        let key = format!("{key}-{}", contents_stamp(folder));
        let path = cache.join(format!("{key}.safetensors"));
        let kept = self.read(&path, folder, &key);
        if kept.batches() == feature_batches(folder) {
            announce(&kept, folder, "are shared with an earlier run");
            return Ok(Some(kept));
        }
        let Some(_claim) = self.claim(cache, &path) else {
            return Ok(None);
        };
        // Whoever held it may have done the work.
        let kept = self.read(&path, folder, &key);
        announce(&kept, folder, "are shared with an earlier run");
        if kept.batches() == 0 {
            tracing::info!(
                "features of {} are computed, to be shared",
                folder.root.display()
            );
        }
        self.complete(kept, &path, folder, &key, on_batch)
    }

    /// Waits until no other run computes the table at `path`; `None` where a signal came meanwhile. The system gives the claim
    /// back when its process ends, however it ends. Where files cannot be locked, runs may do the same work twice.
    fn claim(&self, cache: &Path, path: &Path) -> Option<Option<File>> {
        let lock = std::fs::create_dir_all(cache)
            .and_then(|()| File::create(path.with_extension("lock")))
            .map_err(|error| tracing::warn!("{}: {error}", cache.display()));
        let Ok(lock) = lock else {
            return Some(None);
        };
        let mut told = false;
        loop {
            match lock.try_lock() {
                Ok(()) => return Some(Some(lock)),
                Err(TryLockError::Error(_)) => return Some(None),
                Err(TryLockError::WouldBlock) if self.stop.requested().is_some() => return None,
                Err(TryLockError::WouldBlock) => {
                    if !told {
                        tracing::info!("waiting for the features that another run computes");
                        told = true;
                    }
                    thread::sleep(LOOK);
                }
            }
        }
    }

    /// What is kept at `path`. Where a broken image is an error it has to be met again.
    fn read(&self, path: &Path, folder: &ImageFolder, key: &str) -> FeatureTable {
        let kept = read_features(path, folder, key);
        match self.loaders.is_strict() && kept.has_skipped() {
            true => FeatureTable::empty(folder.len()),
            false => kept,
        }
    }

    fn complete(
        &self,
        kept: FeatureTable,
        path: &Path,
        folder: &ImageFolder,
        key: &str,
        mut on_batch: impl FnMut(usize),
    ) -> Result<Option<FeatureTable>, DataError> {
        if kept.batches() == feature_batches(folder) {
            on_batch(kept.batches());
            return Ok(Some(kept));
        }
        let source = ImageSource::new(
            self.loaders.for_features(folder),
            self.loaders.preprocess().clone(),
            self.device.device.clone(),
        );
        let interval = self.loaders.checkpoint_interval();
        let mut pace = Pace::new(interval, kept.batches());
        let table = kept.complete(&self.model.fused(), &source, |table| {
            on_batch(table.batches());
            let stopped = self.stop.requested().is_some();
            if stopped || pace.is_due(table.batches()) {
                keep(path, table, key);
                pace = Pace::new(interval, table.batches());
            }
            !stopped
        })?;
        if let Some(table) = &table {
            keep(path, table, key);
        }
        Ok(table)
    }
}

fn announce(kept: &FeatureTable, folder: &ImageFolder, how: &str) {
    if kept.batches() > 0 {
        tracing::info!(
            "features of {} of {} batches of {} {how}",
            kept.batches(),
            feature_batches(folder),
            folder.root.display()
        );
    }
}

/// Features are only a saving: without them another run computes them again.
fn keep(path: &Path, table: &FeatureTable, key: &str) {
    if let Err(error) = write_features(path, table, key) {
        tracing::warn!("the features are not kept: {error}");
    }
}
