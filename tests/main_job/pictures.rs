//! Tiny pictures that a network can tell apart by their colour.
//!
//! Input: a folder and the number of pictures of each class in each split. Output: `<split>/<class>/<number>.jpg|png`,
//! the same bytes every time.

use std::{fs, path::Path};

use image::{Rgb, RgbImage};

/// Class names and their colours. Natural order is not that of characters, and a name may hold a space.
pub const CLASSES: [(&str, [u8; 3]); 3] = [
    ("2.bee", [200, 60, 50]),
    ("10.ant", [60, 190, 60]),
    ("wild cat", [50, 60, 200]),
];

/// Pictures of each class in each split.
pub type Counts = [(&'static str, usize)];

/// What most tests train on.
pub const SMALL: [(&str, usize); 3] = [("train", 16), ("valid", 6), ("test", 4)];

/// Draws pictures of every class into each split of `folder`.
pub fn draw(folder: &Path, counts: &Counts) {
    for (split, count) in counts {
        for (class, _) in CLASSES {
            add(&folder.join(split), class, *count);
        }
    }
}

/// Draws the first `count` pictures of a class into `<folder>/<class>`.
pub fn add(folder: &Path, class: &str, count: usize) {
    let place = folder.join(class);
    fs::create_dir_all(&place).unwrap();
    // Splits differ, as equal files in two splits would be a leak.
    let split = folder.file_name().unwrap().to_string_lossy().len() as u64;
    let index = CLASSES.iter().position(|(name, _)| *name == class).unwrap();
    for number in 0..count {
        let seed = (split * 100 + index as u64) * 1000 + number as u64;
        let extension = if number % 2 == 0 { "jpg" } else { "png" };
        let path = place.join(format!("{number}.{extension}"));
        picture(CLASSES[index].1, seed).save(path).unwrap();
    }
}

/// Noise of all brightnesses around a colour, 40 by 36 pixels.
fn picture(colour: [u8; 3], seed: u64) -> RgbImage {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut noise = || {
        // xorshift: pictures need no better randomness.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as i32 % 70
    };
    RgbImage::from_fn(40, 36, |_, _| {
        Rgb(colour.map(|value| (i32::from(value) + noise()).clamp(0, 255) as u8))
    })
}
