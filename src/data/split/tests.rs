use super::*;
use std::collections::HashSet;
use std::fs;

fn fill(root: &Path, class: &str, images: usize) {
    fs::create_dir_all(root.join(class)).unwrap();
    for i in 0..images {
        fs::write(root.join(class).join(format!("{i}.jpg")), b"").unwrap();
    }
}

fn open(root: &Path) -> Result<Splits, DataError> {
    Splits::open(root, &SplitOptions::default())
}

#[test]
fn split_folders_under_any_of_their_names() {
    for (train, valid, test) in [("train", "valid", "test"), ("Training", "VAL", "testing")] {
        let dir = tempfile::tempdir().unwrap();
        for split in [train, valid, test] {
            fill(&dir.path().join(split), "a", 2);
            fill(&dir.path().join(split), "b", 3);
        }
        let splits = open(dir.path()).unwrap();
        assert_eq!(splits.origin, SplitOrigin::Folders);
        assert_eq!(
            [
                splits.train.len(),
                splits.valid.len(),
                splits.test.unwrap().len()
            ],
            [5, 5, 5]
        );
    }
}

#[test]
fn an_archive_unpacked_one_level_too_deep() {
    let dir = tempfile::tempdir().unwrap();
    for split in ["dogImages/train", "dogImages/valid"] {
        fill(&dir.path().join(split), "a", 1);
        fill(&dir.path().join(split), "b", 1);
    }
    assert_eq!(open(dir.path()).unwrap().train.classes, ["a", "b"]);
}

#[test]
fn class_folders_only_are_split_by_class_and_seed() {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path(), "a", 2);
    fill(dir.path(), "b", 10);
    fill(dir.path(), "c", 101);
    let splits = open(dir.path()).unwrap();
    assert_eq!(splits.train.class_counts(), [1, 8, 81]);
    assert_eq!(splits.valid.class_counts(), [1, 2, 20]);
    let train: HashSet<_> = splits.train.samples.iter().map(|s| &s.path).collect();
    assert!(
        splits
            .valid
            .samples
            .iter()
            .all(|s| !train.contains(&s.path))
    );
    assert_eq!(open(dir.path()).unwrap().valid, splits.valid);
    let other = Splits::open(
        dir.path(),
        &SplitOptions {
            seed: 1,
            ..Default::default()
        },
    )
    .unwrap();
    assert_ne!(other.valid, splits.valid);
    assert!(
        splits.origin.to_string().contains("20 %"),
        "{}",
        splits.origin
    );
}

#[test]
fn a_train_folder_without_valid_is_split_and_keeps_its_test_folder() {
    let dir = tempfile::tempdir().unwrap();
    for class in ["a", "b"] {
        fill(&dir.path().join("train"), class, 5);
    }
    fill(&dir.path().join("test"), "b", 2);
    let splits = open(dir.path()).unwrap();
    assert!(matches!(splits.origin, SplitOrigin::Stratified { .. }));
    assert_eq!(splits.valid.class_counts(), [1, 1]);
    let test = splits.test.unwrap();
    assert_eq!(
        (test.samples[0].class, test.missing_classes()),
        (1, vec!["a"])
    );
}

#[test]
fn each_unusable_layout_has_its_own_error() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    fill(&root.join("valid"), "a", 1);
    assert!(matches!(open(root), Err(DataError::NoTrainFolder { .. })));
    fill(&root.join("train"), "a", 2);
    assert!(matches!(open(root), Err(DataError::OneClass { .. })));
    fill(&root.join("train"), "b", 1);
    assert!(matches!(open(root), Err(DataError::MissingClass { class, .. }) if class == "b"));
    fill(&root.join("valid"), "c", 1);
    assert!(matches!(open(root), Err(DataError::UnknownClass { class, .. }) if class == "c"));
    fill(&root.join("val"), "a", 1);
    assert!(matches!(open(root), Err(DataError::AmbiguousSplit { .. })));
    fs::remove_dir_all(root.join("val")).unwrap();
    fs::remove_dir_all(root.join("valid")).unwrap();
    assert!(matches!(open(root), Err(DataError::SingleImageClass { class, .. }) if class == "b"));
    let options = SplitOptions {
        valid_fraction: 1.0,
        seed: 0,
    };
    assert!(matches!(
        Splits::open(root, &options),
        Err(DataError::ValidFraction { .. })
    ));
}

