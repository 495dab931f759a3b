//! TURN (RFC 8656) client and server as state machines.
