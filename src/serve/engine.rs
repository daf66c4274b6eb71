//! The network behind a queue: requests that wait at the same time go through it together.
//!
//! Input: normalised images. Output: probabilities. One thread owns the network; it takes what is waiting, up to a limit, and
//! waits a moment for more only while other requests are being prepared. An idle server so answers at once, a busy one in
//! batches.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use burn::tensor::activation::softmax;
use burn::tensor::{Device, Tensor, TensorData};
use tokio::sync::oneshot;

use super::metrics::Metrics;
use crate::model::FusedResNet;

/// How requests are put together.
#[derive(Clone, Copy, Debug)]
pub struct Batching {
    /// Most images that go through the network at once.
    pub max_batch: usize,
    /// Longest wait for a request that is still being prepared.
    pub delay: Duration,
    /// Requests that may wait for the network.
    pub queue: usize,
}

/// Images of one request on their way.
struct Job {
    /// `[n, side, side, 3]`, normalised.
    values: Vec<f32>,
    images: usize,
    answer: oneshot::Sender<Result<Vec<f32>, EngineError>>,
}

/// Why there are no probabilities.
#[derive(Clone, Debug, thiserror::Error)]
pub enum EngineError {
    #[error("the queue is full; try again later")]
    Full,
    #[error("the network failed on these images: {0}")]
    Failed(String),
    #[error("the server is shutting down")]
    Gone,
}

/// A handle to the network's thread. It ends when the last handle is dropped.
#[derive(Clone)]
pub struct Engine {
    jobs: SyncSender<Job>,
    /// Requests that are being prepared and will come.
    coming: Arc<AtomicUsize>,
}

/// Announces a request that is being prepared, as long as it lives.
pub struct Coming(Arc<AtomicUsize>);

impl Drop for Coming {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The network and what its input looks like.
pub struct Network {
    pub network: FusedResNet,
    pub device: Device,
    /// Side of the input in pixels.
    pub side: usize,
}

impl Engine {
    /// Starts the thread and sends one image through the network, so that the first request need not wait for memory and
    /// threads to be there.
    ///
    /// # Errors
    /// The thread cannot be started, or the network fails on any image.
    pub fn start(
        network: Network,
        batching: Batching,
        metrics: Arc<Metrics>,
    ) -> Result<Self, EngineError> {
        let (jobs, receiver) = sync_channel(batching.queue.max(1));
        let coming = Arc::new(AtomicUsize::new(0));
        let (side, waiting) = (network.side, coming.clone());
        std::thread::Builder::new()
            .name("network".into())
            .spawn(move || work(&network, batching, &receiver, &waiting, &metrics))
            .map_err(|error| EngineError::Failed(error.to_string()))?;
        let engine = Engine { jobs, coming };
        let answer = engine.send(vec![0.0; side * side * 3], 1)?;
        answer.blocking_recv().map_err(|_| EngineError::Gone)??;
        Ok(engine)
    }

    /// Says that a request is being prepared.
    pub fn announce(&self) -> Coming {
        self.coming.fetch_add(1, Ordering::Relaxed);
        Coming(self.coming.clone())
    }

    /// Sends images to the network; the probabilities come row-major, `[images, classes]`. `values` are `[images, side, side, 3]`.
    ///
    /// # Errors
    /// [`EngineError::Full`] or [`EngineError::Gone`].
    pub fn send(
        &self,
        values: Vec<f32>,
        images: usize,
    ) -> Result<oneshot::Receiver<Result<Vec<f32>, EngineError>>, EngineError> {
        let (answer, receiver) = oneshot::channel();
        let job = Job {
            values,
            images,
            answer,
        };
        match self.jobs.try_send(job) {
            Ok(()) => Ok(receiver),
            Err(TrySendError::Full(_)) => Err(EngineError::Full),
            Err(TrySendError::Disconnected(_)) => Err(EngineError::Gone),
        }
    }
}

fn work(
    network: &Network,
    batching: Batching,
    jobs: &Receiver<Job>,
    coming: &AtomicUsize,
    metrics: &Metrics,
) {
    while let Ok(first) = jobs.recv() {
        let batch = gather(first, batching, jobs, coming);
        // Nobody waits for the answer any more: the client has gone.
        let mut batch: Vec<Job> = batch
            .into_iter()
            .filter(|job| !job.answer.is_closed())
            .collect();
        let images = batch.iter().map(|job| job.images).sum();
        if images == 0 {
            continue;
        }
        let started = Instant::now();
        // The first request's values are not copied: it usually is the only one.
        let mut values = std::mem::take(&mut batch[0].values);
        for job in &batch[1..] {
            values.extend_from_slice(&job.values);
        }
        let result = catch_unwind(AssertUnwindSafe(|| network.probabilities(values, batching)));
        metrics.batch(images, started.elapsed());
        let rows = result.map_err(|_| EngineError::Failed("internal error, see the log".into()));
        answer(batch, images, rows);
    }
}

/// The first job and what else is there, or comes within the delay.
fn gather(first: Job, batching: Batching, jobs: &Receiver<Job>, coming: &AtomicUsize) -> Vec<Job> {
    let deadline = Instant::now() + batching.delay;
    let mut images = first.images;
    let mut batch = vec![first];
    while images < batching.max_batch {
        let left = match coming.load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            _ => deadline.saturating_duration_since(Instant::now()),
        };
        match jobs.recv_timeout(left) {
            Ok(job) => {
                images += job.images;
                batch.push(job);
            }
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
        }
    }
    batch
}

