//! `manifest.json`: everything about a model but its weights.
//!
//! Input and output: the file, and [`Manifest`].

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::ArtifactError;
use super::examples::MOST_EXAMPLES;
use crate::config::Setting;
use crate::data::{Preprocess, SplitOrigin};
use crate::model::ResNetConfig;

const FORMAT: &str = "sagemaker-burn model 1";

/// A file of the model directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    pub bytes: u64,
    pub sha256: String,
}

/// What a model directory says about itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Names this format and its version.
    pub format: String,
    /// Version of the program that wrote it.
    pub version: String,
    /// Version of Burn it was built with.
    pub burn: String,
    /// When, in UTC, RFC 3339.
    pub created: String,
    pub network: ResNetConfig,
    /// In the order of the network's outputs.
    pub classes: Vec<String>,
    /// The same as torchvision's `ImageFolder.class_to_idx`.
    pub class_to_idx: BTreeMap<String, usize>,
    pub preprocess: Preprocess,
    /// Where the validation images came from: with a draw, a later evaluation has to leave out what was trained on.
    #[serde(default)]
    pub split: Option<SplitOrigin>,
    /// Figures of the exported weights, such as `validation:accuracy`. Only finite ones are written.
    #[serde(with = "finite")]
    pub metrics: BTreeMap<String, f64>,
    /// How it was trained, with the origin of each value.
    pub settings: Vec<Setting>,
    pub files: BTreeMap<String, FileEntry>,
    /// How many example photos there are of each class, in their order; empty if there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub examples: Vec<usize>,
}

impl Manifest {
    /// A manifest of this program, without files.
    pub fn new(
        network: ResNetConfig,
        classes: Vec<String>,
        preprocess: Preprocess,
        split: Option<SplitOrigin>,
        metrics: BTreeMap<String, f64>,
        settings: Vec<Setting>,
    ) -> Self {
        let class_to_idx = indices(&classes);
        Manifest {
            format: FORMAT.into(),
            version: env!("CARGO_PKG_VERSION").into(),
            burn: crate::BURN_VERSION.into(),
            created: crate::files::now_utc(),
            network,
            classes,
            class_to_idx,
            preprocess,
            split,
            metrics,
            settings,
            files: BTreeMap::new(),
            examples: Vec::new(),
        }
    }

    /// Reads and checks a manifest.
    ///
    /// # Errors
    /// A file that cannot be read, is no manifest, or contradicts itself.
    pub fn read(path: &Path) -> Result<Self, ArtifactError> {
        let text = std::fs::read_to_string(path).map_err(|source| ArtifactError::Io {
            path: path.to_owned(),
            source,
        })?;
        let bad = |message: String| ArtifactError::Manifest {
            path: path.to_owned(),
            message,
        };
        let manifest: Manifest = serde_json::from_str(&text).map_err(|e| bad(e.to_string()))?;
        manifest.check().map_err(bad)?;
        Ok(manifest)
    }

    /// Whether it can be used as it is; the file may be anybody's.
    fn check(&self) -> Result<(), String> {
        if self.format != FORMAT {
            return Err(format!(
                "format `{}`, this version reads `{FORMAT}`",
                self.format
            ));
        }
        let (classes, outputs) = (self.classes.len(), self.network.num_classes);
        if classes != outputs {
            return Err(format!(
                "{classes} classes for a network with {outputs} outputs"
            ));
        }
        let indices = indices(&self.classes);
        if indices.len() != classes {
            return Err("two classes have the same name".into());
        }
        if indices != self.class_to_idx {
            return Err("`class_to_idx` does not agree with `classes`".into());
        }
        self.preprocess.validate().map_err(|e| e.to_string())?;
        let (counted, photos) = (self.examples.len(), self.examples.iter());
        if counted != 0 && counted != classes {
            return Err(format!("`examples` counts {counted} of {classes} classes"));
        }
        // A sum that overflows is surely too many.
        let sum = photos.fold(0usize, |sum, count| sum.saturating_add(*count));
        if sum > MOST_EXAMPLES {
            return Err(format!(
                "{sum} example photos are more than {MOST_EXAMPLES}"
            ));
        }
        // A manifest names files of its own folder; anything else would make loading read where it must not.
        let is_elsewhere = |name: &&String| name.contains(['/', '\\']) || *name == "..";
        match self.files.keys().find(is_elsewhere) {
            Some(name) => Err(format!(
                "it lists the file `{name}`, which is not in its folder"
            )),
            None => Ok(()),
        }
    }

