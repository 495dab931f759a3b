//! Multicast DNS for ICE candidates.
