//! What all requests share: the models, the settings, the counters.
//!
//! Input: settings, and models as they are loaded. Output: [`App`].

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::Semaphore;

use super::body;
use super::engine::Batching;
use super::metrics::Metrics;
use super::served::{LoadError, Served};
use super::settings::Settings;
use crate::device::Selected;

/// The name under which the only model of a usual endpoint is kept.
pub const ONLY: &str = "";

/// Pictures that may be prepared or wait for the network at once; 600 kB each at the usual size.
pub const PICTURES: usize = 256;

/// The state of a server.
pub struct App {
    pub settings: Settings,
    pub batching: Batching,
    pub device: Selected,
    pub metrics: Arc<Metrics>,
    /// One for each body that may be on its way. Slow clients hold these, and no others.
    pub readers: Semaphore,
    /// One for each request that may be worked on or wait for it.
    pub permits: Semaphore,
    /// Memory for bodies.
    pub bodies: Semaphore,
    /// One for each picture that may be prepared or wait for the network.
    pub pictures: Semaphore,
    /// One for each core: decoding takes a core for a while.
    pub decoders: Semaphore,
    models: RwLock<BTreeMap<String, Arc<Served>>>,
}

/// Why a model was not loaded under a name.
#[derive(Debug, thiserror::Error)]
pub enum AddError {
    #[error("a model {name:?} is loaded already; unload it first")]
    Taken { name: String },
    #[error("there is not enough memory for another model; unload one first")]
    NoMemory,
    #[error(transparent)]
    Load(#[from] LoadError),
}

impl App {
    pub fn new(settings: Settings, batching: Batching, device: Selected) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        App {
            bodies: body::room(settings.max_payload_bytes),
            pictures: Semaphore::new(PICTURES),
            readers: Semaphore::new(4 * settings.max_in_flight),
            permits: Semaphore::new(settings.max_in_flight),
            decoders: Semaphore::new(cores),
            metrics: Arc::default(),
            models: RwLock::default(),
            settings,
            batching,
            device,
        }
    }

    /// The model under `name`.
    pub fn model(&self, name: &str) -> Option<Arc<Served>> {
        self.read().get(name).cloned()
    }

    /// Names and places of the models, in the order of their names.
    pub fn models(&self) -> Vec<(String, PathBuf)> {
        let models = self.read();
        models
            .iter()
            .map(|(name, served)| (name.clone(), served.path.clone()))
            .collect()
    }

    /// Loads the model directory `path` under `name`.
    ///
    /// # Errors
    /// [`AddError`].
    pub fn add(&self, name: &str, path: &Path) -> Result<(), AddError> {
        let taken = || AddError::Taken { name: name.into() };
        if self.model(name).is_some() {
            return Err(taken());
        }
        if name != ONLY && !self.has_room(path) {
            return Err(AddError::NoMemory);
        }
        let served = Served::load(path, &self.device, self.batching, self.metrics.clone())?;
        let mut models = self.models.write().unwrap_or_else(PoisonError::into_inner);
        // Another request may have been faster.
        if models.contains_key(name) {
            return Err(taken());
        }
        models.insert(name.into(), Arc::new(served));
        Ok(())
    }

    /// Unloads a model once its requests are answered; false if there is none of that name.
    pub fn remove(&self, name: &str) -> bool {
        let mut models = self.models.write().unwrap_or_else(PoisonError::into_inner);
        models.remove(name).is_some()
    }

    /// Whether the weights would fit into memory, with as much again for their packed form and for working.
    fn has_room(&self, path: &Path) -> bool {
        let weights = std::fs::metadata(path.join(crate::artifact::WEIGHTS)).map_or(0, |m| m.len());
        crate::memory::available_bytes().is_none_or(|free| free > 4 * weights)
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, BTreeMap<String, Arc<Served>>> {
        // Models are put in and taken out whole, so a panic elsewhere leaves the map sound.
        self.models.read().unwrap_or_else(PoisonError::into_inner)
    }
}
