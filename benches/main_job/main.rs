//! How fast the main job is, piece by piece: loading, evaluation, a training step, a frozen epoch.
//!
//! ```text
//! cargo bench --bench main_job -- --data ./dogImages --weights resnet18.onnx
//! cargo bench --bench main_job -- --list
//! ```
//!
//! The executable that `cargo bench --features cuda --bench main_job --no-run` names can be copied to a machine without a
//! toolchain and run there with `--bench --device cuda --precision bfloat16`.
//!
//! Input: a folder of photos, an ONNX file; without them the rows that need photos are left out and the network is random.
//! Output: one JSON object per row on stdout, a table on stderr. `benches/compare.py` runs this beside the peers.
//! Every row runs the library's own code; photos are in the page cache after the warm-up.

mod learner;
mod rows;

use std::error::Error;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use clap::Parser;
use serde_json::json;

use rows::{Needs, ROWS, Samples, Setup};
use sagemaker_burn::config::Precision;
use sagemaker_burn::device::DeviceRequest;

/// Times the pieces of the main job.
#[derive(Debug, Parser)]
pub struct Options {
    /// Folder of photos, with or without train/; rows that load photos need it
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// ResNet18 in ONNX (default: random weights, which are as fast)
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
    /// Threads of the computation, and of the loader in rows that end in -wN (default: the number of cores)
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Where to compute: cpu, cuda or cuda:N
    #[arg(long, value_name = "DEVICE", default_value = "cpu")]
    device: DeviceRequest,
    /// Number format of the convolutions
    #[arg(long, value_enum, default_value_t = Precision::Float32)]
    precision: Precision,
    /// Photos per epoch, spread over the folder; 0 for all
    #[arg(long, value_name = "N", default_value_t = 256)]
    images: usize,
    /// Timed repetitions of each row; short ones are repeated for a second
    #[arg(long, value_name = "N", default_value_t = 5)]
    repeats: usize,
    /// Only rows whose name contains one of these texts
    #[arg(long, value_name = "TEXT", value_delimiter = ',')]
    rows: Vec<String>,
    /// A smoke test: one repetition over 32 photos
    #[arg(long)]
    quick: bool,
    /// Print the names of the rows and stop
    #[arg(long)]
    list: bool,
    /// Passed by `cargo bench`; absent under `cargo test`, where nothing is to be measured
    #[arg(long, hide = true)]
    bench: bool,
}

/// Burn's CPU backend takes its threads from here, once per process.
const THREADS: &str = "RAYON_NUM_THREADS";

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let mut options = Options::parse();
    if !options.bench {
        eprintln!("nothing measured: run `cargo bench --bench main_job -- --help`");
        return Ok(ExitCode::SUCCESS);
    }
    if options.list {
        ROWS.iter().for_each(|row| println!("{}", row.name));
        return Ok(ExitCode::SUCCESS);
    }
    let cores = std::thread::available_parallelism()?.get();
    let threads = options.threads.unwrap_or(cores).max(1);
    if std::env::var(THREADS).ok() != Some(threads.to_string()) {
        // The variable must be set before the first thread starts, so in a process of its own.
        let status = Command::new(std::env::current_exe()?)
            .args(std::env::args_os().skip(1))
            .env(THREADS, threads.to_string())
            .status()?;
        return Ok(if status.success() {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        });
    }
    if options.quick {
        (options.repeats, options.images) = (1, 32);
    }
    measure(&Setup::new(&options, threads)?, &options)?;
    Ok(ExitCode::SUCCESS)
}

fn measure(setup: &Setup, options: &Options) -> Result<(), Box<dyn Error>> {
    eprintln!(
        "{}, {} threads, {} repetitions\n{:<22} {:>10} {:>23} {:>12}",
        setup.device_name,
        setup.threads,
        setup.repeats,
        "row",
        "median ms",
        "min .. max ms",
        "images/s"
    );
    let chosen = |name: &str| {
        options.rows.is_empty() || options.rows.iter().any(|text| name.contains(text.as_str()))
    };
    for row in ROWS.iter().filter(|row| chosen(row.name)) {
        let missing = match row.needs {
            Needs::Photos if options.data.is_none() => "--data",
            Needs::Gpu if setup.device_name == "cpu" => "--device cuda",
            _ => {
                report(row.name, setup, options, &(row.measure)(setup)?);
                continue;
            }
        };
        eprintln!("{:<22} left out: it needs {missing}", row.name);
    }
    Ok(())
}

fn report(name: &str, setup: &Setup, options: &Options, samples: &Samples) {
    let mut sorted = samples.seconds.clone();
    sorted.sort_by(f64::total_cmp);
    let (min, max) = (sorted[0], sorted[sorted.len() - 1]);
    let median = (sorted[(sorted.len() - 1) / 2] + sorted[sorted.len() / 2]) / 2.0;
    let images_per_second = samples.images as f64 / median;
    let line = json!({
        "row": name,
        "who": "sagemaker-burn",
        "threads": setup.threads,
        "device": setup.device_name,
        "precision": options.precision.to_string(),
        "images": samples.images,
        "seconds": samples.seconds,
        "median_s": median,
        "min_s": min,
        "max_s": max,
        "images_per_second": images_per_second,
    });
    println!("{line}");
    let spread = format!("{:.1} .. {:.1}", 1e3 * min, 1e3 * max);
    eprintln!(
        "{name:<22} {:>10.1} {spread:>23} {images_per_second:>12.1}",
        1e3 * median
    );
}
