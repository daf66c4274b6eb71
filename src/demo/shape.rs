//! The shapes of the demo pictures, as signed distance functions.
//!
//! Input: a point in a frame where a shape reaches about 1 from the origin. Output: the distance to the shape's outline,
//! negative inside, in the same unit. Distances give smooth edges at any size and angle.

use std::f32::consts::PI;

/// A class of the demo pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Fields in two alternating kinds.
    Checkerboard,
    /// A full disc.
    Circle,
    /// Two crossed bars.
    Cross,
    /// A disc with a hole.
    Ring,
    /// Four equal sides.
    Square,
    /// Five points.
    Star,
    /// Parallel bars.
    Stripes,
    /// Three equal sides.
    Triangle,
}

impl Shape {
    /// All shapes, in the order of their names.
    pub const ALL: [Self; 8] = [
        Self::Checkerboard,
        Self::Circle,
        Self::Cross,
        Self::Ring,
        Self::Square,
        Self::Star,
        Self::Stripes,
        Self::Triangle,
    ];

    /// The class name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Checkerboard => "checkerboard",
            Self::Circle => "circle",
            Self::Cross => "cross",
            Self::Ring => "ring",
            Self::Square => "square",
            Self::Star => "star",
            Self::Stripes => "stripes",
            Self::Triangle => "triangle",
        }
    }

    /// Signed distance of `(x, y)` to the outline.
    pub(super) fn distance(self, x: f32, y: f32) -> f32 {
        match self {
            Self::Checkerboard => checkerboard(x, y),
            Self::Circle => x.hypot(y) - 0.9,
            Self::Cross => rectangle(x, y, 1.0, 0.3).min(rectangle(x, y, 0.3, 1.0)),
            Self::Ring => (x.hypot(y) - 0.75).abs() - 0.2,
            Self::Square => rectangle(x, y, 0.8, 0.8),
            Self::Star => star(x, y),
            Self::Stripes => stripes(x, y),
            Self::Triangle => triangle(x, y),
        }
    }
}

fn rectangle(x: f32, y: f32, half_width: f32, half_height: f32) -> f32 {
    (x.abs() - half_width).max(y.abs() - half_height)
}

/// The farthest outside of three lines at equal distance from the centre.
fn triangle(x: f32, y: f32) -> f32 {
    let slanted = x.abs() * (PI / 6.0).cos() - y * (PI / 6.0).sin();
    slanted.max(y) - 0.5
}

/// One half of one point, repeated around the centre: a straight edge from a tip to a notch.
fn star(x: f32, y: f32) -> f32 {
    const TIP: f32 = 1.1;
    const NOTCH: f32 = 0.45;
    let sector = PI / 5.0;
    let angle = y.atan2(x).rem_euclid(2.0 * sector);
    // Mirrored, so that the tip is at angle 0 and the notch at `sector`.
    let angle = angle.min(2.0 * sector - angle);
    let (point_x, point_y) = (x.hypot(y) * angle.cos(), x.hypot(y) * angle.sin());
    let (edge_x, edge_y) = (NOTCH * sector.cos() - TIP, NOTCH * sector.sin());
    ((point_x - TIP) * edge_y - point_y * edge_x) / edge_x.hypot(edge_y)
}

/// Distance to the nearest whole multiple of `period`.
fn to_nearest(value: f32, period: f32) -> f32 {
    (value - (value / period).round() * period).abs()
}

/// Four bars, as wide as the gaps between them.
fn stripes(x: f32, y: f32) -> f32 {
    const PERIOD: f32 = 0.5;
    let bars = to_nearest(x + PERIOD / 2.0, PERIOD) - PERIOD / 4.0;
    bars.max(rectangle(x, y, 1.0, 0.9))
}

/// Four by four fields.
fn checkerboard(x: f32, y: f32) -> f32 {
    const FIELD: f32 = 0.45;
    // Only the three lines inside the board: a light field has no outline at the border.
    let to_line = |value: f32| (value - (value / FIELD).round().clamp(-1.0, 1.0) * FIELD).abs();
    let to_outline = to_line(x).min(to_line(y));
    // Beyond the border goes on what is inside it, or half-covered pixels would draw the border.
    let field = |value: f32| (value / FIELD).floor().clamp(-2.0, 1.0);
    let is_dark = (field(x) + field(y)).rem_euclid(2.0) < 1.0;
    let fields = if is_dark { -to_outline } else { to_outline };
    fields.max(rectangle(x, y, 2.0 * FIELD, 2.0 * FIELD))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether points are inside, from left to right along `y`.
    fn row(shape: Shape, y: f32, xs: &[f32]) -> String {
        xs.iter()
            .map(|&x| if shape.distance(x, y) < 0.0 { '#' } else { '.' })
            .collect()
    }

    #[test]
    fn shapes_are_where_their_names_say() {
        assert_eq!(
            row(Shape::Circle, 0.0, &[-1.0, -0.8, 0.0, 0.8, 1.0]),
            ".###."
        );
        assert_eq!(row(Shape::Circle, 0.7, &[-0.7, 0.0, 0.7]), ".#.");
        assert_eq!(
            row(Shape::Square, 0.7, &[-0.9, -0.7, 0.0, 0.7, 0.9]),
            ".###."
        );
        assert_eq!(
            row(Shape::Ring, 0.0, &[-1.0, -0.75, 0.0, 0.75, 1.0]),
            ".#.#."
        );
        assert_eq!(
            row(Shape::Cross, 0.0, &[-0.9, -0.5, 0.0, 0.5, 0.9]),
            "#####"
        );
        assert_eq!(
            row(Shape::Cross, 0.5, &[-0.9, -0.5, 0.0, 0.5, 0.9]),
            "..#.."
        );
        // The base is below (y grows downwards), the tip above.
        assert_eq!(row(Shape::Triangle, 0.4, &[-0.7, 0.0, 0.7]), "###");
        assert_eq!(row(Shape::Triangle, -0.8, &[-0.3, 0.0, 0.3]), ".#.");
        assert_eq!(
            row(
                Shape::Stripes,
                0.0,
                &[-0.75, -0.5, -0.25, 0.0, 0.25, 0.5, 0.75]
            ),
            "#.#.#.#"
        );
        assert_eq!(
            row(Shape::Checkerboard, 0.2, &[-0.7, -0.2, 0.2, 0.7]),
            "#.#."
        );
        assert_eq!(
            row(Shape::Checkerboard, -0.2, &[-0.7, -0.2, 0.2, 0.7]),
            ".#.#"
        );
    }

    #[test]
    fn a_star_has_five_tips_and_five_notches() {
        for corner in 0..5 {
            let tip = 2.0 * PI * corner as f32 / 5.0;
            let notch = tip + PI / 5.0;
            assert!(
                Shape::Star.distance(tip.cos(), tip.sin()) < 0.0,
                "tip {corner}"
            );
            assert!(
                Shape::Star.distance(0.6 * notch.cos(), 0.6 * notch.sin()) > 0.0,
                "notch {corner}"
            );
            assert!(
                Shape::Star.distance(0.3 * notch.cos(), 0.3 * notch.sin()) < 0.0,
                "centre {corner}"
            );
        }
    }

    #[test]
    fn no_shape_leaves_its_frame() {
        for shape in Shape::ALL {
            for step in 0..360 {
                let angle = (step as f32).to_radians();
                assert!(
                    shape.distance(1.45 * angle.cos(), 1.45 * angle.sin()) > 0.0,
                    "{shape:?} at {step} degrees"
                );
            }
        }
    }
}
