//! A simulated network for two peer connections: virtual time, seeded loss, delay, reordering and
//! duplication. The same seed gives the same run.

pub mod sim;
