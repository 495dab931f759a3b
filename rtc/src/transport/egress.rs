use std::time::Instant;

use rtc_shared::{FiveTuple, Protocol, Transmit};
use tracing::{debug, trace};

use super::{Traffic, Transport};
use crate::media_path::MediaPath;
use crate::peer_connection::state::RTCDtlsTransportState;

impl Transport {
    /// Appends the datagrams that are due, of one path and one size, to `buf`.
    ///
    /// ICE goes before DTLS, then come RTCP, RTP and SCTP; each source writes straight into `buf`, where
    /// packets are encrypted in place.
    pub(crate) fn poll_transmit(
        &mut self,
        now: Instant,
        max_datagrams: usize,
        mtu: usize,
        buf: &mut Vec<u8>,
        media: &mut MediaPath,
    ) -> Option<Transmit> {
        if let Some(message) = self.ice.poll_write() {
            buf.extend_from_slice(&message.message);
            let path = message.transport.five_tuple();
            return Some(self.counted(path, message.message.len(), 1, None));
        }
        let closing = self.farewell.is_some();
        let path = self.ice.selected_path().or(self.farewell)?;
        if !closing && let Some(transmit) = self.poll_dtls(now, path, mtu, buf) {
            return Some(transmit);
        }
        if self.srtp.is_some() {
            if let Some(transmit) = self.poll_rtcp(now, path, mtu, buf, media) {
                return Some(transmit);
            }
            if !closing && let Some(transmit) = self.poll_rtp(now, path, max_datagrams, buf, media)
            {
                return Some(transmit);
            }
        } else {
            media.age(now);
        }
        if let Some(transmit) = self.poll_sctp(now, path, max_datagrams, mtu, buf) {
            return Some(transmit);
        }
        if closing {
            // The ABORT of the association has gone out, now the record layer may close.
            if self.dtls_state != RTCDtlsTransportState::Closed {
                self.dtls_state = RTCDtlsTransportState::Closed;
                if let Some(dtls) = &mut self.dtls {
                    dtls.close(now);
                }
            }
            return self.poll_dtls(now, path, mtu, buf);
        }
        None
    }

    fn poll_dtls(
        &mut self,
        now: Instant,
        path: FiveTuple,
        mtu: usize,
        buf: &mut Vec<u8>,
    ) -> Option<Transmit> {
        let length = self.dtls.as_mut()?.poll_transmit(now, buf, mtu)?;
        Some(self.sent(now, path, length, 1, None))
    }

    fn poll_rtcp(
        &mut self,
        now: Instant,
        path: FiveTuple,
        mtu: usize,
        buf: &mut Vec<u8>,
        media: &mut MediaPath,
    ) -> Option<Transmit> {
        let srtp = self.srtp.as_mut()?;
        let start = buf.len();
        let overhead = srtp.send.rtcp_overhead();
        while let Some(length) = media.poll_rtcp(now, mtu.saturating_sub(overhead), buf) {
            buf.resize(start + length + overhead, 0);
            let datagram = buf.get_mut(start..).unwrap_or_default();
            match srtp.send.protect_rtcp(datagram, length) {
                Ok(length) => {
                    media.counters.rtcp_sent += 1;
                    return Some(self.sent(now, path, length, 1, None));
                }
                Err(error) => {
                    debug!(%error, "RTCP cannot be encrypted");
                    buf.truncate(start);
                }
            }
        }
        None
    }

