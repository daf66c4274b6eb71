//! SIGKILL at random moments: a job that is started again ends with the weights of one that was never stopped, bit for bit.

use std::{fs, thread, time::Duration};

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

/// Runs a job that is killed `kills` times at random moments and started again each time. Returns how many kills met it alive.
fn killed(job: &Job, kills: usize, longest_ms: u64, rng: &mut StdRng) -> usize {
    let mut alive = 0;
    for _ in 0..kills {
        let running = Running::start(job.command(&[]));
        thread::sleep(Duration::from_millis(rng.random_range(0..longest_ms)));
        running.signal("KILL");
        let ended = running.end();
        match ended.code {
            None => alive += 1,
            Some(code) => assert_eq!(code, 0, "{ended:#?}"),
        }
        // The platform would start a new container: only the checkpoints come back.
        for folder in ["model", "output"] {
            let _ = fs::remove_dir_all(job.at(folder));
        }
    }
    finish(job.command(&[])).succeeded();
    alive
}

#[test]
fn fifty_random_kills_change_no_bit() {
    let seed = std::env::var("SAGEMAKER_BURN_KILL_SEED").map_or(7, |text| text.parse().unwrap());
    let mut rng = StdRng::seed_from_u64(seed);
    let mut alive = 0;
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
        let [whole, parts] = [(); 2].map(|()| Job::with(&pictures::SMALL, &settings));
        let started = std::time::Instant::now();
        whole.run().succeeded();
        // Long enough to reach each part of a run.
        let longest_ms = started.elapsed().as_millis() as u64 * 9 / 10 + 10;
        let met = killed(&parts, 17, longest_ms, &mut rng);
        println!("{met} of 17 kills met the job alive: {settings:?}");
        alive += met;
        for (name, (a, b)) in RESULTS
            .iter()
            .zip(results(&whole).iter().zip(results(&parts)))
        {
            assert!(*a == b, "{name} differs with {settings:?}, seed {seed}");
        }
    }
    assert!(alive > 25, "only {alive} kills met a job alive");
}
