//! Where the images of a run come from: one folder with everything, or a place for each split.
//!
//! Input: folders, lists, `.rec` files or pipes, and perhaps a list of all classes. Output: [`Splits`].

use std::path::{Path, PathBuf};

use super::error::DataError;
use super::folder::{ImageFolder, subfolders};
use super::packed::{
    LabelledImages, PIPE_WAIT, PipeSource, RecordWrapper, find_lst, find_rec, read_lst, read_pipe,
    read_rec,
};
use super::split::{SplitFolders, SplitOptions, SplitOrigin, Splits, open_test, stratify};

/// Where the images of one split are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Images {
    /// A folder with a folder per class.
    Folder(PathBuf),
    /// A folder of `.rec` files.
    Records(PathBuf),
    /// A `.lst` file and the folder that its paths are below.
    List { list: PathBuf, images: PathBuf },
    /// The named pipe of a channel's first epoch.
    Pipe {
        fifo: PathBuf,
        wrapper: RecordWrapper,
    },
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

/// What opening may need besides the source.
#[derive(Clone, Copy)]
pub struct Opening<'a> {
    /// A folder for what comes through pipes; it must last as long as the images are used.
    pub scratch: &'a Path,
    /// Whether to give up waiting.
    pub stopped: &'a dyn Fn() -> bool,
}

impl Images {
    /// What `folder` holds: class folders, else `.rec` files, else a `.lst` file with its images.
    ///
    /// # Errors
    /// A folder that cannot be read, or holds two lists.
    pub fn in_folder(folder: &Path) -> Result<Self, DataError> {
        // A folder that cannot be read is reported when it is opened.
        if subfolders(folder).is_ok_and(|folders| folders.is_empty()) {
            if !find_rec(folder)?.is_empty() {
                return Ok(Images::Records(folder.to_owned()));
            }
            if let Some(list) = find_lst(folder)? {
                let images = folder.to_owned();
                return Ok(Images::List { list, images });
            }
        }
        Ok(Images::Folder(folder.to_owned()))
    }

    /// The place that stands for these images in messages.
    pub fn place(&self) -> &Path {
        match self {
            Images::Folder(path) | Images::Records(path) | Images::Pipe { fifo: path, .. } => path,
            Images::List { images, .. } => images,
        }
    }

    /// The images with their labels, where they are not in class folders; the inner `None` says that reading was stopped.
    fn labelled(
        &self,
        split: &str,
        opening: Opening,
    ) -> Result<Option<Option<LabelledImages>>, DataError> {
        let spool = opening.scratch.join(split);
        let read = match self {
            Images::Folder(_) => return Ok(None),
            Images::Records(folder) => read_rec(folder, &spool, opening.stopped)?,
            Images::List { list, images } => Some(read_lst(list, images)?),
            Images::Pipe { fifo, wrapper } => {
                tracing::info!(
                    "reading the {split} images from the pipe {}",
                    fifo.display()
                );
                let source = PipeSource {
                    fifo,
                    spool: &spool,
                    wrapper: *wrapper,
                    wait: PIPE_WAIT,
                };
                read_pipe(&source, opening.stopped, &mut |_| {})?
            }
        };
        Ok(Some(read))
    }
}

impl DataSource {
    /// Everything in one folder of class folders or split folders.
    pub fn folder(root: impl Into<PathBuf>) -> Self {
        Self::of(Images::Folder(root.into()))
    }

    /// Everything in one place.
    pub fn of(train: Images) -> Self {
        DataSource {
            train,
            valid: None,
            test: None,
            classes: None,
        }
    }

