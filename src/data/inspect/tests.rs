use std::fs;

use image::{Rgb, RgbImage};

use super::*;

fn save(root: &Path, file: &str, image: &RgbImage) {
    let path = root.join(file);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    image.save(path).unwrap();
}

fn flat(tint: u8) -> RgbImage {
    RgbImage::from_pixel(10, 20, Rgb([tint, 0, 255]))
}

fn run(root: &Path) -> Inspection {
    inspect(
        root,
        &InspectOptions {
            workers: 3,
            ..Default::default()
        },
        &|_, _| {},
    )
    .unwrap()
}

#[test]
fn a_data_set_with_every_kind_of_trouble() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    save(root, "train/a/1.png", &flat(51));
    save(root, "train/a/2.png", &flat(51));
    save(root, "train/a/3.bmp", &flat(102));
    save(
        root,
        "train/b/1.png",
        &RgbImage::from_pixel(30, 40, Rgb([153, 0, 255])),
    );
    save(root, "valid/a/leak.bmp", &flat(102));
    save(root, "valid/b/conflict.png", &flat(51));
    fs::write(root.join("train/b/broken.jpg"), b"no image").unwrap();
    fs::write(root.join("train/b/empty.jpg"), b"").unwrap();
    fs::write(root.join("train/b/empty2.jpg"), b"").unwrap();

    let report = run(root);
    assert_eq!(report.images, 9);
    let counts: Vec<Vec<usize>> = report
        .splits
        .iter()
        .map(|s| s.classes.iter().map(|c| c.images).collect())
        .collect();
    assert_eq!(counts, [vec![3, 4], vec![1, 1]]);
    assert_eq!(report.splits[0].imbalance(), 4.0 / 3.0);
    assert_eq!(report.formats, BTreeMap::from([("PNG", 4), ("BMP", 2)]));
    let sizes = report.sizes.unwrap();
    assert_eq!(
        sizes.width,
        Range {
            min: 10,
            median: 10,
            max: 30
        }
    );
    assert_eq!(
        sizes.height,
        Range {
            min: 20,
            median: 20,
            max: 40
        }
    );
    let broken: Vec<_> = report
        .broken
        .iter()
        .map(|b| (b.path.to_str().unwrap(), b.reason.as_str()))
        .collect();
    assert_eq!(
        broken[0],
        (
            "train/b/broken.jpg",
            "not a JPEG, PNG, WebP, GIF, BMP or TIFF file"
        )
    );
    assert_eq!(
        broken[1..],
        [
            ("train/b/empty.jpg", "the file is empty"),
            ("train/b/empty2.jpg", "the file is empty")
        ]
    );

    let groups: Vec<_> = report
        .duplicates
        .iter()
        .map(|d| (d.paths.len(), d.across_splits, d.across_classes))
        .collect();
    assert_eq!(groups, [(3, true, true), (2, true, false)]);
    assert_eq!(
        (report.leaks().count(), report.label_conflicts().count()),
        (2, 1)
    );

    let text = report.to_string();
    for part in [
        "9 images",
        "LEAK",
        "LABEL CONFLICT",
        "the file is empty",
        "PNG 4",
        "imbalance 1.33",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
}

#[test]
fn pixel_statistics_weigh_images_equally_and_leave_validation_out() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    save(root, "train/a/1.png", &flat(0));
    save(
        root,
        "train/b/1.png",
        &RgbImage::from_pixel(100, 100, Rgb([255, 0, 255])),
    );
    save(
        root,
        "valid/a/1.png",
        &RgbImage::from_pixel(5, 5, Rgb([255, 255, 0])),
    );
    save(
        root,
        "valid/b/1.png",
        &RgbImage::from_pixel(6, 5, Rgb([255, 255, 0])),
    );
    let pixels = run(root).pixels.unwrap();
    assert_eq!(
        (pixels.mean, pixels.std),
        ([0.5, 0.0, 1.0], [0.5, 0.0, 0.0])
    );
}

