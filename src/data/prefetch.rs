//! The threads behind one epoch of a loader.
//!
//! Input: the order of the images and a function that prepares one. Output: an iterator of [`Batch`]es in that order.
//! Threads take one image at a time, so that the first batch is ready as soon as all of them together can make it, and
//! stay within a window of batches ahead of the consumer.

use std::collections::HashMap;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use image::RgbImage;

use super::decode::panic_message;
use super::error::DataError;
use super::loader::{Batch, Source};

/// The pixels of one image, or `None` for one that is left out.
type Prepared = Result<Option<Arc<RgbImage>>, DataError>;

/// The batches of one epoch. Made by [`super::Loader::epoch`].
#[derive(Debug)]
pub struct Epoch {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    /// The next batch of the plan.
    batch: usize,
    first_batch: usize,
    yielded_any: bool,
    finished: bool,
}

#[derive(Debug)]
struct Shared {
    source: Arc<Source>,
    epoch: u64,
    /// Image of each position in the epoch.
    order: Vec<usize>,
    queue: Mutex<Queue>,
    /// Signals the threads: there is room, or the end.
    room: Condvar,
    /// Signals the consumer: a batch is complete.
    ready: Condvar,
}

#[derive(Debug)]
struct Queue {
    /// The next position that a thread takes.
    next: usize,
    /// Positions from here on must wait.
    limit: usize,
    stopped: bool,
    /// Why there are fewer threads than asked for.
    spawn_error: Option<std::io::Error>,
    /// Prepared images by position.
    done: HashMap<usize, Prepared>,
    /// By batch, how many images are done.
    done_in_batch: HashMap<usize, usize>,
}

impl Epoch {
    pub(super) fn start(source: Arc<Source>, epoch: u64, first_batch: usize) -> Self {
        let config = &source.config;
        let order = source.order(epoch);
        let first = first_batch
            .saturating_mul(config.batch_size)
            .min(order.len());
        let window = config
            .prefetch_batches
            .saturating_add(1)
            .saturating_mul(config.batch_size);
        let queue = Queue {
            next: first,
            limit: first.saturating_add(window),
            stopped: false,
            spawn_error: None,
            done: HashMap::new(),
            done_in_batch: HashMap::new(),
        };
        let workers = config.workers.min(order.len() - first);
        let shared = Arc::new(Shared {
            source,
            epoch,
            order,
            queue: Mutex::new(queue),
            room: Condvar::new(),
            ready: Condvar::new(),
        });
        let mut threads = Vec::with_capacity(workers);
        for i in 0..workers {
            let worker = Arc::clone(&shared);
            match std::thread::Builder::new()
                .name(format!("loader-{i}"))
                .spawn(move || worker.work())
            {
                Ok(thread) => threads.push(thread),
                Err(error) => {
                    // One thread is enough to go on, only slower.
                    shared.queue().spawn_error = Some(error);
                    break;
                }
            }
        }
        Self {
            shared,
            threads,
            batch: first_batch,
            first_batch,
            yielded_any: false,
            finished: false,
        }
    }

    /// Assembles the images of `positions`, in order; `None` if all of them are broken.
    fn assemble(
        &self,
        positions: Range<usize>,
        images: Vec<Prepared>,
    ) -> Result<Option<Batch>, DataError> {
        let images = images.into_iter().collect::<Result<Vec<_>, _>>()?;
        let source = &self.shared.source;
        let side = source.config.preprocess.crop as usize;
        let mut batch = Batch {
            index: self.batch,
            images: Vec::with_capacity(positions.len() * side * side * 3),
            targets: Vec::with_capacity(positions.len()),
            indices: Vec::with_capacity(positions.len()),
            height: side,
            width: side,
        };
        for (position, image) in positions.zip(images) {
            if let Some(pixels) = image {
                let index = self.shared.order[position];
                batch.images.extend_from_slice(pixels.as_raw());
                batch.targets.push(source.folder.samples[index].class);
                batch.indices.push(index);
            }
        }
        Ok((!batch.targets.is_empty()).then_some(batch))
    }

