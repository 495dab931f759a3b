//! WebRTC in a reactor of your own, with mio.
