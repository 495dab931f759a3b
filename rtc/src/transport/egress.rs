use std::time::Instant;

use rtc_shared::{FiveTuple, Protocol, Transmit, TransportProtocol};
use rtc_turn::Encapsulation;
use tracing::{debug, trace};

use super::streams::Outlet;
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
        if let Some(message) = self.gather.poll_transmit() {
            buf.extend_from_slice(&message.message);
            let path = message.transport.five_tuple();
            return Some(self.counted(path, message.message.len(), 1, None));
        }
        if let Some((path, message)) = self.poll_waiting() {
            buf.extend_from_slice(&message);
            return Some(self.counted(path, message.len(), 1, None));
        }
        while let Some(message) = self.ice.poll_write() {
            let path = message.transport.five_tuple();
            if path.transport_protocol == TransportProtocol::TCP {
                match self.outlet(path, &message.message) {
                    Outlet::Open => {}
                    Outlet::Kept => continue,
                    Outlet::None => {
                        self.ice.fail_path(&path);
                        continue;
                    }
                }
            }
            // Without a permission for the peer, or an allocation, a check is lost.
            let Some(way) = self.way(path) else {
                continue;
            };
            let start = way.begin(buf);
            buf.extend_from_slice(&message.message);
            if let Some(length) = way.finish(buf, start) {
                return Some(self.counted(way.path, length, 1, None));
            }
        }
        let closing = self.farewell.is_some();
        let path = self.ice.selected_path().or(self.farewell);
        let transmit = path
            .and_then(|path| self.way(path))
            .and_then(|way| self.poll_data(now, way, max_datagrams, mtu, buf, media));
        if transmit.is_none() && self.is_closed {
            if closing {
                self.dtls_state = RTCDtlsTransportState::Closed;
            }
            // Nothing goes by streams and relays any more.
            self.close_streams();
            self.gather.close(now);
            let message = self.gather.poll_transmit()?;
            buf.extend_from_slice(&message.message);
            let path = message.transport.five_tuple();
            return Some(self.counted(path, message.message.len(), 1, None));
        }
        transmit
    }

    /// The way that the datagrams of a path take; `None` when there is none now.
    fn way(&mut self, path: FiveTuple) -> Option<Way> {
        if path.transport_protocol == TransportProtocol::TCP {
            return Some(Way {
                path: self.streams.real(&path)?,
                of: path,
                wrap: None,
            });
        }
        if !self.gather.is_active() || !self.gather.is_relayed(path.local_addr) {
            return Some(Way {
                path,
                of: path,
                wrap: None,
            });
        }
        let (outer, wrap) = self.gather.encapsulate(&path)?;
        Some(Way {
            path: outer,
            of: path,
            wrap: Some(wrap),
        })
    }

    /// What is sent on the path in use.
    fn poll_data(
        &mut self,
        now: Instant,
        way: Way,
        max_datagrams: usize,
        mtu: usize,
        buf: &mut Vec<u8>,
        media: &mut MediaPath,
    ) -> Option<Transmit> {
        let closing = self.farewell.is_some();
        // SCTP has cut its chunks already.
        let room = mtu.saturating_sub(way.overhead());
        // Each indication has an identifier of its own.
        let max_datagrams = if way.is_repeatable() {
            max_datagrams
        } else {
            1
        };
        if !closing && let Some(transmit) = self.poll_dtls(now, way, room, buf) {
            return Some(transmit);
        }
        if self.srtp.is_some() {
            if let Some(transmit) = self.poll_rtcp(now, way, room, buf, media) {
                return Some(transmit);
            }
            if !closing && let Some(transmit) = self.poll_rtp(now, way, max_datagrams, buf, media) {
                return Some(transmit);
            }
        } else {
            media.age(now);
        }
        if let Some(transmit) = self.poll_sctp(now, way, max_datagrams, mtu, buf) {
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
            return self.poll_dtls(now, way, room, buf);
        }
        None
    }

    fn poll_dtls(
        &mut self,
        now: Instant,
        way: Way,
        mtu: usize,
        buf: &mut Vec<u8>,
    ) -> Option<Transmit> {
        let dtls = self.dtls.as_mut()?;
        let start = way.begin(buf);
        if dtls.poll_transmit(now, buf, mtu).is_none() {
            buf.truncate(start);
            return None;
        }
        let length = way.finish(buf, start)?;
        Some(self.sent(now, &way, length, 1, None))
    }

    fn poll_rtcp(
        &mut self,
        now: Instant,
        way: Way,
        mtu: usize,
        buf: &mut Vec<u8>,
        media: &mut MediaPath,
    ) -> Option<Transmit> {
        let srtp = self.srtp.as_mut()?;
        let whole = way.begin(buf);
        let start = buf.len();
        let overhead = srtp.send.rtcp_overhead();
        while let Some(length) = media.poll_rtcp(now, mtu.saturating_sub(overhead), buf) {
            buf.resize(start + length + overhead, 0);
            let datagram = buf.get_mut(start..).unwrap_or_default();
            match srtp.send.protect_rtcp(datagram, length) {
                Ok(length) => {
                    buf.truncate(start + length);
                    let length = way.finish(buf, whole)?;
                    media.counters.rtcp_sent += 1;
                    return Some(self.sent(now, &way, length, 1, None));
                }
                Err(error) => {
                    debug!(%error, "RTCP cannot be encrypted");
                    buf.truncate(start);
                }
            }
        }
        buf.truncate(whole);
        None
    }

    fn poll_rtp(
        &mut self,
        now: Instant,
        way: Way,
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
            let whole = way.begin(buf);
            let datagram = buf.len();
            outgoing.packet.write(buf);
            buf.resize(datagram + length + overhead, 0);
            let slot = buf.get_mut(datagram..).unwrap_or_default();
            if let Err(error) = srtp.send.protect_rtp(slot, length) {
                trace!(%error, "RTP packet cannot be encrypted");
                media.counters.dropped_unencryptable += 1;
                buf.truncate(whole);
                continue;
            }
            if way.finish(buf, whole).is_none() {
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
            .map(|length| way.wire_len(length + overhead));
        Some(self.sent(now, &way, size, count, segment))
    }

    fn poll_sctp(
        &mut self,
        now: Instant,
        way: Way,
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
            let whole = way.begin(buf);
            let datagram = buf.len();
            let Ok(record) = dtls.begin_record(buf) else {
                buf.truncate(whole);
                break;
            };
            let limit = segment.unwrap_or(mtu).saturating_sub(overhead);
            let sealed = sctp.poll_transmit(now, buf, limit).is_some()
                && dtls.finish_record(buf, record).is_ok();
            let length = buf.len() - datagram;
            if !sealed || way.finish(buf, whole).is_none() {
                buf.truncate(whole);
                break;
            }
            count += 1;
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
        let segment = segment
            .filter(|_| count > 1)
            .map(|length| way.wire_len(length));
        Some(self.sent(now, &way, size, count, segment))
    }

    /// Counts datagrams that are not ICE's own.
    fn sent(
        &mut self,
        now: Instant,
        way: &Way,
        size: usize,
        datagrams: usize,
        segment_size: Option<usize>,
    ) -> Transmit {
        let count = |traffic: &mut Traffic| traffic.sent.add(now, datagrams, size);
        self.paths.update(&way.of, count);
        self.counted(way.path, size, datagrams, segment_size)
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
        let said = self.farewell.is_none()
            || (!sctp
                && !dtls
                && media.is_drained()
                && self.dtls_state == RTCDtlsTransportState::Closed);
        said && self.gather.is_drained()
    }
}

