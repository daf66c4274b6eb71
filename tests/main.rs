//! Integration tests of the real binary.

mod golden_images;
