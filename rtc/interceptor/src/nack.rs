//! Retransmission on request (RFC 4585 section 6.2.1): the side that asks and the side that answers.

mod generator;
mod history;
mod responder;

use std::time::Duration;

use crate::Session;

pub use generator::{NackGenerator, NackGeneratorConfig};
pub use responder::{NackResponder, NackResponderConfig};

/// The round trip time, or what is assumed before it was measured.
fn round_trip_time(session: &Session) -> Duration {
    let measured = session.round_trip_time();
    measured.map_or(INITIAL_ROUND_TRIP, |time| time.max(MIN_ROUND_TRIP))
}

const INITIAL_ROUND_TRIP: Duration = Duration::from_millis(100);
const MIN_ROUND_TRIP: Duration = Duration::from_millis(5);
