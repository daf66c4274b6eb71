//! What a training does at a time.
//!
//! Input: the name of an event. Output: a [`Phase`].

use serde::Serialize;

/// A phase of training. `Train` and `Eval` are whole steps, in which the others lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub enum Phase {
    Train,
    Eval,
    /// Waiting for images that threads decode.
    Data,
    /// Moving images to the device, and normalising them.
    Upload,
    Forward,
    Backward,
    Optimizer,
    Checkpoint,
    /// Computing the features of a frozen backbone, batch by batch.
    Features,
}

impl Phase {
    pub const ALL: [Phase; 9] = [
        Phase::Train,
        Phase::Eval,
        Phase::Data,
        Phase::Upload,
        Phase::Forward,
        Phase::Backward,
        Phase::Optimizer,
        Phase::Checkpoint,
        Phase::Features,
    ];

    /// The name of its events; those that Amazon's tools know are theirs.
    pub fn event(self) -> &'static str {
        match self {
            Phase::Train => "Step:ModeKeys.TRAIN",
            Phase::Eval => "Step:ModeKeys.EVAL",
            Phase::Data => "DataIterator",
            Phase::Upload => "HostToDevice",
            Phase::Forward => "Forward",
            Phase::Backward => "Backward",
            Phase::Optimizer => "Optimizer",
            Phase::Checkpoint => "Checkpoint",
            Phase::Features => "FeatureExtraction",
        }
    }

    /// For people.
    pub fn words(self) -> &'static str {
        match self {
            Phase::Train => "training step",
            Phase::Eval => "evaluation",
            Phase::Data => "waiting for images",
            Phase::Upload => "host to device",
            Phase::Forward => "forward",
            Phase::Backward => "backward",
            Phase::Optimizer => "optimizer",
            Phase::Checkpoint => "checkpoint",
            Phase::Features => "features of the frozen backbone",
        }
    }

    /// The phase of an event of this name, also as other hooks call it.
    pub fn of_event(name: &str) -> Option<Self> {
        let same = Phase::ALL.into_iter().find(|phase| phase.event() == name);
        same.or_else(|| match name {
            "Forward(post-pre_forward)" | "ForwardPass" => Some(Phase::Forward),
            "Backward(post-forward)" | "BackwardPass" => Some(Phase::Backward),
            name if name.starts_with("DataLoaderIter") || name.starts_with("DataIterator") => {
                Some(Phase::Data)
            }
            _ => None,
        })
    }

    /// Whether it runs on the device, where the host may be ahead.
    pub fn is_on_device(self) -> bool {
        matches!(
            self,
            Phase::Upload | Phase::Forward | Phase::Backward | Phase::Optimizer
        )
    }
}
