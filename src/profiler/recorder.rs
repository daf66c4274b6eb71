//! The profiler that a training loop carries.
//!
//! Input: work, wrapped in [`Profiler::measure`]. Output: events, in files as they come and in memory for the end of the run.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use burn::tensor::Device;

use super::config::{Follow, PlaceOf, ProfilerConfig};
use super::phase::Phase;
use super::profile::{Event, Facts, Profile};
use super::sampler::{Place, Sampler, Written};
use super::timeline::Timeline;

/// Steps a second whose events are kept one by one; of shorter steps some are left out, as their events would outweigh them.
const DETAILED_STEPS_PER_SECOND: f64 = 100.0;
/// Events kept in memory; then those of every other step go.
const MOST_EVENTS: usize = 200_000;
/// On a GPU each step of this number waits for it after every phase.
const EXACT_EVERY: u64 = 50;

/// What a profiler is to do.
pub struct Setup {
    /// The device, if it computes while the program goes on.
    pub gpu: Option<Device>,
    /// What is written at the start.
    pub config: ProfilerConfig,
    /// The file that may change them.
    pub follow: Option<Follow>,
    pub place_of: PlaceOf,
    pub workers: usize,
}

/// See the module.
#[derive(Default)]
pub struct Profiler(Option<Live>);

struct Live {
    gpu: Option<Device>,
    /// Pairs of one moment by both clocks.
    started: (Instant, f64),
    place: Place,
    sampler: Sampler,
    state: Mutex<State>,
    workers: usize,
}

#[derive(Debug)]
struct State {
    timeline: Timeline,
    events: Vec<Event>,
    /// Of so many steps one is kept.
    stride: u64,
    /// The training step under way, and whether its events are kept.
    step: u64,
    detailed: bool,
    last_detailed: f64,
}

impl Profiler {
    /// A profiler that does nothing.
    pub fn off() -> Self {
        Profiler::default()
    }

    /// Starts to look at the machine.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn start(setup: Setup) -> std::io::Result<Self> {
        let place = Place::new(Written {
            root: (setup.place_of)(&setup.config),
            config: setup.config,
        });
        let sampler = Sampler::start(place.clone(), setup.follow, setup.place_of)?;
        Ok(Profiler(Some(Live {
            gpu: setup.gpu,
            started: (Instant::now(), crate::files::seconds_since_epoch()),
            place,
            sampler,
            state: Mutex::new(State {
                timeline: Timeline::new(),
                events: Vec::new(),
                stride: 1,
                step: 0,
                detailed: true,
                last_detailed: f64::NEG_INFINITY,
            }),
            workers: setup.workers,
        })))
    }

    /// Begins a training step, counted within the run.
    pub(crate) fn begin(&self, step: u64) {
        if let Some(live) = &self.0 {
            let now = live.started.0.elapsed().as_secs_f64();
            let mut state = live.state();
            state.step = step;
            state.detailed = now - state.last_detailed >= 1.0 / DETAILED_STEPS_PER_SECOND;
            if state.detailed {
                state.last_detailed = now;
            }
        }
    }

    /// Does `work` and notes how long it took.
    pub(crate) fn measure<T>(&self, phase: Phase, work: impl FnOnce() -> T) -> T {
        let started = Instant::now();
        let result = work();
        self.note(phase, started);
        result
    }

    /// Notes a phase that began at `started` and ends now.
    pub(crate) fn note(&self, phase: Phase, started: Instant) {
        let Some(live) = &self.0 else { return };
        if let Some(gpu) = live.gpu.as_ref().filter(|_| phase.is_on_device()) {
            // Without waiting for the GPU this would be the time that it takes to ask.
            if !live.state().step.is_multiple_of(EXACT_EVERY) || gpu.sync().is_err() {
                return;
            }
        }
        self.note_for(phase, started, started.elapsed().as_secs_f64());
    }

    /// Notes a phase whose length is known.
    pub(crate) fn note_for(&self, phase: Phase, started: Instant, seconds: f64) {
        let Some(live) = &self.0 else { return };
        let mut state = live.state();
        if !state.detailed && phase != Phase::Checkpoint {
            return;
        }
        let since = started
            .saturating_duration_since(live.started.0)
            .as_secs_f64();
        let event = Event {
            phase,
            start: live.started.1 + since,
            seconds,
            step: state.step,
        };
        state.keep(event);
        let written = live.place.look();
        let Some(root) = &written.root else { return };
        state.timeline.add(event);
        let (bytes, age) = (written.config.rotate_bytes, written.config.rotate_seconds);
        if state.timeline.is_due(bytes, age) {
            let root = root.clone();
            drop(written);
            live.write(&mut state, &root);
        }
    }

    /// Ends the files and hands over what was seen; `None` where nothing was looked at.
    pub(crate) fn finish(self, facts: Facts) -> Option<(Profile, Option<PathBuf>)> {
        let live = self.0?;
        let root = live.place.look().root.clone();
        let events = {
            let mut state = live.state();
            if let Some(root) = &root {
                live.write(&mut state, root);
            }
            let mut events = std::mem::take(&mut state.events);
            events.sort_by(|a, b| a.start.total_cmp(&b.start));
            events
        };
        let profile = Profile {
            events,
            samples: live.sampler.finish(),
            started: live.started.1,
            facts: Some(facts),
        };
        Some((profile, root))
    }
}

impl Live {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, state: &mut State, root: &Path) {
        if let Err(error) = state.timeline.write(root, self.workers) {
            self.place.give_up(root, &error);
        }
    }
}

impl State {
    fn keep(&mut self, event: Event) {
        // By steps, so that a step which is kept has all its phases.
        if event.step.is_multiple_of(self.stride) {
            self.events.push(event);
        }
        if self.events.len() >= MOST_EVENTS {
            self.stride *= 2;
            self.events
                .retain(|event| event.step.is_multiple_of(self.stride));
        }
    }
}
