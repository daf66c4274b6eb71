use super::*;

fn touch(root: &Path, files: &[&str]) {
    for file in files {
        let path = root.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, b"").unwrap();
    }
}

fn relative(folder: &ImageFolder) -> Vec<(String, usize)> {
    let strip = |p: &Path| {
        p.strip_prefix(&folder.root)
            .unwrap()
            .to_string_lossy()
            .into_owned()
    };
    folder
        .samples
        .iter()
        .map(|s| (strip(&s.path), s.class))
        .collect()
}

#[test]
fn natural_order_nested_folders_hidden_files_and_any_case() {
    let dir = tempfile::tempdir().unwrap();
    touch(
        dir.path(),
        &[
            "10.b/x.JPG",
            "9.a/2.png",
            "9.a/10.jpeg",
            "9.a/sub/1.gif",
            "9.a/.hidden.jpg",
            "9.a/notes.txt",
            "loose.jpg",
        ],
    );
    touch(dir.path(), &[".ipynb_checkpoints/a.jpg", "__MACOSX/a.jpg"]);
    let folder = ImageFolder::open(dir.path()).unwrap();
    assert_eq!(folder.classes, ["9.a", "10.b"]);
    let expected = [
        ("9.a/2.png", 0),
        ("9.a/10.jpeg", 0),
        ("9.a/sub/1.gif", 0),
        ("10.b/x.JPG", 1),
    ];
    assert_eq!(relative(&folder), expected.map(|(p, c)| (p.to_string(), c)));
    assert_eq!(folder.class_to_idx()["10.b"], 1);
    assert_eq!(folder.class_counts(), [3, 1]);
}

#[test]
fn odd_names_survive() {
    let dir = tempfile::tempdir().unwrap();
    touch(
        dir.path(),
        &[
            "golden retriever/a b.jpg",
            "🐕/line\nbreak.png",
            "ü/%20#?.bmp",
        ],
    );
    let folder = ImageFolder::open(dir.path()).unwrap();
    assert_eq!(folder.len(), 3);
    assert!(folder.classes.contains(&"🐕".to_string()));
    assert!(folder.samples.iter().all(|s| s.path.exists()));
}

#[cfg(unix)]
#[test]
fn names_that_are_not_utf8_survive_or_clash_loudly() {
    use std::os::unix::ffi::OsStrExt;
    let odd = |bytes: &'static [u8]| Path::new(std::ffi::OsStr::from_bytes(bytes));
    let dir = tempfile::tempdir().unwrap();
    touch(dir.path(), &["a/1.jpg"]);
    fs::create_dir(dir.path().join(odd(b"b\xff"))).unwrap();
    fs::write(dir.path().join(odd(b"b\xff")).join(odd(b"\xfe.jpg")), b"").unwrap();
    let folder = ImageFolder::open(dir.path()).unwrap();
    assert!(folder.samples[1].path.exists());
    fs::create_dir(dir.path().join(odd(b"b\xfe"))).unwrap();
    assert!(matches!(
        ImageFolder::open(dir.path()),
        Err(DataError::ClassNameClash { .. })
    ));
}

#[cfg(unix)]
#[test]
fn links_are_followed_without_loops_and_dangling_ones_are_kept() {
    use std::os::unix::fs::symlink;
    let dir = tempfile::tempdir().unwrap();
    touch(dir.path(), &["a/1.jpg", "elsewhere/pool/2.jpg"]);
    symlink(dir.path().join("a"), dir.path().join("a/loop")).unwrap();
    symlink("/nonexistent/3.jpg", dir.path().join("a/3.jpg")).unwrap();
    symlink(dir.path().join("elsewhere/pool"), dir.path().join("b")).unwrap();
    fs::rename(dir.path().join("elsewhere"), dir.path().join(".elsewhere")).unwrap();
    fs::remove_file(dir.path().join("b")).unwrap();
    symlink(dir.path().join(".elsewhere/pool"), dir.path().join("b")).unwrap();
    let folder = ImageFolder::open(dir.path()).unwrap();
    let expected = [("a/1.jpg", 0), ("a/3.jpg", 0), ("b/2.jpg", 1)];
    assert_eq!(relative(&folder), expected.map(|(p, c)| (p.to_string(), c)));
}

