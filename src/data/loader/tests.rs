use std::fs;
use std::path::Path;

use image::Rgb;

use super::*;

const CROP: u32 = 16;

/// Two classes of small PNG pictures, all different; the files named in `broken` hold text.
fn folder(dir: &Path, images: usize, broken: &[usize]) -> ImageFolder {
    for i in 0..images {
        let path = dir
            .join(if i % 3 == 0 { "a" } else { "b" })
            .join(format!("{i}.png"));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        if broken.contains(&i) {
            fs::write(&path, b"not an image").unwrap();
        } else {
            let tint = (i * 11) as u8;
            RgbImage::from_fn(40, 30, |x, y| Rgb([tint, x as u8 * 6, y as u8 * 8]))
                .save(&path)
                .unwrap();
        }
    }
    ImageFolder::open(dir).unwrap()
}

fn config(batch_size: usize, mode: Mode) -> LoaderConfig {
    let preprocess = Preprocess {
        resize: 18,
        crop: CROP,
        ..Preprocess::imagenet(224)
    };
    LoaderConfig {
        workers: 2,
        ..LoaderConfig::new(batch_size, preprocess, mode)
    }
}

fn train(augmentation: Augmentation) -> Mode {
    Mode::Train {
        augmentation,
        seed: 42,
    }
}

fn batches(loader: &Loader, epoch: u64, first_batch: usize) -> Vec<Batch> {
    loader
        .epoch(epoch, first_batch)
        .map(Result::unwrap)
        .collect()
}

#[test]
fn evaluation_visits_every_image_once_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let loader = Loader::new(folder(dir.path(), 11, &[]), config(4, Mode::Eval));
    let batches = batches(&loader, 0, 0);
    assert_eq!(batches.len(), loader.batches_per_epoch());
    assert_eq!(
        batches.iter().map(|b| b.targets.len()).collect::<Vec<_>>(),
        [4, 4, 3]
    );
    let indices: Vec<usize> = batches.iter().flat_map(|b| b.indices.clone()).collect();
    assert_eq!(indices, (0..11).collect::<Vec<_>>());
    for batch in &batches {
        assert_eq!((batch.height, batch.width), (CROP as usize, CROP as usize));
        assert_eq!(
            batch.images.len(),
            batch.targets.len() * (CROP * CROP * 3) as usize
        );
        let expected: Vec<usize> = batch
            .indices
            .iter()
            .map(|&i| loader.folder().samples[i].class)
            .collect();
        assert_eq!(batch.targets, expected);
    }
}

#[test]
fn batches_do_not_depend_on_threads_prefetching_or_cache() {
    let dir = tempfile::tempdir().unwrap();
    let folder = folder(dir.path(), 13, &[5]);
    for augmentation in [
        Augmentation::None,
        Augmentation::Crop,
        Augmentation::CropColor,
        Augmentation::Trivial,
    ] {
        let base = Loader::new(
            folder.clone(),
            LoaderConfig {
                workers: 1,
                ..config(4, train(augmentation))
            },
        );
        let expected: Vec<Vec<Batch>> = (0..2).map(|epoch| batches(&base, epoch, 0)).collect();
        for (workers, prefetch_batches, budget_bytes) in
            [(1, 0, 1 << 20), (3, 2, 0), (8, 5, 20_000)]
        {
            let cache = Arc::new(ImageCache::new(budget_bytes));
            let config = LoaderConfig {
                workers,
                prefetch_batches,
                cache,
                ..config(4, train(augmentation))
            };
            let loader = Loader::new(folder.clone(), config);
            for (epoch, expected) in expected.iter().enumerate() {
                assert_eq!(
                    &batches(&loader, epoch as u64, 0),
                    expected,
                    "{augmentation:?}, {workers} workers"
                );
            }
        }
    }
}

#[test]
fn epochs_and_seeds_differ_in_order_and_pixels() {
    let dir = tempfile::tempdir().unwrap();
    let folder = folder(dir.path(), 12, &[]);
    let loader = Loader::new(folder.clone(), config(12, train(Augmentation::Crop)));
    let other = Mode::Train {
        augmentation: Augmentation::Crop,
        seed: 43,
    };
    let variants = [
        batches(&loader, 0, 0),
        batches(&loader, 1, 0),
        batches(&Loader::new(folder, config(12, other)), 0, 0),
    ];
    for (i, first) in variants.iter().enumerate() {
        for second in &variants[i + 1..] {
            assert_ne!(first[0].indices, second[0].indices);
        }
        let mut indices = first[0].indices.clone();
        indices.sort_unstable();
        assert_eq!(indices, (0..12).collect::<Vec<_>>());
    }
}

#[test]
fn a_resumed_epoch_continues_without_decoding_what_it_skips() {
    let dir = tempfile::tempdir().unwrap();
    let folder = folder(dir.path(), 12, &[]);
    let full = batches(
        &Loader::new(folder.clone(), config(4, train(Augmentation::Crop))),
        3,
        0,
    );
    let config = LoaderConfig {
        cache: Arc::new(ImageCache::new(1 << 20)),
        ..config(4, train(Augmentation::Crop))
    };
    let resumed = Loader::new(folder, config);
    assert_eq!(batches(&resumed, 3, 2), full[2..]);
    assert_eq!(resumed.config().cache.len(), 4, "what was decoded is kept");
    assert_eq!(batches(&resumed, 3, 3), []);
    assert_eq!(batches(&resumed, 3, usize::MAX), []);
}

