//! Brings images and their labels together.
//!
//! Input: the records of a stream or file, in order: im2rec records, or image and label in turn. Output: each image with
//! its label.

use super::error::{At, PackedError};
use super::image_record::Payload;
use super::label::{self, Label, NoLabel};

/// How much of a text an error shows, in characters.
const SHOWN: usize = 80;

/// Images of kind `T` found so far.
pub(super) struct Pairing<T> {
    /// An image whose label must be the next record.
    waiting: Option<(At, T)>,
    labelled: Vec<(T, Label)>,
}

impl<T> Pairing<T> {
    pub fn new() -> Self {
        Self {
            waiting: None,
            labelled: Vec::new(),
        }
    }

    /// Takes the next record. `keep` stores the image that begins at this byte of the payload; it is not asked to where
    /// the record is not welcome.
    ///
    /// # Errors
    /// The record holds nothing of use, or something else than its neighbours let expect; those of `keep`.
    pub fn accept(
        &mut self,
        at: At,
        payload: Payload<'_>,
        keep: impl FnOnce(u64) -> Result<T, PackedError>,
    ) -> Result<(), PackedError> {
        match payload {
            Payload::Text(text) => self.text(at, text),
            Payload::Image => {
                self.expect_image()?;
                self.waiting = Some((at, keep(0)?));
                Ok(())
            }
            Payload::Labelled { label, image_at } => {
                self.expect_image()?;
                let Some(label) = label::from_number(label) else {
                    return Err(PackedError::BadNumber { at, label });
                };
                self.labelled.push((keep(image_at)?, label));
                Ok(())
            }
            Payload::MultiLabel { labels } => Err(PackedError::MultiLabel { at, labels }),
            Payload::RecordIo => Err(PackedError::Nested { at }),
            Payload::Unknown => Err(PackedError::UnknownPayload { at }),
        }
    }

    fn expect_image(&self) -> Result<(), PackedError> {
        match &self.waiting {
            None => Ok(()),
            Some((at, _)) if self.labelled.is_empty() => {
                Err(PackedError::NoLabels { at: at.clone() })
            }
            Some((at, _)) => Err(PackedError::LabelMissing { at: at.clone() }),
        }
    }

    fn text(&mut self, at: At, text: &str) -> Result<(), PackedError> {
        let shown = || text.trim().chars().take(SHOWN).collect();
        let Some((_, image)) = self.waiting.take() else {
            return Err(PackedError::LabelFirst { at, text: shown() });
        };
        let label = label::from_text(text).map_err(|reason| match reason {
            NoLabel::Empty => PackedError::EmptyLabel { at },
            NoLabel::Compound => PackedError::CompoundLabel { at, label: shown() },
        })?;
        self.labelled.push((image, label));
        Ok(())
    }

    /// The images, in the order they came. Empty if there was no record.
    ///
    /// # Errors
    /// The last image has no label.
    pub fn finish(self) -> Result<Vec<(T, Label)>, PackedError> {
        match self.waiting {
            None => {
                let mut labelled = self.labelled;
                label::unify(labelled.iter_mut().map(|(_, label)| label));
                Ok(labelled)
            }
            Some((at, _)) if self.labelled.is_empty() => Err(PackedError::NoLabels { at }),
            Some((at, _)) => Err(PackedError::OddRecords { at }),
        }
    }
}
