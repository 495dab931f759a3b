//! WebRTC on async-std.