    /// Lists the images of each split; all index classes as the training images do. `None`: reading was stopped.
    ///
    /// Every class must have training and validation images, unless `classes` names those that there are, or labels are
    /// numbers. What is wrong with test images is only warned of, see [`open_test`].
    ///
    /// # Errors
    /// Folders that are missing or hold no images, fewer than two classes, a class unknown to the training images, a class
    /// without images or too small to split, and all that is wrong with images that are not in class folders.
    pub fn open(
        &self,
        options: &SplitOptions,
        opening: Opening,
    ) -> Result<Option<Splits>, DataError> {
        let source = self.with_inner_splits()?;
        let Some(train) = source.open_train(opening)? else {
            return Ok(None);
        };
        let gaps = self.classes.is_some() || !matches!(source.train, Images::Folder(_));
        let valid = match &source.valid {
            None => None,
            Some(valid) => match open_valid(valid, &train.classes, gaps, opening)? {
                None => return Ok(None),
                valid => valid,
            },
        };
        let test = source.test.as_ref();
        let test = test.and_then(|test| open_any_test(test, &train.classes, opening));
        let Some(valid) = valid else {
            return Splits::draw(train, test, options, gaps).map(Some);
        };
        match valid.missing_classes().first() {
            Some(class) if !gaps => Err(DataError::MissingClass {
                class: class.to_string(),
                path: valid.root.clone(),
            }),
            _ => Ok(Some(Splits {
                train,
                valid,
                test,
                origin: SplitOrigin::Folders,
            })),
        }
    }

    /// Takes the split folders that lie in the training folder; what was named apart counts more.
    fn with_inner_splits(&self) -> Result<Self, DataError> {
        let Images::Folder(root) = &self.train else {
            return Ok(self.clone());
        };
        let Some(inner) = SplitFolders::find(root)? else {
            return Ok(self.clone());
        };
        let or = |named: &Option<Images>, inner: Option<PathBuf>| match named {
            Some(named) => Ok(Some(named.clone())),
            None => inner.as_deref().map(Images::in_folder).transpose(),
        };
        Ok(DataSource {
            train: Images::in_folder(&inner.train)?,
            valid: or(&self.valid, inner.valid)?,
            test: or(&self.test, inner.test)?,
            classes: self.classes.clone(),
        })
    }

    fn open_train(&self, opening: Opening) -> Result<Option<ImageFolder>, DataError> {
        let given = self.classes.as_deref();
        let train = match (self.train.labelled("train", opening)?, given) {
            (Some(None), _) => return Ok(None),
            (Some(Some(labelled)), _) => {
                let classes = labelled.classes(given)?;
                labelled.into_folder(&classes)?
            }
            (None, None) => ImageFolder::open(self.train.place())?,
            (None, Some(classes)) => {
                ImageFolder::open_with_gaps(self.train.place())?.with_classes(classes)?
            }
        };
        if let [class] = train.classes.as_slice() {
            return Err(DataError::OneClass {
                class: class.clone(),
                path: train.root,
            });
        }
        let missing = train.missing_classes();
        if let Some(first) = missing.first() {
            tracing::warn!(
                "{} of {} classes have no images in {}, the first is {first:?}: they are not learned here",
                missing.len(),
                train.classes.len(),
                self.train.place().display()
            );
        }
        Ok(Some(train))
    }
}

fn open_valid(
    valid: &Images,
    classes: &[String],
    gaps: bool,
    opening: Opening,
) -> Result<Option<ImageFolder>, DataError> {
    let found = match valid.labelled("validation", opening)? {
        Some(None) => return Ok(None),
        Some(Some(labelled)) => labelled.into_folder(classes)?,
        None if gaps => ImageFolder::open_with_gaps(valid.place())?.with_classes(classes)?,
        None => ImageFolder::open(valid.place())?.with_classes(classes)?,
    };
    Ok(Some(found))
}

/// Nothing that is wrong with test images is worth a training.
fn open_any_test(test: &Images, classes: &[String], opening: Opening) -> Option<ImageFolder> {
    let labelled = match test.labelled("test", opening) {
        Ok(None) => return open_test(test.place(), classes),
        Ok(Some(labelled)) => labelled?.into_folder(classes),
        Err(error) => Err(error),
    };
    match labelled {
        Ok(folder) => Some(folder),
        Err(error) => {
            tracing::warn!("no test images: {error}");
            None
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
mod tests;
