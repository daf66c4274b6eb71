use super::*;

fn pictures(root: &Path, classes: &[(&str, usize)]) {
    for (class, count) in classes {
        std::fs::create_dir_all(root.join(class)).unwrap();
        for number in 0..*count {
            std::fs::write(root.join(class).join(format!("{number}.jpg")), "x").unwrap();
        }
    }
}

fn open(source: &DataSource, options: &SplitOptions) -> Result<Splits, DataError> {
    let opening = Opening {
        scratch: Path::new("/nowhere"),
        stopped: &|| false,
    };
    source.open(options, opening).map(Option::unwrap)
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
    let splits = open(&DataSource::folder(at("all")), &options).unwrap();
    assert_eq!(splits.valid.root, at("all/valid"));
    assert_eq!(splits.test.unwrap().root, at("all/test"));
    let source = DataSource {
        valid: Some(Images::Folder(at("other"))),
        ..DataSource::folder(at("all"))
    };
    let splits = open(&source, &options).unwrap();
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
    let mut splits = open(&source, &SplitOptions::default()).unwrap();
    assert_eq!(splits.train.class_counts(), [0, 8, 0, 1]);
    assert_eq!(splits.valid.class_counts(), [0, 2, 0, 0]);
    splits.max_train_samples(5, 0).unwrap();
    assert_eq!(splits.train.class_counts(), [0, 4, 0, 1]);
    let source = DataSource {
        classes: names(&["ant", "bee"]),
        ..source
    };
    let error = open(&source, &SplitOptions::default())
        .unwrap_err()
        .to_string();
    assert!(error.contains("wasp"), "{error}");
}