    /// Class names as a JSON array, the form in which other files carry them.
    pub fn classes_json(&self) -> String {
        serde_json::json!(self.classes).to_string()
    }

    /// Preprocessing as JSON.
    pub fn preprocess_json(&self) -> String {
        serde_json::json!(self.preprocess).to_string()
    }
}

fn indices(classes: &[String]) -> BTreeMap<String, usize> {
    classes.iter().cloned().zip(0..).collect()
}

/// JSON has no NaN: it would be written as `null`, which then is no number to read.
mod finite {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(
        metrics: &BTreeMap<String, f64>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_map(metrics.iter().filter(|(_, value)| value.is_finite()))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<String, f64>, D::Error> {
        let metrics = BTreeMap::<String, Option<f64>>::deserialize(deserializer)?;
        let known = |(name, value): (String, Option<f64>)| Some((name, value?));
        Ok(metrics.into_iter().filter_map(known).collect())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::model::Architecture;

    fn manifest() -> Manifest {
        let metrics = [("loss", f64::NAN), ("accuracy", 0.5)];
        let mut manifest = Manifest::new(
            ResNetConfig::new(Architecture::Resnet18, 2),
            vec!["ant".into(), "bee".into()],
            Preprocess::imagenet(224),
            Some(SplitOrigin::Folders),
            metrics.map(|(name, v)| (name.to_owned(), v)).into(),
            Vec::new(),
        );
        manifest.examples = vec![2, 1];
        manifest
    }

    fn read(manifest: &Value) -> Result<Manifest, ArtifactError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), manifest.to_string()).unwrap();
        Manifest::read(file.path())
    }

    #[test]
    fn the_round_trip_loses_nothing_but_what_is_no_number() {
        let expected = Manifest {
            metrics: BTreeMap::from([("accuracy".into(), 0.5)]),
            ..manifest()
        };
        assert_eq!(read(&json!(manifest())).unwrap(), expected);
        let mut with_null = json!(manifest());
        with_null["metrics"]["loss"] = Value::Null;
        assert_eq!(read(&with_null).unwrap(), expected);
    }

    #[test]
    fn what_was_written_before_splits_and_examples_were_recorded_is_read() {
        let mut old = json!(manifest());
        let old_fields = old.as_object_mut().unwrap();
        old_fields.remove("split");
        old_fields.remove("examples");
        let read = read(&old).unwrap();
        assert_eq!((read.split, read.examples), (None, Vec::new()));
    }

    #[test]
    fn values_that_cannot_be_used_are_named() {
        let cases = [
            ("/preprocess/crop", json!(0), "crop is 0"),
            ("/preprocess/resize", json!(0), "resize is 0"),
            ("/preprocess/crop", json!(4_000_000_000u32), "crop"),
            ("/preprocess/std/1", json!(0.0), "std"),
            ("/classes/1", json!("ant"), "same name"),
            ("/classes/1", json!("cat"), "class_to_idx"),
            ("/class_to_idx/ant", json!(1), "class_to_idx"),
            ("/classes", json!(["ant"]), "1 classes"),
            ("/format", json!("other"), "`other`"),
            ("/examples", json!([1]), "1 of 2 classes"),
            ("/examples", json!([1, 10_000]), "10001 example photos"),
            ("/examples", json!([1, u64::MAX]), "example photos"),
            (
                "/files",
                json!({"../x": {"bytes": 1, "sha256": ""}}),
                "../x",
            ),
        ];
        for (place, value, said) in cases {
            let mut changed = json!(manifest());
            *changed.pointer_mut(place).unwrap() = value;
            let error = read(&changed).unwrap_err().to_string();
            assert!(error.contains(said), "{place}: {error}");
        }
    }
}
