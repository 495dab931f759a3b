use std::convert::Infallible;
use std::time::Instant;

use rtc_shared::{Protocol, TaggedBytesMut};
use rtc_stun::Message;
use tracing::trace;

use super::{Agent, Event, State};
use crate::Error;

/// `Win` and `Ein` have no values: data does not pass through the agent, and it hears of nothing but
/// datagrams and time.
impl Protocol<TaggedBytesMut, Infallible, Infallible> for Agent {
    type Rout = Infallible;
    type Wout = TaggedBytesMut;
    type Eout = Event;
    type Error = Error;
    type Time = Instant;

    /// Takes one datagram; what is no STUN message is counted and dropped.
    fn handle_read(&mut self, msg: TaggedBytesMut) -> Result<(), Error> {
        if self.state == State::Closed {
            return Err(Error::Closed);
        }
        match Message::parse(&msg.message) {
            Ok(message) => self.handle_message(msg.now, msg.transport, &message),
            Err(error) => {
                trace!(%error, "malformed datagram");
                self.context.stats.malformed += 1;
            }
        }
        Ok(())
    }

    /// Always `None`.
    fn poll_read(&mut self) -> Option<Infallible> {
        None
    }

    fn handle_write(&mut self, msg: Infallible) -> Result<(), Error> {
        match msg {}
    }

    fn poll_write(&mut self) -> Option<TaggedBytesMut> {
        let message = self.context.writes.pop_front();
        if self.context.writes.is_empty() {
            self.context.writes.shrink_to(KEPT);
        }
        message
    }

    fn poll_event(&mut self) -> Option<Event> {
        let event = self.context.events.pop_front();
        if self.context.events.is_empty() {
            self.context.events.shrink_to(KEPT);
        }
        event
    }

    /// Sends what is due. A closed agent has nothing to do, which is not an error.
    fn handle_timeout(&mut self, now: Instant) -> Result<(), Error> {
        if self.state == State::Closed {
            return Ok(());
        }
        let now = self.advance(now);
        if self.dirty || self.deadline.is_some_and(|deadline| deadline <= now) {
            self.settle(now);
        }
        Ok(())
    }

    fn poll_timeout(&mut self) -> Option<Instant> {
        self.deadline
    }

    fn close(&mut self) -> Result<(), Error> {
        self.shut_down();
        Ok(())
    }
}

/// Entries for which an empty queue keeps room.
const KEPT: usize = 1;
