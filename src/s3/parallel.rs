//! Many transfers at once, while the caller hears how far they are and may stop them.
//!
//! Input: jobs and what to do with each. Output: their results, handed to the calling thread.

use std::{
    future::Future,
    pin::pin,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
    time::Duration,
};

use tokio::{task::JoinSet, time::timeout};

use super::{Progress, S3Error};

/// How often a waiting caller is asked whether to go on.
const TICK: Duration = Duration::from_millis(100);

/// What the callers' callback says: `false` to stop.
pub(super) type OnProgress<'a> = dyn FnMut(&Progress) -> bool + 'a;

/// Counts what is done, from any thread.
#[derive(Debug, Default)]
pub(super) struct Meter {
    objects: AtomicUsize,
    bytes: AtomicU64,
    objects_done: AtomicUsize,
    bytes_done: AtomicU64,
}

impl Meter {
    /// `objects` with `bytes` are to be done.
    pub(super) fn expect(&self, objects: usize, bytes: u64) {
        self.objects.fetch_add(objects, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn object_done(&self) {
        self.objects_done.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn bytes_done(&self, bytes: u64) {
        self.bytes_done.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Takes back bytes that have to be transferred again.
    pub(super) fn bytes_lost(&self, bytes: u64) {
        self.bytes_done.fetch_sub(bytes, Ordering::Relaxed);
    }

    pub(super) fn now(&self) -> Progress {
        Progress {
            objects_done: self.objects_done.load(Ordering::Relaxed),
            objects: self.objects.load(Ordering::Relaxed),
            bytes_done: self.bytes_done.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
        }
    }
}

/// Waits for `future` as long as `on_progress` wants; `None` if it does not any more.
pub(super) async fn while_wanted<T>(
    future: impl Future<Output = T>,
    meter: &Meter,
    on_progress: &mut OnProgress<'_>,
) -> Option<T> {
    let mut future = pin!(future);
    loop {
        match timeout(TICK, future.as_mut()).await {
            Ok(result) => return Some(result),
            Err(_) if on_progress(&meter.now()) => {}
            Err(_) => return None,
        }
    }
}

/// Runs `work` for each job, at most `limit` at once, and hands each result to `done`. `false` if `on_progress` stopped it.
///
/// # Errors
/// The first error of a job or of `done`; what else is running is then dropped.
pub(super) async fn for_each<J, T, F>(
    jobs: impl IntoIterator<Item = J>,
    limit: usize,
    work: impl Fn(J) -> F,
    mut done: impl FnMut(T) -> Result<(), S3Error>,
    meter: &Meter,
    on_progress: &mut OnProgress<'_>,
) -> Result<bool, S3Error>
where
    F: Future<Output = Result<T, S3Error>> + Send + 'static,
    T: Send + 'static,
{
    let mut running = JoinSet::new();
    let result = async {
        let mut jobs = jobs.into_iter();
        loop {
            while running.len() < limit {
                let Some(job) = jobs.next() else { break };
                running.spawn(work(job));
            }
            match timeout(TICK, running.join_next()).await {
                Ok(None) => {
                    on_progress(&meter.now());
                    return Ok(true);
                }
                Ok(Some(result)) => done(result.map_err(failed)??)?,
                Err(_) => {}
            }
            if !on_progress(&meter.now()) {
                return Ok(false);
            }
        }
    }
    .await;
    // Waits until what is dropped has let go of its files. What was finished meanwhile counts.
    running.abort_all();
    while let Some(ended) = running.join_next().await {
        if let Ok(Ok(value)) = ended {
            done(value)?;
        }
    }
    result
}

/// A task ends without a result only by a panic, which is a fault of this program.
pub(super) fn failed(error: tokio::task::JoinError) -> S3Error {
    S3Error::Client {
        reason: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(jobs: u32, stop_after: u32, bad: Option<u32>) -> (Result<bool, S3Error>, u32) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        let (mut count, mut asked) = (0, 0);
        let result = runtime.block_on(for_each(
            0..jobs,
            3,
            |job| async move {
                tokio::time::sleep(Duration::from_millis(1)).await;
                match bad {
                    Some(bad) if bad == job => Err(S3Error::NoRegion),
                    _ => Ok(1),
                }
            },
            |one| {
                count += one;
                Ok(())
            },
            &Meter::default(),
            &mut |_| {
                asked += 1;
                asked < stop_after
            },
        ));
        (result, count)
    }

    #[test]
    fn all_jobs_are_done_once() {
        let (result, count) = run(10, 99, None);
        assert!(result.unwrap());
        assert_eq!(count, 10);
    }

    #[test]
    fn the_caller_may_stop_and_an_error_ends_it() {
        let (result, count) = run(10, 4, None);
        assert!(!result.unwrap());
        assert!((1..10).contains(&count), "{count}");
        assert!(run(10, 99, Some(5)).0.is_err());
    }

    #[test]
    fn a_caller_who_waits_may_stop() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        let meter = Meter::default();
        let forever = std::future::pending::<()>();
        let stopped = runtime.block_on(while_wanted(forever, &meter, &mut |_| false));
        assert_eq!(stopped, None);
        let done = runtime.block_on(while_wanted(async { 7 }, &meter, &mut |_| false));
        assert_eq!(done, Some(7));
    }
}
