//! One demo picture: a shape somewhere on a noisy background.
//!
//! Input: a shape and a source of randomness. Output: an RGB image of about 96 by 96 pixels.

use std::ops::Range;

use image::{Rgb, RgbImage};
use rand::{Rng, RngExt};

use super::Shape;

/// Red, green and blue from 0 to 1.
type Colour = [f32; 3];

/// Channels of backgrounds, strokes and shapes. A shape is always lighter than what is behind it: with light and dark
/// exchanged at random, a few minutes of training from nothing would not be enough.
const DARK: Range<f32> = 0.0..0.5;
const MIDDLE: Range<f32> = 0.25..0.75;
const LIGHT: Range<f32> = 0.6..1.0;

/// A shape placed in pixels.
struct Placed {
    shape: Shape,
    x: f32,
    y: f32,
    /// Pixels per unit of the shape's frame.
    scale: f32,
    /// Width over height of the squeezed frame.
    stretch: f32,
    sine: f32,
    cosine: f32,
    colour: Colour,
}

/// A straight line in pixels that has nothing to do with the class.
struct Stroke {
    from: (f32, f32),
    to: (f32, f32),
    half_width: f32,
    colour: Colour,
}

/// Two colours that blend into each other across the picture.
struct Background {
    from: Colour,
    to: Colour,
    direction: (f32, f32),
}

/// Draws a random picture of `shape`.
pub(super) fn random(shape: Shape, rng: &mut impl Rng) -> RgbImage {
    let (width, height) = (rng.random_range(84..=112), rng.random_range(84..=112));
    let (w, h) = (width as f32, height as f32);
    let background = Background::random(rng);
    let strokes: Vec<Stroke> = (0..rng.random_range(0..=4))
        .map(|_| Stroke::random(w, h, rng))
        .collect();
    let placed = Placed::random(shape, w, h, rng);
    let noise = rng.random_range(0.01..0.08);
    RgbImage::from_fn(width, height, |column, row| {
        // The middle of the pixel.
        let (x, y) = (column as f32 + 0.5, row as f32 + 0.5);
        let mut colour = background.at(x / w, y / h);
        for stroke in &strokes {
            colour = mix(colour, stroke.colour, stroke.coverage(x, y));
        }
        colour = mix(colour, placed.colour, placed.coverage(x, y));
        Rgb(colour.map(|channel| level(channel + noise * rng.random_range(-1.0..1.0))))
    })
}

impl Background {
    fn random(rng: &mut impl Rng) -> Self {
        let angle: f32 = rng.random_range(0.0..std::f32::consts::TAU);
        Self {
            from: colour(DARK, rng),
            to: colour(DARK, rng),
            direction: (angle.cos(), angle.sin()),
        }
    }

    /// The colour at a place given in fractions of width and height.
    fn at(&self, x: f32, y: f32) -> Colour {
        let along = (x - 0.5) * self.direction.0 + (y - 0.5) * self.direction.1;
        mix(self.from, self.to, (along + 0.5).clamp(0.0, 1.0))
    }
}

impl Placed {
    fn random(shape: Shape, width: f32, height: f32, rng: &mut impl Rng) -> Self {
        let scale = width.min(height) * rng.random_range(0.3..0.42);
        // Near the middle, where the crops of training and evaluation look.
        let x = width * rng.random_range(0.4..0.6);
        let y = height * rng.random_range(0.4..0.6);
        let angle: f32 = rng.random_range(0.0..std::f32::consts::TAU);
        Self {
            shape,
            x,
            y,
            scale,
            stretch: rng.random_range(0.85..1.15),
            sine: angle.sin(),
            cosine: angle.cos(),
            colour: colour(LIGHT, rng),
        }
    }

    /// How much of the pixel around `(x, y)` the shape covers, from 0 to 1.
    fn coverage(&self, x: f32, y: f32) -> f32 {
        let (dx, dy) = ((x - self.x) / self.scale, (y - self.y) / self.scale);
        let along = (dx * self.cosine + dy * self.sine) / self.stretch;
        let across = (dy * self.cosine - dx * self.sine) * self.stretch;
        covered(self.shape.distance(along, across) * self.scale)
    }
}

impl Stroke {
    fn random(width: f32, height: f32, rng: &mut impl Rng) -> Self {
        let (x, y) = (rng.random_range(0.0..width), rng.random_range(0.0..height));
        let (dx, dy) = (rng.random_range(-25.0..25.0), rng.random_range(-25.0..25.0));
        Self {
            from: (x, y),
            to: (x + dx, y + dy),
            half_width: rng.random_range(0.5..2.0),
            colour: colour(MIDDLE, rng),
        }
    }

    fn coverage(&self, x: f32, y: f32) -> f32 {
        let (px, py) = (x - self.from.0, y - self.from.1);
        let (dx, dy) = (self.to.0 - self.from.0, self.to.1 - self.from.1);
        // A stroke may be a mere dot.
        let along = ((px * dx + py * dy) / (dx * dx + dy * dy).max(1e-6)).clamp(0.0, 1.0);
        covered((px - along * dx).hypot(py - along * dy) - self.half_width)
    }
}

/// Coverage of a pixel whose middle is `distance` pixels outside an outline.
fn covered(distance: f32) -> f32 {
    (0.5 - distance).clamp(0.0, 1.0)
}

fn mix(under: Colour, over: Colour, share: f32) -> Colour {
    std::array::from_fn(|channel| under[channel] * (1.0 - share) + over[channel] * share)
}

/// A colour of random hue whose channels are in `range`.
fn colour(range: Range<f32>, rng: &mut impl Rng) -> Colour {
    std::array::from_fn(|_| rng.random_range(range.clone()))
}

fn level(channel: f32) -> u8 {
    // A float cast saturates, so noise beyond black and white stays there.
    (channel * 255.0).round() as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{SeedableRng, rngs::StdRng};

    #[test]
    fn a_seed_decides_the_picture() {
        let picture = |seed| random(Shape::Star, &mut StdRng::seed_from_u64(seed));
        assert_eq!(picture(1), picture(1));
        assert_ne!(picture(1), picture(2));
    }

    #[test]
    fn edges_are_smooth() {
        assert_eq!((covered(-3.0), covered(0.0), covered(3.0)), (1.0, 0.5, 0.0));
        assert_eq!(covered(0.25), 0.25);
    }

    #[test]
    fn a_dot_of_a_stroke_covers_its_place() {
        let dot = Stroke {
            from: (5.0, 5.0),
            to: (5.0, 5.0),
            half_width: 1.0,
            colour: [0.0; 3],
        };
        assert_eq!((dot.coverage(5.0, 5.0), dot.coverage(9.0, 5.0)), (1.0, 0.0));
    }
}
