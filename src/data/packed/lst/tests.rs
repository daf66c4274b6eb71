//! Image lists.

use std::fs;

use proptest::prelude::*;

use super::*;

/// Reads a list whose image folder has the files `present`.
fn read(list: &[u8], present: &[&str]) -> (tempfile::TempDir, Result<LabelledImages, PackedError>) {
    let folder = tempfile::tempdir().unwrap();
    let images = folder.path().join("train");
    fs::create_dir(&images).unwrap();
    for name in present {
        let path = images.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, b"").unwrap();
    }
    let path = folder.path().join("train.lst");
    fs::write(&path, list).unwrap();
    let result = read_lst(&path, &images);
    (folder, result)
}

/// The message with the folder's name left out.
fn message(list: &[u8]) -> String {
    let (folder, result) = read(list, &["a.jpg"]);
    let folder = format!("{}/", folder.path().display());
    result.unwrap_err().to_string().replace(&folder, "")
}

fn names(list: &str) -> Option<Vec<String>> {
    let first = list.split(['\t', '\n']).nth(2).unwrap();
    read(list.as_bytes(), &[first]).1.unwrap().names
}

#[test]
fn lines_as_im2rec_and_windows_write_them() {
    let list =
        b"\xef\xbb\xbf5\t1.000000\tdog/a b.jpg\r\n\r\n7\t0\t./cat/2.jpg\n \n8\t0\tcat/missing.jpg\t";
    let (folder, images) = read(list, &["cat/2.jpg"]);
    let images = images.unwrap();
    assert_eq!(images.root, folder.path().join("train"));
    assert_eq!(
        images.names.as_deref(),
        Some(&["cat".to_string(), "dog".to_string()][..])
    );
    let found: Vec<_> = images
        .images
        .iter()
        .map(|i| {
            (
                i.path.strip_prefix(&images.root).unwrap().to_str().unwrap(),
                i.label.clone(),
            )
        })
        .collect();
    assert_eq!(
        found,
        [
            ("dog/a b.jpg", Label::Index(1)),
            ("cat/2.jpg", Label::Index(0)),
            ("cat/missing.jpg", Label::Index(0)),
        ]
    );
}

#[test]
fn names_are_known_only_where_folders_and_labels_agree() {
    let known = names("1\t1\tdog/1.jpg\n2\t0\tcat/1.jpg\n3\t1\tdog/deep/2.jpg\n").unwrap();
    assert_eq!(known, ["cat", "dog"]);
    for (list, why) in [
        (
            "1\t0\tcat/1.jpg\n2\t1\tcat/2.jpg\n",
            "one folder, two labels",
        ),
        (
            "1\t0\tcat/1.jpg\n2\t0\tdog/2.jpg\n",
            "two folders, one label",
        ),
        (
            "1\t0\tcat/1.jpg\n2\t2\tdog/2.jpg\n",
            "a label without images",
        ),
        ("1\t0\t1.jpg\n2\t1\t2.jpg\n", "no folders"),
    ] {
        assert_eq!(names(list), None, "{why}");
    }
}

#[test]
fn lines_that_cannot_be_used_are_named() {
    assert_eq!(
        message(b"1\t0\ta.jpg\n2 0 b.jpg\n"),
        "line 2 of train.lst has 1 of three columns; write number, label and path with tabs between them"
    );
    assert_eq!(
        message(b"\n1\t0\t3\ta.jpg\n"),
        "line 2 of train.lst has 4 columns, thus several labels, and an image must have one; write number, label and path"
    );
    assert_eq!(
        message(b"1\t0\t\xff.jpg\n"),
        "line 1 of train.lst is not UTF-8 text; save the list as UTF-8"
    );
    for label in ["2.5", "-1", "nan", "dog", "", "03"] {
        assert_eq!(
            message(format!("1\t{label}\ta.jpg\n").as_bytes()),
            format!(
                "line 1 of train.lst has the label {label:?}, and a label must be a whole number from 0 on"
            )
        );
    }
    for path in ["../a.jpg", "/a.jpg", "cat/../../a.jpg", "."] {
        assert_eq!(
            message(format!("1\t0\t{path}\n").as_bytes()),
            format!(
                "line 1 of train.lst has the path {path:?}, which leaves the image folder; write paths relative to it"
            )
        );
    }
}

#[test]
fn lists_that_cannot_be_used() {
    assert_eq!(
        message(b"1\t0\tcat/1.jpg\n2\t1\tcat/2.jpg\n"),
        "none of the 2 images that train.lst lists is in train, not even the first, \"cat/1.jpg\"; write paths relative to \
         that folder"
    );
    assert_eq!(
        message(b"\n"),
        "train.lst lists no images; write a line with number, label and path for each"
    );
    assert_eq!(
        message(b"1\t0\ta.jpg\n2\t0\tb.jpg\n3\t1\t./a.jpg\n"),
        "lines 1 and 3 of train.lst give \"a.jpg\" different labels; keep one"
    );
    let (_folder, twice) = read(b"1\t0\ta.jpg\n2\t0\ta.jpg\n", &["a.jpg"]);
    assert_eq!(twice.unwrap().images.len(), 1);
}

#[test]
fn the_list_of_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(find_lst(folder.path()).unwrap(), None);
    let (one, two) = (folder.path().join("1.LST"), folder.path().join("2.lst"));
    fs::write(&one, b"").unwrap();
    fs::write(folder.path().join("a.jpg"), b"").unwrap();
    assert_eq!(find_lst(folder.path()).unwrap(), Some(one.clone()));
    fs::write(&two, b"").unwrap();
    assert_eq!(
        find_lst(folder.path()).unwrap_err().to_string(),
        format!(
            "{} and {} are both image lists; keep one .lst file per channel",
            one.display(),
            two.display()
        )
    );
    assert!(find_lst(&folder.path().join("none")).is_err());
}

proptest! {
    #[test]
    fn no_bytes_panic(list in prop::collection::vec(prop_oneof![Just(b'\t'), Just(b'\n'), Just(b'1'), any::<u8>()], 0..100)) {
        let _ = read(&list, &[]);
    }

    #[test]
    fn no_text_panics(lines in prop::collection::vec("[0-9]{1,3}\t[0-9.]{1,4}\t[a-c./]{1,8}", 0..6)) {
        let _ = read(lines.join("\n").as_bytes(), &["a"]);
    }
}