#[test]
fn each_unusable_folder_has_its_own_error() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    assert!(matches!(
        ImageFolder::open(root.join("no")),
        Err(DataError::Missing { .. })
    ));
    touch(root, &["x.jpg"]);
    assert!(matches!(
        ImageFolder::open(root.join("x.jpg")),
        Err(DataError::NotAFolder { .. })
    ));
    assert!(matches!(
        ImageFolder::open(root),
        Err(DataError::NoClasses {
            loose_images: 1,
            ..
        })
    ));
    touch(root, &["a/readme.txt"]);
    let message = ImageFolder::open(root).unwrap_err().to_string();
    assert!(
        message.contains("no images") && message.contains("webp"),
        "{message}"
    );
    touch(root, &["b/1.jpg"]);
    assert!(
        matches!(ImageFolder::open(root), Err(DataError::EmptyClass { class, .. }) if class == "a")
    );
}

#[test]
fn reindexing_follows_the_given_classes() {
    let dir = tempfile::tempdir().unwrap();
    touch(dir.path(), &["cat/1.jpg", "dog/1.jpg"]);
    let folder = ImageFolder::open(dir.path()).unwrap();
    let classes = ["dog", "bird", "cat"].map(String::from);
    let reindexed = folder.with_classes(&classes).unwrap();
    assert_eq!(
        relative(&reindexed),
        [("dog/1.jpg".to_string(), 0), ("cat/1.jpg".to_string(), 2)]
    );
    assert_eq!(reindexed.missing_classes(), ["bird"]);
    let unknown = folder.with_classes(&classes[..2]).unwrap_err();
    assert!(
        matches!(&unknown, DataError::UnknownClass { class, .. } if class == "cat"),
        "{unknown}"
    );
}

#[test]
fn the_images_of_one_folder_are_those_a_class_would_have() {
    let dir = tempfile::tempdir().unwrap();
    touch(
        dir.path(),
        &["10.jpg", "9.PNG", ".hidden.jpg", "notes.txt", "sub/1.jpg"],
    );
    fs::create_dir(dir.path().join("folder.jpg")).unwrap();
    let found = images_in(dir.path()).unwrap();
    assert_eq!(found, ["9.PNG", "10.jpg"].map(|name| dir.path().join(name)));
    assert!(matches!(
        images_in(&dir.path().join("no")),
        Err(DataError::Missing { .. })
    ));
}

#[test]
fn gaps_are_only_taken_where_they_are_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    touch(dir.path(), &["a/1.jpg", "c/1.jpg"]);
    fs::create_dir(dir.path().join("b")).unwrap();
    let folder = ImageFolder::open_with_gaps(dir.path()).unwrap();
    assert_eq!(
        (folder.class_counts(), folder.missing_classes()),
        (vec![1, 0, 1], vec!["b"])
    );
    let known = ["c", "d"].map(String::from);
    assert_eq!(folder.unknown_classes(&known), ["a", "b"]);
    assert_eq!(
        relative(&folder.of_classes(&known)),
        [("c/1.jpg".to_string(), 0)]
    );
}

#[test]
fn messages_show_paths_as_they_are_typed() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("my photos");
    fs::create_dir(&root).unwrap();
    let message = |root: &Path| ImageFolder::open(root).unwrap_err().to_string();
    let bare = message(&root);
    assert!(
        bare.starts_with(&format!("{} has no class folders; put", root.display())),
        "{bare}"
    );
    touch(&root, &["1.jpg"]);
    assert!(message(&root).contains("(one image lies loose in it)"));
    touch(&root, &["2.jpg"]);
    assert!(message(&root).contains("(2 images lie loose in it)"));
}
