use tracing::debug;

use super::{Agent, State};
use crate::credentials::Keyed;
use crate::generation::Generation;
use crate::{Credentials, Error};

impl Agent {
    /// Begins a new generation with new local credentials (RFC 8445 section 9).
    ///
    /// The selected pair goes on carrying data, with its consent, until the new generation has a
    /// valid one, and checks of the old generation are still answered some time after. The local
    /// candidates are kept; [`end_of_local_candidates`](Self::end_of_local_candidates) has to be said
    /// again.
    pub fn restart(&mut self) {
        if self.state == State::Closed {
            return;
        }
        let config = &self.context.config;
        let (ufrag_length, pwd_length) = (config.ufrag_length, config.pwd_length);
        let credentials = loop {
            let fresh = Credentials::random(&mut self.context.rng, ufrag_length, pwd_length);
            if !self.owns_ufrag(&fresh.ufrag) {
                break fresh;
            }
        };
        self.start_generation(credentials);
    }

    /// The same with credentials that the owner made, as when they stand in an offer already.
    ///
    /// # Errors
    /// [`Error::InvalidCredentials`] when they break the grammar.
    pub fn restart_with(&mut self, credentials: Credentials) -> Result<(), Error> {
        credentials.validate()?;
        if self.state != State::Closed {
            self.start_generation(credentials);
        }
        Ok(())
    }

    fn start_generation(&mut self, credentials: Credentials) {
        debug!(ufrag = credentials.ufrag, "restart");
        let local = Keyed::new(credentials, self.context.hmac);
        self.begin_generation(local);
        self.forgive();
        self.wake();
    }

    /// Returns to the generation before the last [`restart`](Self::restart), as when an offer is
    /// rolled back; its credentials and selected pair are as they were. Nothing happens when there is
    /// none any more because the new generation has taken over.
    pub fn rollback_restart(&mut self) {
        if self.state == State::Closed {
            return;
        }
        if let Some(previous) = self.previous.take() {
            debug!(ufrag = previous.local.ufrag(), "restart rolled back");
            self.current = *previous;
            self.previous_until = None;
            self.context.locals.restore_retired();
            let ufrag = self.current.local.ufrag().to_owned();
            self.context
                .locals
                .set_generation(&ufrag, self.current.number);
            // Candidates that were added meanwhile belong to this generation too.
            self.current.pair_all(&mut self.context);
            self.wake();
        }
    }

    /// Sets the credentials of the peer. The same again change nothing.
    ///
    /// Other ones than before are those of another description: after [`restart`](Self::restart) they
    /// belong to the new generation; without one, as when a second answer replaces a provisional one,
    /// they begin a new generation with the same local credentials.
    ///
    /// # Errors
    /// [`Error::InvalidCredentials`] when they break the grammar, [`Error::PartialRestart`] when only
    /// one of fragment and password changed. Nothing is changed then.
    pub fn set_remote_credentials(&mut self, credentials: Credentials) -> Result<(), Error> {
        self.check_remote_credentials(&credentials)?;
        if self.known_remote() == Some(&credentials) {
            return Ok(());
        }
        if self.current.remote.is_some() {
            let local = Keyed::new(self.current.local.credentials.clone(), self.context.hmac);
            let local_ended = self.current.local_ended;
            self.begin_generation(local);
            self.current.local_ended = local_ended;
        }
        debug!(ufrag = credentials.ufrag, "remote credentials");
        let remote = Keyed::new(credentials, self.context.hmac);
        self.current.set_remote(&mut self.context, remote);
        if self.previous.is_some() {
            self.forgive();
        }
        self.wake();
        Ok(())
    }

    /// Tells whether [`set_remote_credentials`](Self::set_remote_credentials) would take these.
    ///
    /// # Errors
    /// Those of it.
    pub fn check_remote_credentials(&self, credentials: &Credentials) -> Result<(), Error> {
        if self.state == State::Closed {
            return Err(Error::Closed);
        }
        credentials.validate()?;
        match self.known_remote() {
            Some(known)
                if known != credentials
                    && (known.ufrag == credentials.ufrag || known.pwd == credentials.pwd) =>
            {
                Err(Error::PartialRestart)
            }
            _ => Ok(()),
        }
    }

    /// The credentials of the peer that were told last.
    fn known_remote(&self) -> Option<&Credentials> {
        let known = match (&self.current.remote, &self.previous) {
            (Some(known), _) => Some(known),
            (None, Some(previous)) => previous.remote.as_ref(),
            (None, None) => None,
        };
        known.map(|known| &known.credentials)
    }

    /// Makes the current generation the previous one. A generation that was never answered gives way
    /// instead, when there is one before it that was.
    fn begin_generation(&mut self, local: Keyed) {
        let number = self.context.new_generation();
        let old = std::mem::replace(&mut self.current, Generation::new(number, local));
        if old.remote.is_some() || self.previous.is_none() {
            self.previous = Some(Box::new(old));
        }
        self.previous_until = None;
        let ufrag = self.current.local.ufrag().to_owned();
        self.context.locals.set_generation(&ufrag, number);
    }

    /// A restart forgets that connectivity was lost (W3C `RTCIceTransportState`).
    fn forgive(&mut self) {
        match self.state {
            State::Completed => self.set_state(State::Connected),
            State::Disconnected | State::Failed => self.set_state(State::Checking),
            State::New | State::Checking | State::Connected | State::Closed => {}
        }
    }
}
