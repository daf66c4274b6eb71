//! SIGKILL at random moments: a job that is started again ends with the weights of one that was never stopped, bit for bit.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::job::Job;
use crate::main_job::{pictures, run::finish, running::Running};

/// Everything that depends on the weights.
const RESULTS: [&str; 4] = [
    "model/model.safetensors",
    "model/model.onnx",
    "checkpoints/best.safetensors",
    "output/data/confusion.csv",
];

fn results(job: &Job) -> Vec<Vec<u8>> {
    RESULTS.map(|name| fs::read(job.at(name)).unwrap()).into()
}

/// Starts a job again and again and kills it at a random moment, until `kills` met it alive. Whenever it was faster, its results
/// must be `expected`, and it begins anew. Ends with a job that was killed and is then left alone.
fn killed(job: &Job, kills: usize, longest_ms: u64, rng: &mut StdRng, expected: &[Vec<u8>]) {
    let mut alive = 0;
    while alive < kills {
        let running = Running::start(job.command(&[]));
        thread::sleep(Duration::from_millis(rng.random_range(0..longest_ms)));
        running.signal("KILL");
        let ended = running.end();
        match ended.code {
            None => alive += 1,
            Some(code) => {
                assert_eq!(code, 0, "{ended:#?}");
                assert_same(job, expected);
                fs::remove_dir_all(job.at("checkpoints")).unwrap();
            }
        }
        // The platform would start a new container: only the checkpoints come back.
        for folder in ["model", "output"] {
            let _ = fs::remove_dir_all(job.at(folder));
        }
    }
    finish(job.command(&[])).succeeded();
    assert_same(job, expected);
}

fn assert_same(job: &Job, expected: &[Vec<u8>]) {
    for (name, (a, b)) in RESULTS.iter().zip(results(job).iter().zip(expected)) {
        assert!(a == b, "{name} is not that of a job that was never stopped");
    }
}

#[test]
fn fifty_random_kills_change_no_bit() {
    let seed = std::env::var("SAGEMAKER_BURN_KILL_SEED").map_or(7, |text| text.parse().unwrap());
    let mut rng = StdRng::seed_from_u64(seed);
    for settings in [
        // Full training with everything that carries state from step to step, a checkpoint at every other one.
        vec![
            ("freeze", "false"),
            ("epochs", "12"),
            ("image-size", "96"),
            ("augmentation", "crop"),
            ("mixup", "0.2"),
            ("ema-decay", "0.9"),
            ("grad-accumulation", "2"),
            ("checkpoint-interval", "2"),
        ],
        // Features computed once, checkpoints by the step.
        vec![
            ("freeze", "true"),
            ("epochs", "100"),
            ("checkpoint-interval", "30"),
        ],
        // Checkpoints so seldom that most kills come before the first one.
        vec![
            ("freeze", "false"),
            ("epochs", "8"),
            ("image-size", "64"),
            ("checkpoint-interval", "40"),
        ],
    ] {
        let job = Job::with(&pictures::SMALL, &settings);
        let started = Instant::now();
        job.run().succeeded();
        let expected = results(&job);
        // Long enough to reach each part of a run.
        let longest_ms = started.elapsed().as_millis() as u64;
        for folder in ["checkpoints", "model", "output"] {
            fs::remove_dir_all(job.at(folder)).unwrap();
        }
        println!("seed {seed}, {settings:?}");
        killed(&job, 17, longest_ms, &mut rng, &expected);
    }
}
