//! Where the images of a run come from: one folder with everything, or a place for each split.
//!
//! Input: folders, and perhaps a list of all classes. Output: [`Splits`].

use std::path::{Path, PathBuf};

use super::error::DataError;
use super::folder::ImageFolder;
use super::split::{SplitFolders, SplitOptions, SplitOrigin, Splits, open_test, stratify};

/// Where the images of one split are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Images {
    /// A folder with a folder per class.
    Folder(PathBuf),
}

/// Where the images of a run are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataSource {
    /// Of these images, unless `valid` says otherwise, a part is held out. A folder with split folders in it stands for those.
    pub train: Images,
    pub valid: Option<Images>,
    pub test: Option<Images>,
    /// All classes in the order of the network's outputs, where `train` may not hold images of each.
    pub classes: Option<Vec<String>>,
}

impl DataSource {
    /// Everything in one folder.
    pub fn folder(root: impl Into<PathBuf>) -> Self {
        DataSource {
            train: Images::Folder(root.into()),
            valid: None,
            test: None,
            classes: None,
        }
    }

    /// The place that stands for the whole in messages and reports.
    pub fn root(&self) -> &Path {
        match &self.train {
            Images::Folder(root) => root,
        }
    }

    /// Lists the images of each split; all index classes as the training images do.
    ///
    /// Every class must have training and validation images, unless `classes` names those that there are. What is wrong with
    /// test images is only warned of, see [`open_test`].
    ///
    /// # Errors
    /// Folders that are missing or hold no images, fewer than two classes, a class unknown to the training images, a class
    /// without images or too small to split.
    pub fn open(&self, options: &SplitOptions) -> Result<Splits, DataError> {
        let source = self.with_inner_splits()?;
        let train = source.open_train()?;
        let classes = &train.classes;
        let test = match &source.test {
            Some(Images::Folder(folder)) => open_test(folder, classes),
            None => None,
        };
        let gaps = self.classes.is_some();
        let Some(valid) = &source.valid else {
            return Splits::draw(train, test, options, gaps);
        };
        let valid = match valid {
            Images::Folder(folder) if gaps => ImageFolder::open_with_gaps(folder)?,
            Images::Folder(folder) => ImageFolder::open(folder)?,
        };
        let valid = valid.with_classes(classes)?;
        match valid.missing_classes().first() {
            Some(class) if !gaps => Err(DataError::MissingClass {
                class: class.to_string(),
                path: valid.root.clone(),
            }),
            _ => Ok(Splits {
                train,
                valid,
                test,
                origin: SplitOrigin::Folders,
            }),
        }
    }

    /// Takes the split folders that lie in the training folder; what was named apart counts more.
    fn with_inner_splits(&self) -> Result<Self, DataError> {
        let Images::Folder(root) = &self.train;
        let Some(inner) = SplitFolders::find(root)? else {
            return Ok(self.clone());
        };
        let or = |named: &Option<Images>, inner: Option<PathBuf>| {
            named.clone().or(inner.map(Images::Folder))
        };
        Ok(DataSource {
            train: Images::Folder(inner.train),
            valid: or(&self.valid, inner.valid),
            test: or(&self.test, inner.test),
            classes: self.classes.clone(),
        })
    }

    fn open_train(&self) -> Result<ImageFolder, DataError> {
        let Images::Folder(root) = &self.train;
        let train = match &self.classes {
            None => ImageFolder::open(root)?,
            Some(classes) => {
                let train = ImageFolder::open_with_gaps(root)?.with_classes(classes)?;
                let missing = train.missing_classes();
                if !missing.is_empty() {
                    tracing::warn!(
                        "{} of {} classes have no images in {}, the first is {:?}: they are not learned here",
                        missing.len(),
                        classes.len(),
                        root.display(),
                        missing[0]
                    );
                }
                train
            }
        };
        match train.classes.as_slice() {
            [class] => Err(DataError::OneClass {
                class: class.clone(),
                path: train.root,
            }),
            _ => Ok(train),
        }
    }
}

impl Splits {
    /// Holds out a part of `all` for validation. With `gaps`, classes may have no images or only one.
    ///
    /// # Errors
    /// A class too small to split, a fraction that is none.
    fn draw(
        all: ImageFolder,
        test: Option<ImageFolder>,
        options: &SplitOptions,
        gaps: bool,
    ) -> Result<Self, DataError> {
        let origin = SplitOrigin::drawn_from(&all, options);
        let (train, valid) = stratify(&all, options, gaps)?;
        Ok(Splits {
            train,
            valid,
            test,
            origin,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pictures(root: &Path, classes: &[(&str, usize)]) {
        for (class, count) in classes {
            std::fs::create_dir_all(root.join(class)).unwrap();
            for number in 0..*count {
                std::fs::write(root.join(class).join(format!("{number}.jpg")), "x").unwrap();
            }
        }
    }

    fn names(list: &[&str]) -> Option<Vec<String>> {
        Some(list.iter().map(|name| name.to_string()).collect())
    }

    #[test]
    fn splits_in_the_training_folder_are_found_and_named_ones_count_more() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for split in ["all/train", "all/valid", "all/test", "other"] {
            pictures(&at(split), &[("a", 2), ("b", 2)]);
        }
        let options = SplitOptions::default();
        let splits = DataSource::folder(at("all")).open(&options).unwrap();
        assert_eq!(splits.valid.root, at("all/valid"));
        assert_eq!(splits.test.unwrap().root, at("all/test"));
        let source = DataSource {
            valid: Some(Images::Folder(at("other"))),
            ..DataSource::folder(at("all"))
        };
        let splits = source.open(&options).unwrap();
        assert_eq!(splits.train.root, at("all/train"));
        assert_eq!(splits.valid.root, at("other"));
    }

    #[test]
    fn a_shard_is_indexed_against_all_classes() {
        let dir = tempfile::tempdir().unwrap();
        pictures(dir.path(), &[("bee", 10), ("wasp", 1)]);
        let source = DataSource {
            classes: names(&["ant", "bee", "cat", "wasp"]),
            ..DataSource::folder(dir.path())
        };
        let mut splits = source.open(&SplitOptions::default()).unwrap();
        assert_eq!(splits.train.class_counts(), [0, 8, 0, 1]);
        assert_eq!(splits.valid.class_counts(), [0, 2, 0, 0]);
        splits.max_train_samples(5, 0).unwrap();
        assert_eq!(splits.train.class_counts(), [0, 4, 0, 1]);
        let source = DataSource {
            classes: names(&["ant", "bee"]),
            ..source
        };
        let error = source
            .open(&SplitOptions::default())
            .unwrap_err()
            .to_string();
        assert!(error.contains("wasp"), "{error}");
    }
}
