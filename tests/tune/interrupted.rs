//! Studies that are killed or interrupted go on as if nothing had happened.

use std::thread;
use std::time::Duration;

use super::jobs::lasting;
use super::{study, tune};
use crate::main_job::run::Sandbox;
use crate::main_job::running::Running;

/// Trials that train everything, long enough to be met in the middle.
const SLOW: &str = "--freeze false --image-size 64 --epochs 4 --checkpoint-interval 2 --max-jobs 5 --early-stopping auto \
                    --space learning-rate=1e-5..1e-1;batch-size=4,8 --seed 7";

#[test]
fn killed_at_any_moment_it_ends_like_one_that_was_not() {
    let sandbox = Sandbox::with_pictures();
    tune(&sandbox, "whole", SLOW).succeeded();
    let mut kills = 0;
    for (line, wait) in [
        ("trial 1/5", 0),
        ("trial 1/5", 150),
        ("trial 1 completed", 60),
        ("trial 3/5", 40),
        ("trial 3/5", 250),
        ("trial 4/5", 10),
    ] {
        let mut running = Running::start(study(&sandbox, "parts", SLOW));
        // A study that was killed late no longer says the earlier lines.
        if !running.wait_for(line) {
            continue;
        }
        thread::sleep(Duration::from_millis(wait));
        running.signal("KILL");
        kills += usize::from(running.end().code.is_none());
    }
    assert!(kills >= 3, "killed {kills} times only");
    tune(&sandbox, "parts", SLOW).succeeded();
    assert_eq!(lasting(&sandbox, "parts"), lasting(&sandbox, "whole"));
    let [whole, parts] =
        ["whole", "parts"].map(|name| sandbox.read(&format!("{name}/model/model.safetensors")));
    assert!(whole == parts, "the best models differ");
}

#[test]
fn signals_end_trials_in_good_order_and_the_way_on_is_said() {
    let sandbox = Sandbox::with_pictures();
    let options = "--freeze false --image-size 64 --epochs 6 --max-jobs 2 --parallel 2";
    tune(&sandbox, "whole", options).succeeded();
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let mut running = Running::start(study(&sandbox, signal, options));
        assert!(running.wait_for("trial 2/2"));
        while !["001", "002"].iter().all(|trial| {
            let rows = std::fs::read_to_string(
                sandbox.path(&format!("{signal}/trials/{trial}/results.csv")),
            );
            rows.is_ok_and(|text| text.lines().count() > 1)
        }) {
            thread::yield_now();
        }
        running.signal(signal);
        let words = ["go on with the same command", "tune", "--max-jobs 2"];
        running.end().failed(code, &words);
        let journal = sandbox.text(&format!("{signal}/journal.jsonl"));
        assert!(journal.contains("interrupted"), "{journal}");
        tune(&sandbox, signal, options).succeeded();
        let log = sandbox.text(&format!("{signal}/trials/001/log.txt"));
        assert!(log.contains("resumed after"), "{log}");
        assert_eq!(lasting(&sandbox, signal), lasting(&sandbox, "whole"));
    }
}
