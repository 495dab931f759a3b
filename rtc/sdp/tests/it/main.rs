//! Whole descriptions: those of browsers and other stacks, and random ones.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod properties;
mod vectors;
