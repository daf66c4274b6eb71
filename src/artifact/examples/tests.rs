//! Which photos become examples, and when none do.

use std::sync::atomic::AtomicUsize;

use image::{Rgb, RgbImage};

use super::*;

/// Two classes: a broken file and three photos, and a class of broken files only.
fn pictures(root: &Path) -> ImageFolder {
    for class in ["ant", "bee"] {
        fs::create_dir_all(root.join(class)).unwrap();
        fs::write(root.join(class).join("0.jpg"), "broken").unwrap();
    }
    for n in 1..4 {
        // Wider than high, with a border that the square leaves out.
        let image = RgbImage::from_fn(90, 30, |x, _| match x {
            30..60 => Rgb([n * 60, 100, 100]),
            _ => Rgb([255; 3]),
        });
        image.save(root.join(format!("ant/{n}.png"))).unwrap();
    }
    ImageFolder::open(root).unwrap()
}

fn always() -> Option<DecodeLimits> {
    Some(DecodeLimits::default())
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn the_first_readable_ones_are_cut_square() {
    let dir = tempfile::tempdir().unwrap();
    let train = pictures(&dir.path().join("data"));
    let model = dir.path().join("model");
    let saved = save_examples(&model, &train, 2, 2, &always).unwrap();
    assert_eq!(saved.counts, [2, 0]);
    assert!(!saved.cut_short);
    let (class, why) = saved.failed.unwrap();
    assert_eq!(class, "bee");
    assert!(why.contains("0.jpg"), "{why}");
    assert_eq!(names(&model), ["examples"]);
    assert_eq!(names(&model.join("examples")), ["0000-1.jpg", "0000-2.jpg"]);
    for n in 1..3u8 {
        let bytes = read_example(&model, &example_name(0, n.into())).unwrap();
        let image = image::load_from_memory(&bytes).unwrap().to_rgb8();
        assert_eq!(image.dimensions(), (SIDE, SIDE));
        for at in [(1, 1), (110, 110), (56, 56)] {
            let red = i32::from(image[at].0[0]);
            assert!((red - i32::from(n) * 60).abs() < 8, "{at:?}: {red}");
        }
    }
}

#[test]
fn what_was_there_before_goes() {
    let dir = tempfile::tempdir().unwrap();
    let train = pictures(&dir.path().join("data"));
    let model = dir.path().join("model");
    save_examples(&model, &train, 3, 1, &always).unwrap();
    assert_eq!(names(&model.join(EXAMPLES)).len(), 3);
    fs::create_dir(model.join(UNFINISHED)).unwrap();
    save_examples(&model, &train, 1, 1, &always).unwrap();
    assert_eq!(names(&model.join(EXAMPLES)), ["0000-1.jpg"]);
    let saved = save_examples(&model, &train, 0, 1, &always).unwrap();
    assert_eq!(saved, SavedExamples::default());
    assert!(names(&model).is_empty());
}

#[test]
fn it_ends_when_it_is_told_to() {
    let dir = tempfile::tempdir().unwrap();
    let train = pictures(&dir.path().join("data"));
    let model = dir.path().join("model");
    let asked = AtomicUsize::new(0);
    // The broken file and one photo.
    let limits = || (asked.fetch_add(1, Ordering::Relaxed) < 2).then(DecodeLimits::default);
    let saved = save_examples(&model, &train, 3, 1, &limits).unwrap();
    assert!(saved.cut_short);
    assert_eq!(saved.counts, [1, 0]);
    let saved = save_examples(&model, &train, 3, 1, &|| None).unwrap();
    assert!(saved.cut_short && saved.counts.is_empty());
    assert!(names(&model).is_empty());
}

#[test]
fn only_examples_are_read() {
    for name in ["0000-1.jpg", "9999-12345.jpg"] {
        assert!(is_example_name(name), "{name}");
    }
    for name in [
        "",
        "000-1.jpg",
        "00000-1.jpg",
        "0000-.jpg",
        "0000-1.png",
        "0000-1/../x.jpg",
        "../manifest.json",
        "+000-1.jpg",
        "0000-123456.jpg",
    ] {
        assert!(!is_example_name(name), "{name}");
    }
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join(EXAMPLES);
    fs::create_dir(&place).unwrap();
    fs::write(place.join("0000-1.jpg"), vec![0; 65_536]).unwrap();
    fs::write(place.join("0000-2.jpg"), vec![0; 65_537]).unwrap();
    fs::create_dir(place.join("0000-3.jpg")).unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink("0000-1.jpg", place.join("0000-4.jpg")).unwrap();
    let read = |name: &str| read_example(dir.path(), name);
    assert_eq!(read("0000-1.jpg").unwrap().len(), 65_536);
    for name in ["0000-2.jpg", "0000-3.jpg", "0000-4.jpg", "0000-5.jpg", "x"] {
        assert!(read(name).is_err(), "{name}");
    }
}
