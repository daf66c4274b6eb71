//! One sentence: what holds training up, and what to do about it.
//!
//! Input: a [`Profile`] and the shares of its phases. Output: text with numbers. How they come about:
//!
//! - A training step takes `t`; of that it waits `w` for images. Without the wait it would take `t - w`, so the most that more threads or a
//!   cache can bring is `t / (t - w)`, said as "up to".
//! - An image takes a thread `d` seconds to decode. A batch of `n` must be decoded within `t - w`, which takes `n * d / (t - w)` threads.
//! - The cache must hold every image of an epoch: their mean size in it, times their number.

use super::phase::Phase;
use super::profile::{Facts, Profile, percentile_of};
use super::summary::PhaseShare;

/// A share of time that is worth a sentence.
const WORTH: f64 = 0.1;

/// See the module.
pub fn sentence(profile: &Profile, phases: &[PhaseShare]) -> String {
    let share = |phase: Phase| phases.iter().find(|share| share.phase == phase);
    let seconds = |phase: Phase| share(phase).map_or(0.0, |share| share.seconds);
    let all = seconds(Phase::Train)
        + seconds(Phase::Eval)
        + seconds(Phase::Features)
        + seconds(Phase::Checkpoint);
    if all <= 0.0 {
        return "no step of training was profiled".to_string();
    }
    let facts = profile.facts.clone().unwrap_or_default();
    let of_all = |phase: Phase| seconds(phase) / all;
    if of_all(Phase::Features) > 0.5 {
        return features(&facts, seconds(Phase::Features), all);
    }
    if of_all(Phase::Checkpoint) > WORTH {
        return format!(
            "writing checkpoints took {:.0} % of the time: a longer --checkpoint-interval saves most of it",
            100.0 * of_all(Phase::Checkpoint)
        );
    }
    let Some(step) = share(Phase::Train) else {
        return format!("evaluation took all of the {all:.0} s that were profiled");
    };
    let wait = seconds(Phase::Data) / step.seconds.max(1e-9);
    if wait > WORTH {
        return waiting(&facts, step, wait.min(0.99));
    }
    if of_all(Phase::Eval) > 0.4 {
        return format!(
            "evaluation took {:.0} % of the time, more than a validation set needs: fewer validation images would do",
            100.0 * of_all(Phase::Eval)
        );
    }
    computing(profile, &facts, phases, step)
}

/// The backbone's one pass over the images is what a frozen run consists of.
fn features(facts: &Facts, features: f64, all: f64) -> String {
    let images = facts.images.max(1) as f64;
    let decode = facts.decode_seconds * images / facts.workers.max(1) as f64;
    let what = format!(
        "computing the features of the frozen backbone took {:.0} % of the time, once: later epochs cost nearly nothing",
        100.0 * features / all
    );
    match facts.decode_seconds > 0.0 && decode > 0.5 * features {
        true => format!(
            "{what}; half of it is decoding: more --workers than {} would help",
            facts.workers
        ),
        false if facts.is_gpu => format!("{what}; nothing else is in its way"),
        false => format!(
            "{what}; the CPU computes, so a GPU or a smaller --image-size is what would make it faster"
        ),
    }
}

fn waiting(facts: &Facts, step: &PhaseShare, wait: f64) -> String {
    let device = if facts.is_gpu { "the GPU" } else { "training" };
    let mut text = format!(
        "{device} waited {:.0} % of each step for images",
        100.0 * wait
    );
    let work_ms = step.mean_ms * (1.0 - wait);
    if facts.decode_seconds > 0.0 {
        text += &format!(
            ", which take a thread {:.1} ms each to decode on {} threads",
            1e3 * facts.decode_seconds,
            facts.workers
        );
    }
    let needed =
        (facts.batch_size as f64 * facts.decode_seconds * 1e3 / work_ms.max(1e-6)).ceil() as usize;
    let mut remedies = Vec::new();
    if needed > facts.workers && facts.workers < facts.cores {
        remedies.push(format!("raise --workers to {}", needed.min(facts.cores)));
    }
    if facts.cache_needed_mb > facts.cache_mb {
        remedies.push(format!(
            "--cache-mb to {:.0}, so that they are decoded once",
            facts.cache_needed_mb.ceil()
        ));
    }
    if remedies.is_empty() && facts.cores > 0 {
        remedies.push(match facts.cached > 0 {
            true => "later epochs take them from memory and wait less".to_string(),
            false => format!(
                "{} cores are too few for it: smaller photos, or an instance with more cores",
                facts.cores
            ),
        });
    }
    if !remedies.is_empty() {
        text += ": ";
        text += &remedies.join(" or ");
    }
    text + &format!("; expected up to {:.1}x", 1.0 / (1.0 - wait))
}