    fn poll_rtp(
        &mut self,
        now: Instant,
        path: FiveTuple,
        max_datagrams: usize,
        buf: &mut Vec<u8>,
        media: &mut MediaPath,
    ) -> Option<Transmit> {
        let srtp = self.srtp.as_mut()?;
        let start = buf.len();
        let overhead = srtp.send.rtp_overhead();
        let mut segment = None;
        let mut count = 0;
        while count < max_datagrams {
            let Some(outgoing) = media.poll_rtp(now) else {
                break;
            };
            let length = outgoing.packet.encoded_len();
            if segment.is_some_and(|full| length > full) {
                media.put_back(outgoing);
                break;
            }
            let datagram = buf.len();
            outgoing.packet.write(buf);
            buf.resize(datagram + length + overhead, 0);
            let slot = buf.get_mut(datagram..).unwrap_or_default();
            if let Err(error) = srtp.send.protect_rtp(slot, length) {
                trace!(%error, "RTP packet cannot be encrypted");
                media.counters.dropped_unencryptable += 1;
                buf.truncate(datagram);
                continue;
            }
            count += 1;
            // Only the last datagram of a batch may be shorter.
            if length < *segment.get_or_insert(length) {
                break;
            }
        }
        if count == 0 {
            return None;
        }
        media.counters.rtp_sent += count as u64;
        let size = buf.len() - start;
        let segment = segment
            .filter(|_| count > 1)
            .map(|length| length + overhead);
        Some(self.sent(now, path, size, count, segment))
    }

    fn poll_sctp(
        &mut self,
        now: Instant,
        path: FiveTuple,
        max_datagrams: usize,
        mtu: usize,
        buf: &mut Vec<u8>,
    ) -> Option<Transmit> {
        let (Some(dtls), Some(sctp)) = (&mut self.dtls, &mut self.sctp) else {
            return None;
        };
        let overhead = dtls.record_overhead();
        let start = buf.len();
        let mut segment = None;
        let mut count = 0;
        while count < max_datagrams && sctp.wants_transmit() {
            let datagram = buf.len();
            let Ok(record) = dtls.begin_record(buf) else {
                break;
            };
            let limit = segment.unwrap_or(mtu).saturating_sub(overhead);
            let sealed = sctp.poll_transmit(now, buf, limit).is_some()
                && dtls.finish_record(buf, record).is_ok();
            if !sealed {
                buf.truncate(datagram);
                break;
            }
            count += 1;
            let length = buf.len() - datagram;
            match segment {
                // A small first datagram would cut the next ones into pieces.
                None if length + SEGMENT_SLACK < mtu => break,
                None => segment = Some(length),
                // Only the last datagram of a batch may be shorter.
                Some(full) if length < full => break,
                Some(_) => {}
            }
        }
        let size = buf.len() - start;
        if count == 0 {
            return None;
        }
        Some(self.sent(now, path, size, count, segment.filter(|_| count > 1)))
    }

    /// Counts datagrams that are not ICE's own.
    fn sent(
        &mut self,
        now: Instant,
        path: FiveTuple,
        size: usize,
        datagrams: usize,
        segment_size: Option<usize>,
    ) -> Transmit {
        let count = |traffic: &mut Traffic| traffic.sent.add(now, datagrams, size);
        self.paths.update(&path, count);
        self.counted(path, size, datagrams, segment_size)
    }

    fn counted(
        &mut self,
        path: FiveTuple,
        size: usize,
        datagrams: usize,
        segment_size: Option<usize>,
    ) -> Transmit {
        self.counters.packets_sent += datagrams as u64;
        self.counters.bytes_sent += size as u64;
        Transmit {
            transport: path.context(None),
            size,
            segment_size,
        }
    }

    /// True when everything that closing has to tell was polled.
    pub(crate) fn is_drained(&self, media: &MediaPath) -> bool {
        let sctp = self
            .sctp
            .as_ref()
            .is_some_and(rtc_sctp::Association::wants_transmit);
        let dtls = self
            .dtls
            .as_ref()
            .is_some_and(rtc_dtls::Connection::wants_transmit);
        self.farewell.is_none()
            || (!sctp
                && !dtls
                && media.is_drained()
                && self.dtls_state == RTCDtlsTransportState::Closed)
    }
}

/// A datagram this close to the largest size counts as full: chunks are padded to four bytes.
const SEGMENT_SLACK: usize = 64;