#[test]
fn class_folders_alone_and_classes_that_differ_between_splits() {
    let dir = tempfile::tempdir().unwrap();
    save(dir.path(), "a/1.png", &flat(1));
    save(dir.path(), "b/1.png", &flat(2));
    assert_eq!(run(dir.path()).splits[0].name, "all");

    let dir = tempfile::tempdir().unwrap();
    for (i, file) in [
        "train/a/1.png",
        "train/b/1.png",
        "val/a/1.png",
        "val/c/1.png",
    ]
    .into_iter()
    .enumerate()
    {
        save(dir.path(), file, &flat(i as u8));
    }
    let report = run(dir.path());
    assert_eq!(report.splits[1].missing_classes, ["b"]);
    assert_eq!(report.splits[1].unknown_classes, ["c"]);
    assert!(report.to_string().contains("not in train"));
}

#[test]
fn progress_counts_every_file_and_json_has_the_fields() {
    let dir = tempfile::tempdir().unwrap();
    for i in 0..7 {
        save(dir.path(), &format!("{}/{i}.png", i % 2), &flat(i));
    }
    let calls = std::sync::Mutex::new(Vec::new());
    let report = inspect(dir.path(), &InspectOptions::default(), &|done, total| {
        calls.lock().unwrap().push((done, total))
    });
    let mut calls = calls.into_inner().unwrap();
    calls.sort_unstable();
    assert_eq!(calls, (1..=7).map(|done| (done, 7)).collect::<Vec<_>>());
    let json = serde_json::to_value(report.unwrap()).unwrap();
    assert_eq!(json["splits"][0]["classes"][0]["images"], 4);
    assert_eq!(json["pixels"]["mean"].as_array().unwrap().len(), 3);
}

#[cfg(unix)]
#[test]
fn a_name_that_is_not_utf8_does_not_cost_the_report() {
    use std::os::unix::ffi::OsStrExt;
    let dir = tempfile::tempdir().unwrap();
    save(dir.path(), "a/1.png", &flat(1));
    save(dir.path(), "b/1.png", &flat(2));
    let odd = std::ffi::OsStr::from_bytes(b"\xff.png");
    fs::copy(dir.path().join("a/1.png"), dir.path().join("a").join(odd)).unwrap();
    fs::write(dir.path().join("b").join(odd), b"broken").unwrap();
    let json = serde_json::to_value(run(dir.path())).unwrap();
    assert_eq!(json["broken"][0]["path"], "b/\u{fffd}.png");
    assert_eq!(json["duplicates"][0]["paths"][1], "a/\u{fffd}.png");
}

#[test]
fn unlabelled_images_and_classes_without_images_are_findings() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    for (i, file) in ["train/a/1.png", "train/b/1.png", "train/b/2.png"]
        .into_iter()
        .enumerate()
    {
        save(root, file, &flat(i as u8));
    }
    save(root, "valid/a/1.png", &flat(10));
    fs::create_dir(root.join("valid/b")).unwrap();
    save(root, "test/1.png", &flat(11));
    save(root, "test/2.png", &flat(12));
    fs::create_dir(root.join("train/c")).unwrap();

    let report = run(root);
    let [train, valid, test] = &report.splits[..] else {
        panic!("{report:?}")
    };
    assert_eq!((train.images, train.missing_classes.len()), (3, 1));
    assert_eq!(valid.missing_classes, ["b", "c"]);
    assert_eq!((test.images, test.unlabelled), (0, 2));
    assert_eq!(test.missing_classes, ["a", "b", "c"]);
    let text = report.to_string();
    for part in [
        "2 images lie in no class folder",
        "test     0 images, 0 classes",
        "no images of 3 classes",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }

    // Nothing but loose images: there is no data set to describe.
    let error = inspect(root.join("test"), &InspectOptions::default(), &|_, _| {}).unwrap_err();
    assert!(error.to_string().contains("2 images lie loose"), "{error}");
}
