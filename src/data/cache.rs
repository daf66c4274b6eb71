//! Images kept in memory, so that later epochs need not decode them again.
//!
//! Input: decoded or preprocessed images under a [`CacheKey`]. Output: the same images, shared. One cache may serve
//! several loaders. When the budget is used up, further images are not kept; nothing is thrown out, since an epoch visits
//! every image once and eviction would only churn.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use image::RgbImage;

use super::preprocess::{Interpolation, Preprocess};

/// In which form an image is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// The evaluation crop.
    Crop {
        resize: u32,
        crop: u32,
        interpolation: Interpolation,
    },
    /// The decoded picture, its shorter side at most this many pixels.
    Shrunk { max_short_side: u32 },
}

impl Form {
    /// The form that evaluation with `preprocess` uses.
    pub fn crop(preprocess: &Preprocess) -> Self {
        let Preprocess {
            resize,
            crop,
            interpolation,
            ..
        } = *preprocess;
        Self::Crop {
            resize,
            crop,
            interpolation,
        }
    }
}

/// Names an image in the cache.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CacheKey {
    pub path: PathBuf,
    pub form: Form,
}

/// A memory of images with a fixed budget.
#[derive(Debug)]
pub struct ImageCache {
    budget_bytes: u64,
    cached_bytes: AtomicU64,
    images: RwLock<HashMap<CacheKey, Arc<RgbImage>>>,
}

impl ImageCache {
    /// A cache of at most `budget_bytes` of pixels and keys. 0 keeps nothing.
    pub fn new(budget_bytes: u64) -> Self {
        Self {
            budget_bytes,
            cached_bytes: AtomicU64::new(0),
            images: RwLock::default(),
        }
    }

    /// The image under `key`.
    pub fn get(&self, key: &CacheKey) -> Option<Arc<RgbImage>> {
        // A poisoned lock means that a thread panicked between two whole operations on the map; the map is sound.
        let images = self.images.read().unwrap_or_else(PoisonError::into_inner);
        images.get(key).cloned()
    }

    /// Keeps `image` if the budget allows it; returns whether it is kept.
    pub fn insert(&self, key: CacheKey, image: &Arc<RgbImage>) -> bool {
        let bytes =
            (image.as_raw().capacity() + key.path.as_os_str().len() + size_of::<CacheKey>()) as u64;
        let mut images = self.images.write().unwrap_or_else(PoisonError::into_inner);
        if images.contains_key(&key) {
            return true;
        }
        let used = self.cached_bytes.load(Ordering::Relaxed);
        if used + bytes > self.budget_bytes {
            return false;
        }
        // Only changed under the write lock, so that the sum cannot overrun the budget.
        self.cached_bytes.store(used + bytes, Ordering::Relaxed);
        images.insert(key, Arc::clone(image));
        true
    }

    /// Bytes in use.
    pub fn cached_bytes(&self) -> u64 {
        self.cached_bytes.load(Ordering::Relaxed)
    }

    /// Images kept.
    pub fn len(&self) -> usize {
        self.images
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .len()
    }

    /// Whether nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> CacheKey {
        CacheKey {
            path: name.into(),
            form: Form::Shrunk {
                max_short_side: 512,
            },
        }
    }

    #[test]
    fn the_budget_is_a_ceiling_and_the_first_images_stay() {
        let image = Arc::new(RgbImage::new(100, 100));
        let cache = ImageCache::new(70_000);
        let kept: Vec<bool> = ["a", "b", "c"]
            .map(|name| cache.insert(key(name), &image))
            .to_vec();
        assert_eq!(kept, [true, true, false]);
        assert!(cache.cached_bytes() <= 70_000 && cache.cached_bytes() > 60_000);
        assert!(cache.insert(key("a"), &image), "already kept");
        assert!(cache.get(&key("a")).is_some() && cache.get(&key("c")).is_none());
        assert_eq!(cache.len(), 2);
    }

    #[test]
    fn a_budget_of_zero_keeps_nothing() {
        let cache = ImageCache::new(0);
        assert!(!cache.insert(key("a"), &Arc::new(RgbImage::new(1, 1))));
        assert!(cache.is_empty());
    }

    #[test]
    fn forms_of_one_file_are_apart() {
        let cache = ImageCache::new(1 << 20);
        cache.insert(key("a"), &Arc::new(RgbImage::new(1, 1)));
        let form = Form::crop(&Preprocess::imagenet(224));
        assert!(
            cache
                .get(&CacheKey {
                    path: "a".into(),
                    form
                })
                .is_none()
        );
    }
}
