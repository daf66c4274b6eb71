//! What the server counts.
//!
//! Input: requests and batches as they end. Output: the text that Prometheus scrapes at `/metrics`.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of the buckets of latencies, in seconds.
const LATENCIES: [f64; 12] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0,
];
/// Upper bounds of the buckets of batch sizes, in images.
const BATCHES: [f64; 7] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0];
/// Status codes that are told apart.
const CODES: [u16; 12] = [200, 400, 404, 405, 406, 408, 409, 413, 415, 429, 500, 503];

/// Counters of a server.
#[derive(Default)]
pub struct Metrics {
    codes: [AtomicU64; CODES.len()],
    latency: Histogram<{ LATENCIES.len() }>,
    compute: Histogram<{ LATENCIES.len() }>,
    batches: Histogram<{ BATCHES.len() }>,
    in_flight: AtomicU64,
}

struct Histogram<const N: usize> {
    buckets: [AtomicU64; N],
    count: AtomicU64,
    /// In millionths.
    sum: AtomicU64,
}

impl<const N: usize> Default for Histogram<N> {
    fn default() -> Self {
        Histogram {
            buckets: std::array::from_fn(|_| AtomicU64::default()),
            count: AtomicU64::default(),
            sum: AtomicU64::default(),
        }
    }
}

impl<const N: usize> Histogram<N> {
    fn add(&self, bounds: &[f64; N], value: f64) {
        if let Some(bucket) = bounds.iter().position(|bound| value <= *bound) {
            self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        }
        self.count.fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add((value * 1e6) as u64, Ordering::Relaxed);
    }

    fn render(&self, out: &mut String, name: &str, help: &str, bounds: &[f64; N]) {
        let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} histogram");
        let mut below = 0;
        for (bound, count) in bounds.iter().zip(&self.buckets) {
            below += count.load(Ordering::Relaxed);
            let _ = writeln!(out, "{name}_bucket{{le=\"{bound}\"}} {below}");
        }
        let count = self.count.load(Ordering::Relaxed);
        let sum = self.sum.load(Ordering::Relaxed) as f64 / 1e6;
        let _ = writeln!(
            out,
            "{name}_bucket{{le=\"+Inf\"}} {count}\n{name}_sum {sum}\n{name}_count {count}"
        );
    }
}

/// A request that is being answered, as long as it lives.
pub struct InFlight<'a>(&'a Metrics);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Metrics {
    /// A request has come.
    pub fn begin(&self) -> InFlight<'_> {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(self)
    }

    /// A request was answered.
    pub fn request(&self, code: u16, took: Duration) {
        if let Some(at) = CODES.iter().position(|known| *known == code) {
            self.codes[at].fetch_add(1, Ordering::Relaxed);
        }
        self.latency.add(&LATENCIES, took.as_secs_f64());
    }

    /// A batch went through the network.
    pub fn batch(&self, images: usize, took: Duration) {
        self.batches.add(&BATCHES, images as f64);
        self.compute.add(&LATENCIES, took.as_secs_f64());
    }

    /// The text format of Prometheus, version 0.0.4; `model` tells one model from another.
    pub fn render(&self, model: &str) -> String {
        let mut out = String::new();
        let requests = "sagemaker_burn_requests_total";
        let _ = writeln!(
            out,
            "# HELP {requests} Answered invocations.\n# TYPE {requests} counter"
        );
        for (code, count) in CODES.iter().zip(&self.codes) {
            let count = count.load(Ordering::Relaxed);
            if count > 0 || *code == 200 {
                let _ = writeln!(out, "{requests}{{code=\"{code}\"}} {count}");
            }
        }
        let in_flight = self.in_flight.load(Ordering::Relaxed);
        let _ = writeln!(
            out,
            "# HELP sagemaker_burn_requests_in_flight Invocations that are being answered.\n\
             # TYPE sagemaker_burn_requests_in_flight gauge\n\
             sagemaker_burn_requests_in_flight {in_flight}"
        );
        let seconds = "sagemaker_burn_request_seconds";
        self.latency.render(
            &mut out,
            seconds,
            "From the first byte to the answer.",
            &LATENCIES,
        );
        let compute = "sagemaker_burn_compute_seconds";
        self.compute
            .render(&mut out, compute, "A batch in the network.", &LATENCIES);
        let images = "sagemaker_burn_batch_images";
        self.batches
            .render(&mut out, images, "Images of a batch.", &BATCHES);
        let _ = writeln!(
            out,
            "# HELP sagemaker_burn_model_info The model that is served.\n\
             # TYPE sagemaker_burn_model_info gauge\n\
             sagemaker_burn_model_info{{version=\"{model}\"}} 1"
        );
        if let Some(bytes) = crate::memory::peak_bytes() {
            let _ = writeln!(
                out,
                "# HELP sagemaker_burn_peak_memory_bytes Most physical memory held so far.\n\
                 # TYPE sagemaker_burn_peak_memory_bytes gauge\n\
                 sagemaker_burn_peak_memory_bytes {bytes}"
            );
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_add_up_as_prometheus_wants_them() {
        let metrics = Metrics::default();
        metrics.request(200, Duration::from_millis(7));
        metrics.request(413, Duration::from_millis(40));
        metrics.request(200, Duration::from_secs(100));
        let in_flight = metrics.begin();
        let text = metrics.render("abc");
        for line in [
            "sagemaker_burn_requests_total{code=\"200\"} 2",
            "sagemaker_burn_requests_total{code=\"413\"} 1",
            "sagemaker_burn_request_seconds_bucket{le=\"0.005\"} 0",
            "sagemaker_burn_request_seconds_bucket{le=\"0.01\"} 1",
            "sagemaker_burn_request_seconds_bucket{le=\"60\"} 2",
            "sagemaker_burn_request_seconds_bucket{le=\"+Inf\"} 3",
            "sagemaker_burn_request_seconds_sum 100.047",
            "sagemaker_burn_requests_in_flight 1",
            "sagemaker_burn_model_info{version=\"abc\"} 1",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} in {text}");
        }
        drop(in_flight);
        assert!(metrics.render("abc").contains("in_flight 0"));
    }
}