#[test]
fn max_train_samples_keeps_every_class_and_exactly_that_many() {
    let dir = tempfile::tempdir().unwrap();
    for (class, images) in [("a", 2), ("b", 20), ("c", 78)] {
        fill(&dir.path().join("train"), class, images);
        fill(&dir.path().join("valid"), class, 1);
    }
    let full = open(dir.path()).unwrap();
    for n in 3..=100 {
        let mut splits = full.clone();
        splits.max_train_samples(n, 7).unwrap();
        assert_eq!(splits.train.len(), n);
        assert!(splits.train.missing_classes().is_empty());
    }
    let mut splits = full.clone();
    splits.max_train_samples(50, 7).unwrap();
    assert_eq!(splits.train.class_counts(), [1, 10, 39]);
    assert!(matches!(
        splits.max_train_samples(2, 7),
        Err(DataError::TooFewSamples { .. })
    ));
}

#[test]
fn a_draw_can_be_repeated_wherever_the_images_lie_until_they_change() {
    let dir = tempfile::tempdir().unwrap();
    let (before, after) = (dir.path().join("before"), dir.path().join("after"));
    fill(&before, "a", 10);
    fill(&before, "b", 20);
    let splits = open(&before).unwrap();
    let text = serde_json::to_string(&splits.origin).unwrap();
    let origin: SplitOrigin = serde_json::from_str(&text).unwrap();
    assert_eq!(origin, splits.origin);

    fs::rename(&before, &after).unwrap();
    let names = |folder: &ImageFolder| -> Vec<PathBuf> {
        let below_root = |s: &Sample| s.path.strip_prefix(&folder.root).unwrap().to_owned();
        folder.samples.iter().map(below_root).collect()
    };
    let all = ImageFolder::open(&after).unwrap();
    let (train, valid) = redraw(&all, &origin).unwrap().unwrap();
    assert_eq!(names(&train), names(&splits.train));
    assert_eq!(names(&valid), names(&splits.valid));
    assert!(redraw(&all, &SplitOrigin::Folders).unwrap().is_none());

    fs::rename(after.join("a/0.jpg"), after.join("a/new.jpg")).unwrap();
    let changed = ImageFolder::open(&after).unwrap();
    assert!(redraw(&changed, &origin).unwrap().is_none());
}

#[test]
fn nothing_in_a_test_folder_stops_a_training() {
    let dir = tempfile::tempdir().unwrap();
    for split in ["train", "valid"] {
        fill(&dir.path().join(split), "a", 2);
        fill(&dir.path().join(split), "b", 2);
    }
    let test = dir.path().join("test");
    let test_counts = || {
        let splits = open(dir.path()).unwrap();
        splits.test.map(|test| test.class_counts())
    };
    fs::create_dir(&test).unwrap();
    assert_eq!(test_counts(), None, "empty");
    fs::write(test.join("1.jpg"), b"").unwrap();
    assert_eq!(test_counts(), None, "without labels");
    fill(&test, "unknown", 2);
    assert_eq!(test_counts(), None, "no known class");
    fs::create_dir(test.join("a")).unwrap();
    assert_eq!(test_counts(), None, "a known class without images");
    fill(&test, "b", 3);
    assert_eq!(test_counts(), Some(vec![0, 3]));
    // The other two splits stay errors.
    fs::create_dir(dir.path().join("valid/empty")).unwrap();
    assert!(matches!(
        open(dir.path()),
        Err(DataError::EmptyClass { .. })
    ));
}