#[test]
fn a_broken_file_costs_its_place_in_the_batch_and_is_recorded_once() {
    let dir = tempfile::tempdir().unwrap();
    let loader = Loader::new(folder(dir.path(), 9, &[3, 4, 7]), config(3, Mode::Eval));
    for epoch in 0..2 {
        let indices: Vec<Vec<usize>> = batches(&loader, epoch, 0)
            .into_iter()
            .map(|b| b.indices)
            .collect();
        // The folder's order is a/0 a/3 a/6, b/1 b/2 b/4, b/5 b/7 b/8.
        assert_eq!(indices, [vec![0, 2], vec![3, 4], vec![6, 8]]);
    }
    let names: Vec<_> = loader
        .skipped()
        .iter()
        .map(|s| s.path.file_name().unwrap().to_owned())
        .collect();
    assert_eq!(names, ["3.png", "4.png", "7.png"]);
    assert!(
        loader.skipped()[0].reason.contains("not a JPEG"),
        "{:?}",
        loader.skipped()
    );
}

#[test]
fn a_batch_of_broken_files_is_not_yielded_and_an_epoch_of_them_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let loader = Loader::new(folder(dir.path(), 6, &[0, 3]), config(2, Mode::Eval));
    assert_eq!(
        batches(&loader, 0, 0)
            .iter()
            .map(|b| b.index)
            .collect::<Vec<_>>(),
        [1, 2]
    );

    let dir = tempfile::tempdir().unwrap();
    let loader = Loader::new(folder(dir.path(), 4, &[0, 1, 2, 3]), config(2, Mode::Eval));
    let mut epoch = loader.epoch(0, 0);
    assert!(matches!(
        epoch.next(),
        Some(Err(DataError::AllBroken { images: 4, .. }))
    ));
    assert!(epoch.next().is_none());
}

#[test]
fn strict_makes_a_broken_file_an_error_that_names_it() {
    let dir = tempfile::tempdir().unwrap();
    let config = LoaderConfig {
        strict: true,
        ..config(4, Mode::Eval)
    };
    let loader = Loader::new(folder(dir.path(), 10, &[7]), config);
    let mut epoch = loader.epoch(0, 0);
    let errors: Vec<String> = epoch
        .by_ref()
        .filter_map(Result::err)
        .map(|e| e.to_string())
        .collect();
    assert_eq!(errors.len(), 1);
    assert!(
        errors[0].contains("7.png") && errors[0].contains("--strict"),
        "{}",
        errors[0]
    );
    assert!(epoch.next().is_none());
}

#[test]
fn later_epochs_come_from_the_cache() {
    for mode in [
        Mode::Eval,
        train(Augmentation::None),
        train(Augmentation::CropColor),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let config = LoaderConfig {
            cache: Arc::new(ImageCache::new(1 << 20)),
            ..config(3, mode)
        };
        let loader = Loader::new(folder(dir.path(), 8, &[]), config);
        batches(&loader, 0, 0);
        assert_eq!(loader.config().cache.len(), 8);
        fs::remove_dir_all(dir.path()).unwrap();
        let images = |batches: Vec<Batch>| batches.iter().map(|b| b.targets.len()).sum::<usize>();
        assert_eq!(images(batches(&loader, 1, 0)), 8);
    }
}

#[test]
fn dropping_an_epoch_early_ends_its_threads() {
    let dir = tempfile::tempdir().unwrap();
    let loader = Loader::new(
        folder(dir.path(), 12, &[]),
        config(2, train(Augmentation::Crop)),
    );
    let mut epoch = loader.epoch(0, 0);
    epoch.next().unwrap().unwrap();
    drop(epoch);
    // Joined threads have let go of what they shared.
    assert_eq!(Arc::strong_count(&loader.source), 1);
    drop(loader.epoch(1, 0));
    assert_eq!(Arc::strong_count(&loader.source), 1);
}

#[test]
fn prefetching_stays_within_its_window() {
    let dir = tempfile::tempdir().unwrap();
    let config = LoaderConfig {
        prefetch_batches: 1,
        cache: Arc::new(ImageCache::new(1 << 20)),
        ..config(2, Mode::Eval)
    };
    let cache = Arc::clone(&config.cache);
    let loader = Loader::new(folder(dir.path(), 12, &[]), config);
    let mut epoch = loader.epoch(0, 0);
    epoch.next().unwrap().unwrap();
    epoch.next().unwrap().unwrap();
    // Two batches taken, the next two at most begun.
    assert!(cache.len() <= 8, "{}", cache.len());
}

#[test]
fn a_panic_in_a_thread_is_an_error_not_a_hang() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(2, Mode::Eval);
    // An invalid size that `Preprocess::validate` refuses makes the resampling fail in the thread.
    config.preprocess.resize = 0;
    config.preprocess.crop = u32::MAX;
    let loader = Loader::new(folder(dir.path(), 4, &[]), config);
    let first = loader.epoch(0, 0).next();
    assert!(
        matches!(first, Some(Err(DataError::WorkerPanicked { .. }))),
        "{:?}",
        first.map(|r| r.map(|b| b.index))
    );
}

#[test]
fn a_class_of_which_no_file_can_be_read_is_named() {
    let dir = tempfile::tempdir().unwrap();
    // Class a holds 0, 3, 6; class b 1, 2, 4, 5.
    let mut folder = folder(dir.path(), 7, &[0, 3, 6, 4]);
    folder.classes.push("without images".into());
    let loader = Loader::new(folder, config(3, Mode::Eval));
    assert_eq!(unreadable_classes(loader.folder(), &[]), [""; 0]);
    assert_eq!(batches(&loader, 0, 0).len(), 2);
    assert_eq!(
        unreadable_classes(loader.folder(), &loader.skipped()),
        ["a"]
    );
}
