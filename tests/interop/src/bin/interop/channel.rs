//! A data channel, with what the cases do on every one.

use std::cell::Cell;

use rtc::data_channel::{RTCDataChannelMessage, RTCDataChannelParameters};
use rtc_driver::DataChannel;

use crate::agent::Agent;
use crate::failure::{Failure, check};

/// A data channel of the agent.
pub(crate) struct Channel<'a> {
    pub(crate) inner: DataChannel,
    parameters: RTCDataChannelParameters,
    agent: &'a Agent,
    received: Cell<usize>,
}

impl<'a> Channel<'a> {
    pub(crate) fn new(agent: &'a Agent, inner: DataChannel) -> Self {
        let parameters = inner.parameters().unwrap_or_default();
        Self {
            inner,
            parameters,
            agent,
            received: Cell::new(0),
        }
    }

    /// Its name, also after its end.
    pub(crate) fn label(&self) -> &str {
        &self.parameters.label
    }

    pub(crate) fn parameters(&self) -> &RTCDataChannelParameters {
        &self.parameters
    }

    /// How many messages came.
    pub(crate) fn received(&self) -> usize {
        self.received.get()
    }

    pub(crate) async fn opened(&self) -> Result<(), Failure> {
        self.agent
            .step(format!("waiting for {} to open", self.label()));
        Ok(self.inner.opened().await?)
    }

    /// Waits until the channel is closed; messages that still come are counted and dropped.
    pub(crate) async fn closed(&self) {
        while self.next().await.is_ok() {}
    }

    pub(crate) async fn send(
        &self,
        message: impl Into<RTCDataChannelMessage>,
    ) -> Result<(), Failure> {
        Ok(self.inner.send(message).await?)
    }

    /// The next message. That the channel closes is a failure.
    pub(crate) async fn next(&self) -> Result<RTCDataChannelMessage, Failure> {
        match self.inner.recv().await {
            Some(Ok(message)) => {
                self.received.set(self.received.get() + 1);
                Ok(message)
            }
            Some(Err(error)) => Err(Failure::Failed(format!("{}: {error}", self.label()))),
            None => Err(Failure::Failed(format!(
                "{}: the channel closed",
                self.label()
            ))),
        }
    }

    /// Sends one message and wants the same back.
    pub(crate) async fn exchange(&self, message: RTCDataChannelMessage) -> Result<(), Failure> {
        let label = self.label();
        self.agent.step(format!(
            "waiting for the echo of {} on {label}",
            describe(&message)
        ));
        self.send(message.clone()).await?;
        let back = self.next().await?;
        check!(
            back == message,
            "{label}: sent {}, got {} back",
            describe(&message),
            describe(&back)
        );
        Ok(())
    }

    /// Sends every message back until the channel closes.
    pub(crate) async fn echo(&self) -> Result<(), Failure> {
        while let Ok(message) = self.next().await {
            self.send(message).await?;
        }
        Ok(())
    }
}

pub(crate) fn describe(message: &RTCDataChannelMessage) -> String {
    let size = message.data.len();
    match message.is_string {
        true => format!("a text of {size} bytes"),
        false => format!("a binary message of {size} bytes"),
    }
}
