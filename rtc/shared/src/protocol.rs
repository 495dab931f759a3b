/// A sans-I/O protocol state machine.
///
/// The owner feeds what arrives with the `handle_*` methods and takes what leaves with the `poll_*`
/// methods. Nothing happens in between: no thread, no socket, no clock.
///
/// # Order of calls
///
/// After any `handle_*` call, poll [`poll_write`](Self::poll_write), [`poll_event`](Self::poll_event)
/// and [`poll_read`](Self::poll_read) until each returns `None`, then ask
/// [`poll_timeout`](Self::poll_timeout) when to call [`handle_timeout`](Self::handle_timeout).
/// A deadline in the past means: call `handle_timeout` now. After `handle_timeout(t)` the next
/// deadline lies after `t`, so a driver can never spin.
///
/// # Type parameters
///
/// `Rin` comes from the network, `Win` from the application, `Ein` is an event from outside.
pub trait Protocol<Rin, Win, Ein> {
    /// What is read by the application.
    type Rout;
    /// What is written to the network.
    type Wout;
    /// What is told to the application.
    type Eout;
    /// The error of the `handle_*` methods. Junk from the network is never an error.
    type Error;
    /// The instant type, usually [`std::time::Instant`].
    type Time;

    /// Takes one datagram from the network.
    ///
    /// # Errors
    /// Only when the object is closed; malformed input is counted and dropped.
    fn handle_read(&mut self, msg: Rin) -> Result<(), Self::Error>;

    /// Gives the next message for the application.
    fn poll_read(&mut self) -> Option<Self::Rout>;

    /// Takes one message from the application.
    ///
    /// # Errors
    /// When the message cannot be accepted in the present state.
    fn handle_write(&mut self, msg: Win) -> Result<(), Self::Error>;

    /// Gives the next datagram for the network.
    fn poll_write(&mut self) -> Option<Self::Wout>;

    /// Takes an event from outside.
    ///
    /// # Errors
    /// When the event does not fit the present state.
    fn handle_event(&mut self, _event: Ein) -> Result<(), Self::Error> {
        Ok(())
    }

    /// Gives the next event for the application.
    fn poll_event(&mut self) -> Option<Self::Eout> {
        None
    }

    /// Tells that time has come to `now`.
    ///
    /// # Errors
    /// Only when the object is closed.
    fn handle_timeout(&mut self, _now: Self::Time) -> Result<(), Self::Error> {
        Ok(())
    }

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called next.
    fn poll_timeout(&mut self) -> Option<Self::Time> {
        None
    }

    /// Closes the object; what has to be told to the peer is left in `poll_write`.
    ///
    /// # Errors
    /// When closing cannot be begun; closing twice is not an error.
    fn close(&mut self) -> Result<(), Self::Error> {
        Ok(())
    }
}
