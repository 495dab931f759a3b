use std::collections::VecDeque;

use rtc_rtcp::{Packet, ReceiverReport, SdesChunk, SdesItem, SourceDescription, Text};
use rtc_shared::Writer;
use smallvec::SmallVec;
use tracing::trace;

/// RTCP packets that wait to be put together into datagrams.
#[derive(Debug)]
pub(crate) struct RtcpQueue {
    /// Sender and receiver reports, which come first in a compound.
    reports: VecDeque<Packet>,
    others: VecDeque<Packet>,
    cname: String,
    reduced_size: bool,
    dropped: u64,
}

impl RtcpQueue {
    pub(crate) fn new(cname: String, reduced_size: bool) -> Self {
        Self {
            reports: VecDeque::new(),
            others: VecDeque::new(),
            cname,
            reduced_size,
            dropped: 0,
        }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.reports.len() + self.others.len() >= MAX_PACKETS
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }

    pub(crate) fn push(&mut self, packet: Packet) {
        if self.is_full() {
            self.drop_one("too many RTCP packets wait");
            return;
        }
        match packet {
            Packet::SenderReport(_) | Packet::ReceiverReport(_) => self.reports.push_back(packet),
            _ => self.others.push_back(packet),
        }
    }

    /// Appends what fits one datagram and returns its length; `None` when nothing waits. A packet that
    /// would not fit a datagram of its own is dropped.
    pub(crate) fn write_datagram(
        &mut self,
        reporter_ssrc: u32,
        max_len: usize,
        out: &mut impl Writer,
    ) -> Option<usize> {
        let names_len = HEADER_LEN + self.name_len();
        let empty = Packet::from(ReceiverReport {
            ssrc: reporter_ssrc,
            blocks: SmallVec::new(),
        });
        let obligatory_len = match self.reduced_size {
            true => 0,
            false => empty.written_len() + names_len,
        };
        let too_long = |queue: &VecDeque<Packet>, overhead| {
            let front = queue.front();
            front.is_some_and(|packet| packet.written_len() + overhead > max_len)
        };
        while too_long(&self.reports, names_len) {
            self.reports.pop_front();
            self.drop_one("RTCP report is longer than a datagram");
        }
        while too_long(&self.others, obligatory_len) {
            self.others.pop_front();
            self.drop_one("RTCP packet is longer than a datagram");
        }

        let start = out.position();
        if !self.reports.is_empty() {
            self.write_reports(max_len, out);
        } else if self.others.is_empty() {
            return None;
        } else if !self.reduced_size {
            empty.write(out);
            let chunks = SmallVec::from_iter([self.name(reporter_ssrc)]);
            Packet::from(SourceDescription { chunks }).write(out);
        }
        let mut room = max_len.saturating_sub(out.position() - start);
        while let Some(packet) = self.others.pop_front() {
            let length = packet.written_len();
            if length > room {
                self.others.push_front(packet);
                break;
            }
            packet.write(out);
            room -= length;
        }
        Some(out.position() - start)
    }

    /// Writes the reports that fit, at least one does, and the names of their sources.
    fn write_reports(&mut self, max_len: usize, out: &mut impl Writer) {
        let mut names = SourceDescription::default();
        let mut length = HEADER_LEN;
        while let Some(report) = self.reports.pop_front() {
            let ssrc = report.sender_ssrc().unwrap_or_default();
            let named = names.chunks.iter().any(|chunk| chunk.ssrc == ssrc);
            let name_len = if named { 0 } else { self.name_len() };
            length += report.written_len() + name_len;
            if length > max_len || names.chunks.len() >= MAX_NAMES {
                self.reports.push_front(report);
                break;
            }
            report.write(out);
            if !named {
                names.chunks.push(self.name(ssrc));
            }
        }
        Packet::from(names).write(out);
    }

    fn name(&self, ssrc: u32) -> SdesChunk {
        let item = SdesItem {
            item_type: SdesItem::CNAME,
            value: Text::from_slice(self.cname.as_bytes()),
        };
        SdesChunk {
            ssrc,
            items: SmallVec::from_iter([item]),
        }
    }

    /// Length of the chunk that names one source.
    fn name_len(&self) -> usize {
        (4 + 2 + self.cname.len().min(255) + 1).next_multiple_of(4)
    }

    fn drop_one(&mut self, reason: &'static str) {
        self.dropped += 1;
        trace!(reason, "RTCP packet dropped");
    }
}

const HEADER_LEN: usize = 4;
/// Chunks of one source description.
const MAX_NAMES: usize = 31;
/// Bounds what waits between two polls.
const MAX_PACKETS: usize = 256;