    fn advance(&mut self) -> Result<Option<Batch>, DataError> {
        let batch_size = self.shared.source.config.batch_size;
        loop {
            let start = self.batch.saturating_mul(batch_size);
            let end = start
                .saturating_add(batch_size)
                .min(self.shared.order.len());
            if start >= end {
                return self.check_not_all_broken().map(|()| None);
            }
            if self.threads.is_empty() {
                let source = self.shared.queue().spawn_error.take();
                let source =
                    source.unwrap_or_else(|| std::io::Error::other("no thread could be started"));
                return Err(DataError::Spawn { source });
            }
            let images = self.shared.take(self.batch, start..end);
            let batch = self.assemble(start..end, images)?;
            self.batch += 1;
            if batch.is_some() {
                self.yielded_any = true;
                return Ok(batch);
            }
        }
    }

    /// An epoch without a single usable image is an error: metrics over nothing would look like a result.
    fn check_not_all_broken(&self) -> Result<(), DataError> {
        let skipped = self.shared.source.skipped();
        match skipped.values().next() {
            Some(first) if self.first_batch == 0 && !self.yielded_any => {
                Err(DataError::AllBroken {
                    images: skipped.len(),
                    path: first.path.clone(),
                    reason: first.reason.clone(),
                })
            }
            _ => Ok(()),
        }
    }

    fn stop(&mut self) {
        self.finished = true;
        self.shared.queue().stopped = true;
        self.shared.room.notify_all();
        for thread in self.threads.drain(..) {
            // Panics of a thread's work are caught where they happen and were reported as errors.
            let _ = thread.join();
        }
    }
}

impl Iterator for Epoch {
    type Item = Result<Batch, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.finished {
            return None;
        }
        let next = self.advance().transpose();
        if !matches!(next, Some(Ok(_))) {
            self.stop();
        }
        next
    }
}

impl Drop for Epoch {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        // Nothing under this lock can panic half way through a change.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A thread's life: take a position, prepare its image, hand it over.
    fn work(&self) {
        while let Some(position) = self.take_position() {
            let index = self.order[position];
            // A panic must reach the consumer as an error; otherwise it would wait for this image for ever.
            let prepared = catch_unwind(AssertUnwindSafe(|| self.source.load(index, self.epoch)));
            let prepared = prepared.unwrap_or_else(|payload| {
                Err(DataError::WorkerPanicked {
                    path: self.source.folder.samples[index].path.clone(),
                    message: panic_message(&*payload),
                })
            });
            self.hand_over(position, prepared);
        }
    }

    fn take_position(&self) -> Option<usize> {
        let blocked = |queue: &mut Queue| {
            !queue.stopped && queue.next < self.order.len() && queue.next >= queue.limit
        };
        let mut queue = self
            .room
            .wait_while(self.queue(), blocked)
            .unwrap_or_else(PoisonError::into_inner);
        if queue.stopped || queue.next >= self.order.len() {
            return None;
        }
        queue.next += 1;
        Some(queue.next - 1)
    }

    fn hand_over(&self, position: usize, prepared: Prepared) {
        let batch_size = self.source.config.batch_size;
        let batch = position / batch_size;
        let size = batch_size.min(self.order.len() - batch * batch_size);
        let mut queue = self.queue();
        queue.done.insert(position, prepared);
        let done = queue.done_in_batch.entry(batch).or_default();
        *done += 1;
        if *done == size {
            self.ready.notify_one();
        }
    }

    /// Waits for `batch` to be complete, takes its images and makes room for another batch.
    fn take(&self, batch: usize, positions: Range<usize>) -> Vec<Prepared> {
        let size = positions.len();
        let incomplete = |queue: &mut Queue| queue.done_in_batch.get(&batch) != Some(&size);
        let mut queue = self
            .ready
            .wait_while(self.queue(), incomplete)
            .unwrap_or_else(PoisonError::into_inner);
        queue.done_in_batch.remove(&batch);
        queue.limit = queue.limit.saturating_add(self.source.config.batch_size);
        let images = positions
            .filter_map(|position| queue.done.remove(&position))
            .collect();
        drop(queue);
        self.room.notify_all();
        images
    }
}