fn answer(batch: Vec<Job>, images: usize, rows: Result<Vec<f32>, EngineError>) {
    let mut start = 0;
    for job in batch {
        let part = rows.as_ref().map_err(EngineError::clone).map(|rows| {
            let classes = rows.len() / images;
            let end = start + job.images * classes;
            let part = rows[start..end].to_vec();
            start = end;
            part
        });
        // Fails where the client has gone.
        let _ = job.answer.send(part);
    }
}

impl Network {
    fn probabilities(&self, mut values: Vec<f32>, batching: Batching) -> Vec<f32> {
        let row = self.side * self.side * 3;
        let most = row * batching.max_batch.max(1);
        let mut rows = Vec::new();
        // A single request may hold more than a batch.
        while !values.is_empty() {
            let rest = values.split_off(most.min(values.len()));
            let shape = [values.len() / row, self.side, self.side, 3];
            let data = TensorData::new(values, shape);
            let images = Tensor::<4>::from_data(data, &self.device).permute([0, 3, 1, 2]);
            let probabilities = softmax(self.network.forward(images), 1).into_data();
            rows.extend(probabilities.convert::<f32>().iter::<f32>());
            values = rest;
        }
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Architecture, ResNet, ResNetConfig};

    const SIDE: usize = 32;

    fn engine(batching: Batching) -> (Engine, Arc<Metrics>) {
        let device = Device::flex();
        let config = ResNetConfig::new(Architecture::Resnet18, 3);
        let network = Network {
            network: ResNet::new(&config, 1, &device).unwrap().fused(),
            device,
            side: SIDE,
        };
        let metrics = Arc::new(Metrics::default());
        let counted = metrics.clone();
        // Starting waits for the warm-up, which a thread of the runtime must not.
        let start = move || Engine::start(network, batching, counted).unwrap();
        (std::thread::spawn(start).join().unwrap(), metrics)
    }

    fn image(value: f32) -> Vec<f32> {
        (0..SIDE * SIDE * 3)
            .map(|n| value + (n % 7) as f32 / 10.0)
            .collect()
    }

    const BATCHING: Batching = Batching {
        max_batch: 4,
        delay: Duration::from_millis(200),
        queue: 64,
    };

    async fn classify(engine: &Engine, values: Vec<f32>, images: usize) -> Vec<f32> {
        engine.send(values, images).unwrap().await.unwrap().unwrap()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn answers_do_not_depend_on_company() {
        let (engine, metrics) = engine(BATCHING);
        let alone = classify(&engine, image(0.1), 1).await;
        assert!((alone.iter().sum::<f32>() - 1.0).abs() < 1e-5);
        // The others are said to be coming, so the first one waits for them.
        let _coming = engine.announce();
        let answers: Vec<_> = (0..4)
            .map(|n| engine.send(image(0.1 * (n + 1) as f32), 1).unwrap())
            .collect();
        let mut together = Vec::new();
        for answer in answers {
            together.push(answer.await.unwrap().unwrap());
        }
        for (a, b) in alone.iter().zip(&together[0]) {
            assert!((a - b).abs() < 1e-5);
        }
        assert!(together[0] != together[1]);
        assert!(
            metrics.render("m").contains("_batch_images_sum 6\n"),
            "{}",
            metrics.render("m")
        );
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_request_may_be_larger_than_a_batch() {
        let (engine, _) = engine(BATCHING);
        let values: Vec<f32> = (0..9).flat_map(|n| image(n as f32 / 9.0)).collect();
        let rows = classify(&engine, values, 9).await;
        assert_eq!(rows.len(), 27);
        let last = classify(&engine, image(8.0 / 9.0), 1).await;
        for (a, b) in rows[24..].iter().zip(last) {
            assert!((a - b).abs() < 1e-5);
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_full_queue_says_so_at_once() {
        let (engine, _) = engine(Batching {
            queue: 1,
            ..BATCHING
        });
        let _coming = engine.announce();
        let mut full = 0;
        let mut waiting = Vec::new();
        for _ in 0..50 {
            match engine.send(image(0.0), 1) {
                Ok(answer) => waiting.push(answer),
                Err(EngineError::Full) => full += 1,
                Err(other) => panic!("{other}"),
            }
        }
        assert!(full > 0);
        for answer in waiting {
            assert_eq!(answer.await.unwrap().unwrap().len(), 3);
        }
    }
}
