//! RTCP packets (RFC 3550), feedback (RFC 4585, RFC 5104, RFC 8888, transport-wide congestion control,
//! REMB) and extended reports (RFC 3611).
//!
//! * [`packets`] reads a datagram, compound or of reduced size (RFC 5506), one [`Packet`] after the
//!   other.
//! * [`Packet`] is owned and has one struct for each type; what has no struct of its own is kept as
//!   bytes ([`Raw`], [`RawFeedback`]). The lists of the usual packets need no allocation.
//! * [`Packet::write`] appends to a `Vec<u8>` or `BytesMut`; [`write_compound_report`] writes a report
//!   and the CNAME at once.
//! * [`TwccBuilder`] chooses the chunks of a transport-wide feedback packet; [`Nack`] turns sequence
//!   numbers into pairs and back; [`NtpTime`] and [`NtpShort`] are the clocks of the reports.
//!
//! ```
//! use rtc_rtcp::{Nack, NtpTime, Packet, ReportBlock, SenderInfo, packets, write_compound_report};
//! use std::time::Duration;
//!
//! # fn main() -> Result<(), rtc_rtcp::Error> {
//! let sender = SenderInfo {
//!     ntp_time: NtpTime::from_unix(Duration::from_secs(1_700_000_000)),
//!     rtp_timestamp: 90_000,
//!     packet_count: 10,
//!     octet_count: 12_000,
//! };
//! let block = ReportBlock { ssrc: 2, fraction_lost: 64, ..ReportBlock::default() };
//! let mut datagram = Vec::new();
//! write_compound_report(&mut datagram, 1, Some(sender), &[block], "kW3x0uYd8Qbn4ZsT");
//! Packet::from(Nack::new(1, 2, [100, 101, 300])).write(&mut datagram);
//!
//! for packet in packets(&datagram) {
//!     match packet? {
//!         Packet::SenderReport(report) => assert_eq!(report.info, sender),
//!         Packet::SourceDescription(sdes) => assert_eq!(sdes.cname(1), Some(&b"kW3x0uYd8Qbn4ZsT"[..])),
//!         Packet::Nack(nack) => assert!(nack.sequence_numbers().eq([100, 101, 300])),
//!         other => panic!("{other:?}"),
//!     }
//! }
//! # Ok(())
//! # }
//! ```

mod ccfb;
mod error;
mod extended;
mod feedback;
mod ntp;
mod packet;
mod report;
mod source;
mod twcc;

#[cfg(test)]
mod tests;

pub use ccfb::{Ccfb, CcfbBlock, PacketMetric};
pub use error::Error;
pub use extended::{DlrrItem, ExtendedReport, XrBlock};
pub use feedback::{Fir, FirEntry, Nack, NackPair, Pli, RawFeedback, Remb};
pub use ntp::{NtpShort, NtpTime, round_trip_time};
pub use packet::{Packet, Packets, Raw, is_rtcp, packets, packets_len, write_packets};
pub use report::{
    ReceiverReport, ReportBlock, SenderInfo, SenderReport, compound_report_len,
    write_compound_report,
};
pub use source::{App, Bye, SdesChunk, SdesItem, SourceDescription, Text};
pub use twcc::{PacketStatus, Statuses, Twcc, TwccBuilder};
