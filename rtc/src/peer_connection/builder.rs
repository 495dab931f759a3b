use std::sync::Arc;
use std::time::Instant;

use rtc_interceptor::Registry;

use super::RTCPeerConnection;
use super::configuration::media_engine::MediaEngine;
use super::configuration::{RTCConfiguration, SettingEngine};
use crate::Error;

/// Makes an [`RTCPeerConnection`] step by step; [`RTCPeerConnection::new`] does the same in one.
///
/// ```
/// use std::time::Instant;
/// use rtc::peer_connection::RTCPeerConnectionBuilder;
/// use rtc::peer_connection::configuration::RTCConfiguration;
///
/// let connection = RTCPeerConnectionBuilder::new()
///     .with_configuration(RTCConfiguration::default())
///     .build(Instant::now())?;
/// # Ok::<(), rtc::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct RTCPeerConnectionBuilder {
    configuration: RTCConfiguration,
    registry: Option<Registry>,
}

impl RTCPeerConnectionBuilder {
    /// The defaults of W3C.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The configuration; settings given before are part of it and replaced.
    #[must_use]
    pub fn with_configuration(mut self, configuration: RTCConfiguration) -> Self {
        self.configuration = configuration;
        self
    }

    /// Codecs and header extensions to offer and accept.
    #[must_use]
    pub fn with_media_engine(mut self, media_engine: MediaEngine) -> Self {
        self.configuration.media_engine = Arc::new(media_engine);
        self
    }

    /// Settings beyond W3C's dictionary.
    #[must_use]
    pub fn with_setting_engine(mut self, setting: SettingEngine) -> Self {
        self.configuration.setting = setting;
        self
    }

    /// The stages that RTP and RTCP pass, in the place of those of the configuration.
    #[must_use]
    pub fn with_interceptor_registry(mut self, registry: Registry) -> Self {
        self.registry = Some(registry);
        self
    }

    /// The connection; its time starts at `now`.
    ///
    /// # Errors
    /// As [`RTCPeerConnection::new`].
    pub fn build(self, now: Instant) -> Result<RTCPeerConnection, Error> {
        let mut connection = RTCPeerConnection::new(self.configuration.with_now(now))?;
        connection.registry = self.registry;
        Ok(connection)
    }
}