/// Images are there in time; the rest is arithmetic.
fn computing(profile: &Profile, facts: &Facts, phases: &[PhaseShare], step: &PhaseShare) -> String {
    let gpu: Vec<f64> = profile.values("gpu", "GPUUtilization");
    if !gpu.is_empty() {
        let busy = percentile_of(gpu, 0.5);
        return match busy < 70.0 {
            true => format!(
                "the GPU was {busy:.0} % busy while images were there in time: steps of {} images are too small for it, a larger \
                 --batch-size would use it better",
                facts.batch_size
            ),
            false => format!(
                "the GPU was {busy:.0} % busy: nothing holds it up, --precision bfloat16 or a larger GPU is what is left"
            ),
        };
    }
    let named: Vec<String> = [Phase::Forward, Phase::Backward, Phase::Optimizer]
        .into_iter()
        .filter_map(|phase| {
            let share = phases.iter().find(|share| share.phase == phase)?;
            Some(format!(
                "{} {:.0} %",
                phase.words(),
                100.0 * share.seconds / step.seconds.max(1e-9)
            ))
        })
        .collect();
    let what = match named.is_empty() {
        true => String::new(),
        false => format!(" ({})", named.join(", ")),
    };
    match step.mean_ms < 5.0 {
        true => format!(
            "steps took {:.1} ms each{what}: nothing holds them up",
            step.mean_ms
        ),
        false => format!(
            "the CPU computed nearly all of each step of {:.0} ms{what}, images were there in time: a GPU, a smaller --image-size or \
             --freeze true is what would make it faster",
            step.mean_ms
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profiler::profile::Event;
    use crate::profiler::{Sample, Summary};

    /// Steps of a second of which so much is spent in each phase.
    fn said(parts: &[(Phase, f64)], facts: Facts, gpu: Option<f64>) -> String {
        let mut profile = Profile {
            facts: Some(facts),
            ..Default::default()
        };
        for step in 0..20u64 {
            let mut start = step as f64;
            profile.events.push(Event {
                phase: Phase::Train,
                start,
                seconds: 1.0,
                step,
            });
            for (phase, seconds) in parts {
                profile.events.push(Event {
                    phase: *phase,
                    start,
                    seconds: *seconds,
                    step,
                });
                start += seconds;
            }
            profile.samples.extend(gpu.map(|value| Sample {
                kind: "gpu".into(),
                name: "gpu0".into(),
                dimension: "GPUUtilization".into(),
                value,
                time: start,
            }));
        }
        Summary::of(&profile).sentence
    }

    fn facts() -> Facts {
        Facts {
            cores: 16,
            workers: 4,
            batch_size: 32,
            is_gpu: true,
            decode_seconds: 0.05,
            cache_needed_mb: 1699.2,
            cache_mb: 100.0,
            ..Default::default()
        }
    }

    #[test]
    fn a_gpu_that_waits_for_decoding() {
        // Without the wait a step takes 390 ms; 32 images of 50 ms need 4.1 threads for that.
        let text = said(
            &[(Phase::Data, 0.61), (Phase::Forward, 0.39)],
            facts(),
            Some(30.0),
        );
        for part in [
            "the GPU waited 61 %",
            "50.0 ms",
            "4 threads",
            "--workers to 5",
            "--cache-mb to 1700",
            "up to 2.6x",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }

    #[test]
    fn a_gpu_with_too_little_to_do_and_one_with_enough() {
        let parts = [
            (Phase::Data, 0.01),
            (Phase::Forward, 0.5),
            (Phase::Backward, 0.4),
        ];
        assert!(said(&parts, facts(), Some(35.0)).contains("--batch-size"));
        assert!(said(&parts, facts(), Some(97.0)).contains("nothing holds it up"));
    }

    #[test]
    fn a_cpu_that_computes() {
        let facts = Facts {
            is_gpu: false,
            ..facts()
        };
        let parts = [
            (Phase::Data, 0.01),
            (Phase::Forward, 0.3),
            (Phase::Backward, 0.6),
        ];
        let text = said(&parts, facts, None);
        for part in ["1000 ms", "forward 30 %", "backward 60 %", "--image-size"] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }

    #[test]
    fn checkpoints_that_take_too_long() {
        let text = said(&[(Phase::Checkpoint, 0.4)], facts(), None);
        assert!(
            text.contains("--checkpoint-interval") && text.contains("29 %"),
            "{text}"
        );
    }

    #[test]
    fn nothing_was_seen() {
        assert!(
            Summary::of(&Profile::default())
                .sentence
                .contains("no step")
        );
    }
}
