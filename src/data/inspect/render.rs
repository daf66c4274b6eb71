//! The report as text.
//!
//! Input: an [`Inspection`]. Output: a few lines for a terminal; long lists are cut, the JSON form holds all.

use std::fmt;

use super::{Duplicate, Inspection, Range, SplitReport};

/// How many entries of a list are printed.
const LISTED: usize = 10;

impl fmt::Display for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mebibytes = self.total_bytes as f64 / f64::from(1 << 20);
        writeln!(
            f,
            "{}: {} images, {mebibytes:.1} MiB",
            self.root.display(),
            self.images
        )?;
        for split in &self.splits {
            write!(f, "{split}")?;
        }
        if let Some(sizes) = &self.sizes {
            writeln!(f, "width    {}", sizes.width)?;
            writeln!(f, "height   {}", sizes.height)?;
        }
        let formats: Vec<String> = self
            .formats
            .iter()
            .map(|(name, images)| format!("{name} {images}"))
            .collect();
        writeln!(f, "formats  {}", formats.join(", "))?;
        if let Some(pixels) = &self.pixels {
            let list = |values: [f64; 3]| values.map(|v| format!("{v:.3}")).join(" ");
            writeln!(
                f,
                "pixels   mean {}, standard deviation {} (R G B)",
                list(pixels.mean),
                list(pixels.std)
            )?;
        }
        self.fmt_problems(f)
    }
}

impl Inspection {
    fn fmt_problems(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "broken files: {}", self.broken.len())?;
        list(f, self.broken.iter(), |file| {
            format!("{}: {}", file.path.display(), file.reason)
        })?;
        writeln!(
            f,
            "files with equal content: {} groups",
            self.duplicates.len()
        )?;
        let plain = self
            .duplicates
            .iter()
            .filter(|group| !group.across_splits && !group.across_classes);
        list(f, plain, paths)?;
        for (title, groups) in [
            (
                "LEAK: equal files in two splits",
                self.leaks().collect::<Vec<_>>(),
            ),
            (
                "LABEL CONFLICT: equal files in two classes",
                self.label_conflicts().collect(),
            ),
        ] {
            if !groups.is_empty() {
                writeln!(f, "{title}: {} groups", groups.len())?;
                list(f, groups.into_iter(), paths)?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for SplitReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:<8} {} images, {} classes",
            self.name,
            self.images,
            self.classes.len()
        )?;
        if let Some((least, most)) = self.extremes() {
            write!(
                f,
                ", {} ({:?}) to {} ({:?}) per class",
                least.images, least.name, most.images, most.name
            )?;
        }
        writeln!(f, ", imbalance {:.2}", self.imbalance())?;
        if self.unlabelled > 0 {
            writeln!(
                f,
                "  {} images lie in no class folder and are not used",
                self.unlabelled
            )?;
        }
        for (title, classes) in [
            ("no images of", &self.missing_classes),
            ("not in train:", &self.unknown_classes),
        ] {
            if !classes.is_empty() {
                writeln!(f, "  {title} {} classes", classes.len())?;
                list(f, classes.iter(), |class| format!("{class:?}"))?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} to {} pixels, median {}",
            self.min, self.max, self.median
        )
    }
}

fn paths(group: &Duplicate) -> String {
    let paths: Vec<String> = group
        .paths
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    paths.join(" = ")
}

fn list<T>(
    f: &mut fmt::Formatter<'_>,
    mut items: impl Iterator<Item = T>,
    text: impl Fn(T) -> String,
) -> fmt::Result {
    for item in items.by_ref().take(LISTED) {
        writeln!(f, "  {}", text(item))?;
    }
    match items.count() {
        0 => Ok(()),
        more => writeln!(f, "  and {more} more"),
    }
}
