//! WebRTC on smol.