/// A datagram this close to the largest size counts as full: chunks are padded to four bytes.
const SEGMENT_SLACK: usize = 64;

/// How datagrams leave: as they are, or wrapped for a relay.
#[derive(Clone, Copy)]
struct Way {
    path: FiveTuple,
    /// The path as ICE knows it.
    of: FiveTuple,
    wrap: Option<Encapsulation>,
}

impl Way {
    /// Leaves room for what stands before a datagram. Gives where that begins.
    fn begin(&self, buf: &mut Vec<u8>) -> usize {
        let start = buf.len();
        if let Some(wrap) = &self.wrap {
            buf.resize(start + wrap.prefix_len(), 0);
        }
        start
    }

    /// Completes a datagram that was begun at `start`, and gives its length; one that does not fit into
    /// the wrapping is taken out.
    fn finish(&self, buf: &mut Vec<u8>, start: usize) -> Option<usize> {
        if let Some(wrap) = &self.wrap {
            let payload = buf.len().saturating_sub(start + wrap.prefix_len());
            let prefix = buf.get_mut(start..).unwrap_or_default();
            if !wrap.write_prefix(payload, prefix) {
                buf.truncate(start);
                return None;
            }
            buf.resize(buf.len() + wrap.padding_len(payload), 0);
        }
        Some(buf.len() - start)
    }

    /// Whether the same wrapping serves several datagrams.
    fn is_repeatable(&self) -> bool {
        self.wrap.is_none_or(|wrap| wrap.is_channel())
    }

    /// The most that the wrapping adds.
    fn overhead(&self) -> usize {
        self.wrap.map_or(0, |wrap| wrap.prefix_len() + MAX_PADDING)
    }

    /// Length of a datagram with its wrapping.
    fn wire_len(&self, length: usize) -> usize {
        self.wrap.map_or(length, |wrap| wrap.wire_len(length))
    }
}

/// ChannelData over a stream, and attributes, are padded to four bytes.
const MAX_PADDING: usize = 3;
