//! Sender and receiver reports (RFC 3550 section 6.4) and the extended reports about round trip times
//! (RFC 3611 sections 4.4 and 4.5).

mod receiver;
mod sender;

use std::time::Duration;

pub use receiver::ReceiverReports;
pub use sender::SenderReports;

/// How often reports are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReportConfig {
    /// The mean time between two reports; each differs from it by up to a half (1 s).
    pub interval: Duration,
    /// A side that sends no media asks for its round trip time by extended reports, as
    /// `a=rtcp-xr:rcvr-rtt=all` allows (off).
    pub receiver_reference_time: bool,
}

impl Default for ReportConfig {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(1),
            receiver_reference_time: false,
        }
    }
}
