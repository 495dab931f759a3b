use std::collections::{BTreeMap, VecDeque};

use bytes::BytesMut;
use rtc_datachannel::{
    Channel, Incoming, Message, Parameters, PayloadProtocolId, PendingMessages, ReadyState, Role,
    StreamIds,
};
use rtc_sctp::{Association, ResetOutcome, SendError, SendOptions};

use super::entry::Entry;
use super::{RTCDataChannelId, RTCDataChannelInit, RTCDataChannelMessage, SendMessageError};
use crate::Error;
use crate::peer_connection::event::RTCDataChannelEvent;
use crate::transport::Transport;

/// The data channels of a connection: handles above, streams of the association below.
#[derive(Debug)]
pub(crate) struct DataChannels {
    channels: BTreeMap<RTCDataChannelId, Entry>,
    by_stream: BTreeMap<u16, RTCDataChannelId>,
    streams: StreamIds,
    role_known: bool,
    connected: bool,
    next_id: RTCDataChannelId,
    /// What the peer accepts, in bytes.
    max_message_size: usize,
    /// What we accept, in bytes.
    max_receive_size: usize,
    /// Messages of the establishment protocol that wait until all events before them are dealt with.
    control: VecDeque<(u16, BytesMut)>,
    /// Data that came before the announcement of its channel: unordered messages may.
    pending: PendingMessages,
    events: VecDeque<RTCDataChannelEvent>,
    ready: VecDeque<RTCDataChannelId>,
    /// Channels with messages in their inbox, in the order in which they came to be there.
    inboxes: VecDeque<RTCDataChannelId>,
    /// True while something may have to be sent, opened or closed.
    dirty: bool,
    pub(crate) opened: u32,
    pub(crate) closed: u32,
}

impl DataChannels {
    pub(crate) fn new(max_receive_size: usize) -> Self {
        Self {
            channels: BTreeMap::new(),
            by_stream: BTreeMap::new(),
            streams: StreamIds::new(),
            role_known: false,
            connected: false,
            next_id: 0,
            max_message_size: usize::MAX,
            max_receive_size,
            control: VecDeque::new(),
            pending: PendingMessages::default(),
            events: VecDeque::new(),
            ready: VecDeque::new(),
            inboxes: VecDeque::new(),
            dirty: false,
            opened: 0,
            closed: 0,
        }
    }

    /// Whether a channel was ever made.
    pub(crate) fn any(&self) -> bool {
        self.next_id != 0 || !self.channels.is_empty()
    }

    /// Whether a channel is in use or shall be.
    pub(crate) fn any_alive(&self) -> bool {
        self.channels.values().any(|entry| !entry.closed)
    }

    pub(crate) fn get(&self, id: RTCDataChannelId) -> Option<&Entry> {
        self.channels.get(&id)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (RTCDataChannelId, &Entry)> {
        self.channels.iter().map(|(id, entry)| (*id, entry))
    }

    pub(crate) fn max_message_size(&self) -> usize {
        self.max_message_size
    }

    pub(crate) fn set_max_message_size(&mut self, bytes: usize) {
        self.max_message_size = bytes;
    }

    pub(crate) fn create(
        &mut self,
        label: &str,
        init: RTCDataChannelInit,
    ) -> Result<RTCDataChannelId, Error> {
        let mut parameters = Parameters::from_init(
            label,
            init.protocol,
            init.ordered,
            init.max_retransmits,
            init.max_packet_life_time,
        )
        .map_err(|error| Error::Type(error.to_string()))?;
        parameters.priority = init.priority.value();
        let channel = match init.negotiated {
            Some(stream) => {
                if stream == u16::MAX {
                    return Err(Error::Type("65535 is not a stream id".to_owned()));
                }
                self.streams
                    .reserve(stream)
                    .map_err(|error| Error::Operation(error.to_string()))?;
                Channel::negotiated(stream, parameters)
            }
            None => Channel::open(parameters).map_err(|error| Error::Type(error.to_string()))?,
        };
        let id = self.insert(Entry::new(channel, false))?;
        if let Some(stream) = init.negotiated {
            self.by_stream.insert(stream, id);
            self.take_pending(stream, id);
        }
        self.dirty = true;
        Ok(id)
    }

    fn insert(&mut self, mut entry: Entry) -> Result<RTCDataChannelId, Error> {
        entry.channel.set_max_message_size(self.max_receive_size);
        for _ in 0..=RTCDataChannelId::MAX {
            let id = self.next_id;
            self.next_id = self.next_id.wrapping_add(1);
            if let std::collections::btree_map::Entry::Vacant(slot) = self.channels.entry(id) {
                slot.insert(entry);
                return Ok(id);
            }
        }
        Err(Error::Operation(
            "there are too many data channels".to_owned(),
        ))
    }

    /// The DTLS role settles which stream ids are ours.
    pub(crate) fn set_dtls_role(&mut self, role: rtc_dtls::Role) {
        let role = match role {
            rtc_dtls::Role::Client => Role::Client,
            rtc_dtls::Role::Server => Role::Server,
        };
        if self.streams.role().is_some_and(|known| known != role) {
            // An answer that never took effect said otherwise.
            for entry in self.channels.values_mut() {
                if let Some(stream) = entry.channel.take_stream_id() {
                    self.streams.free(stream);
                    self.by_stream.remove(&stream);
                }
            }
        }
        self.streams.set_role(role);
        self.role_known = true;
        self.dirty = true;
    }

    /// Takes what the association has to tell; true when it has ended.
    pub(crate) fn on_sctp(&mut self, event: rtc_sctp::Event, transport: &mut Transport) -> bool {
        use rtc_sctp::Event;
        let Some(sctp) = &mut transport.sctp else {
            return false;
        };
        match event {
            Event::Connected => {
                self.connected = true;
                self.dirty = true;
                let count = sctp.max_outbound_streams().min(sctp.max_inbound_streams());
                self.streams.set_count(count);
            }
            Event::StreamsReset { streams } => {
                for stream in streams {
                    self.on_incoming_reset(stream, sctp);
                }
            }
            Event::OutgoingReset { streams, outcome } => {
                for stream in streams {
                    self.on_outgoing_reset(stream, outcome);
                }
            }
            Event::BufferedAmountLow { stream } => {
                if let Some(id) = self.by_stream.get(&stream).copied() {
                    self.events
                        .push_back(RTCDataChannelEvent::OnBufferedAmountLow(id));
                    if let Some(entry) = self.channels.get_mut(&id) {
                        entry.above_high = false;
                    }
                    self.set_ready(id);
                }
            }
            Event::Writable { stream } => {
                if let Some(id) = self.by_stream.get(&stream).copied() {
                    self.set_ready(id);
                }
            }
            Event::MessageTooLarge { stream } => {
                if let Some(id) = self.by_stream.get(&stream).copied() {
                    self.fail(id);
                }
            }
            Event::StreamsRefused { streams } => {
                for stream in streams {
                    if let Some(id) = self.by_stream.get(&stream).copied() {
                        self.events.push_back(RTCDataChannelEvent::OnError(id));
                        self.disconnect(id);
                    }
                }
            }
            Event::Restarted => self.close_all_from(sctp, true),
            Event::Aborted { reason } => {
                tracing::debug!(?reason, "the association was aborted");
                // Cause 12 is the peer's wish, no error.
                let wished = matches!(
                    reason,
                    rtc_sctp::AbortReason::ByPeer {
                        cause: USER_INITIATED_ABORT,
                        ..
                    }
                );
                self.close_all_from(sctp, !wished);
                return true;
            }
            Event::Closed => {
                self.close_all_from(sctp, false);
                return true;
            }
            _ => {}
        }
        false
    }

    /// Opens what can be opened, announces, takes announcements in, closes what is to be closed.
    pub(crate) fn settle(&mut self, transport: &mut Transport) {
        let Some(sctp) = &mut transport.sctp else {
            if std::mem::take(&mut self.dirty) {
                if self.role_known {
                    self.assign_streams();
                }
                for id in self.ids() {
                    self.finish_closed(id);
                }
            }
            return;
        };
        self.take_control(sctp);
        while let Some((stream, payload)) = self.control.pop_front() {
            self.on_dcep(stream, &payload, sctp);
        }
        self.hold_unannounced(sctp);
        while let Some(stream) = sctp.poll_readable() {
            if let Some(id) = self.by_stream.get(&stream).copied() {
                self.set_ready(id);
            }
        }
        if !std::mem::take(&mut self.dirty) {
            return;
        }
        if self.role_known {
            self.assign_streams();
        }
        for id in self.ids() {
            self.settle_channel(id, sctp);
        }
    }

    fn ids(&self) -> Vec<RTCDataChannelId> {
        self.channels.keys().copied().collect()
    }

    /// Streams for the channels that were made before the DTLS role was known.
    fn assign_streams(&mut self) {
        for (id, entry) in &mut self.channels {
            if entry.stream().is_some() || entry.channel.state() != ReadyState::Connecting {
                continue;
            }
            match self.streams.allocate() {
                Ok(stream) => {
                    entry.channel.set_stream_id(stream);
                    self.by_stream.insert(stream, *id);
                }
                Err(error) => {
                    tracing::debug!(%error, "no stream for a data channel");
                    entry.channel.handle_disconnected();
                    self.events.push_back(RTCDataChannelEvent::OnError(*id));
                }
            }
        }
    }

    fn settle_channel(&mut self, id: RTCDataChannelId, sctp: &mut Association) {
        let Some(entry) = self.channels.get_mut(&id) else {
            return;
        };
        if self.connected {
            entry.channel.handle_connected();
        }
        let is_open = entry.channel.state() == ReadyState::Open;
        if is_open && !entry.opened {
            self.open(id, sctp);
        }
        let Some(entry) = self.channels.get_mut(&id) else {
            return;
        };
        if let Some(stream) = entry.stream()
            && !entry.inherits_reset
        {
            while let Some(dcep) = entry.channel.poll_dcep() {
                let ppid = PayloadProtocolId::DCEP.0;
                if let Err(error) = sctp.send(stream, ppid, dcep, SendOptions::default()) {
                    tracing::debug!(%error, stream, "channel cannot be announced");
                }
            }
            if entry.channel.poll_reset() {
                if !entry.channel.awaits_confirmation() {
                    // Up to the peer's reset; then the stream may have another channel.
                    sctp.discard_stream(stream);
                }
                sctp.reset_stream(stream);
            }
        }
        self.finish_closed(id);
    }

    /// Tells that a channel is closed, and gives its stream back where that is allowed.
    fn finish_closed(&mut self, id: RTCDataChannelId) {
        let Some(entry) = self.channels.get_mut(&id) else {
            return;
        };
        if entry.channel.state() == ReadyState::Closed && !entry.closed {
            entry.closed = true;
            self.closed += 1;
            let freed = self.streams.release(&entry.channel);
            if let Some(stream) = entry.stream()
                && (freed || !entry.channel.frees_stream())
            {
                self.by_stream.remove(&stream);
            }
            self.events.push_back(RTCDataChannelEvent::OnClose(id));
            Self::push_ready(&mut self.ready, entry, id);
        }
    }

    /// The channel is open: tells so.
    fn open(&mut self, id: RTCDataChannelId, sctp: &mut Association) {
        let Some(entry) = self.channels.get_mut(&id) else {
            return;
        };
        entry.opened = true;
        self.opened += 1;
        if let Some(stream) = entry.stream() {
            // What was asked for before there was a stream.
            sctp.set_stream_priority(stream, entry.channel.parameters().priority);
            sctp.set_buffered_amount_low_threshold(stream, entry.low_threshold);
            if entry.discard {
                sctp.discard_stream(stream);
            }
        }
        self.events.push_back(RTCDataChannelEvent::OnOpen(id));
        Self::push_ready(&mut self.ready, entry, id);
    }

    /// A message of the establishment protocol has come on `stream`.
    fn on_dcep(&mut self, stream: u16, payload: &[u8], sctp: &mut Association) {
        self.dirty = true;
        let replaces = self.replace_closing(stream, payload);
        if let Some(id) = self.by_stream.get(&stream).copied() {
            let Some(entry) = self.channels.get_mut(&id) else {
                return;
            };
            let incoming = entry
                .channel
                .handle_message(PayloadProtocolId::DCEP, BytesMut::from(payload));
            if let Some(Incoming::Violation(error)) = incoming {
                tracing::debug!(%error, stream, "violation of the establishment protocol");
                self.fail(id);
            }
            return;
        }
        let accepted = Channel::accept(stream, payload)
            .and_then(|channel| self.streams.accept(stream).map(|()| channel));
        match accepted {
            Ok(channel) => {
                let mut entry = Entry::new(channel, true);
                entry.inherits_reset = replaces;
                let Ok(id) = self.insert(entry) else {
                    sctp.reset_stream(stream);
                    return;
                };
                self.by_stream.insert(stream, id);
                // At once: it may be closed again before the end of the batch.
                self.open(id, sctp);
                self.take_pending(stream, id);
            }
            Err(rtc_datachannel::Error::NotAnOpen) => {}
            Err(error) => {
                tracing::debug!(%error, stream, "announcement refused");
                sctp.reset_stream(stream);
            }
        }
    }

    fn take_control(&mut self, sctp: &mut Association) {
        while let Some(message) = sctp.read_control() {
            self.control.push_back((message.stream, message.payload));
        }
    }

    /// An announcement on a stream whose channel is all but closed: the peer, which has both resets,
    /// was faster with it than with its confirmation. True when the old channel made way.
    fn replace_closing(&mut self, stream: u16, payload: &[u8]) -> bool {
        let Some(id) = self.by_stream.get(&stream).copied() else {
            return false;
        };
        let Some(entry) = self.channels.get_mut(&id) else {
            return false;
        };
        if !entry.channel.awaits_confirmation() || Channel::accept(stream, payload).is_err() {
            return false;
        }
        entry.channel.handle_outgoing_reset();
        self.finish_closed(id);
        true
    }

    /// Moves messages of streams without a channel out of the way of the others.
    fn hold_unannounced(&mut self, sctp: &mut Association) {
        while let Some(stream) = sctp.peek_stream() {
            if self.by_stream.contains_key(&stream) {
                break;
            }
            let Some(message) = sctp.read_stream(stream) else {
                break;
            };
            self.pending
                .push(stream, PayloadProtocolId(message.ppid), message.payload);
        }
    }

    /// Gives a new channel what came for its stream before.
    fn take_pending(&mut self, stream: u16, id: RTCDataChannelId) {
        while let Some((ppid, payload)) = self.pending.take(stream) {
            self.put_in_inbox(id, ppid, payload);
        }
    }

    fn put_in_inbox(&mut self, id: RTCDataChannelId, ppid: PayloadProtocolId, payload: BytesMut) {
        let Some(entry) = self.channels.get_mut(&id) else {
            return;
        };
        match entry.channel.handle_message(ppid, payload) {
            Some(Incoming::Message(_)) if entry.discard => {}
            Some(Incoming::Message(message)) => {
                if entry.inbox.is_empty() {
                    self.inboxes.push_back(id);
                }
                entry.inbox.push_back(message);
                Self::push_ready(&mut self.ready, entry, id);
            }
            Some(Incoming::Violation(_)) => self.fail(id),
            _ => {}
        }
    }

    /// Takes what is unread of a stream into the inbox of its channel: the stream is about to end.
    fn drain_stream(&mut self, stream: u16, id: RTCDataChannelId, sctp: &mut Association) {
        while let Some(message) = sctp.read_stream(stream) {
            self.put_in_inbox(id, PayloadProtocolId(message.ppid), message.payload);
        }
    }

    fn on_incoming_reset(&mut self, stream: u16, sctp: &mut Association) {
        self.dirty = true;
        // An announcement that is still unread goes first. One for a stream that has a channel is
        // another one's, from after the reset.
        self.take_control(sctp);
        while !self.by_stream.contains_key(&stream)
            && let Some(at) = self.control.iter().position(|(of, _)| *of == stream)
            && let Some((_, payload)) = self.control.remove(at)
        {
            self.on_dcep(stream, &payload, sctp);
        }
        let Some(id) = self.by_stream.get(&stream).copied() else {
            self.pending.discard(stream);
            while sctp.read_stream(stream).is_some() {}
            sctp.reset_stream(stream);
            return;
        };
        if self
            .channels
            .get(&id)
            .is_some_and(|entry| entry.channel.state() == ReadyState::Open)
        {
            self.drain_stream(stream, id, sctp);
            self.events.push_back(RTCDataChannelEvent::OnClosing(id));
        }
        let Some(entry) = self.channels.get_mut(&id) else {
            return;
        };
        entry.channel.handle_incoming_reset();
        Self::push_ready(&mut self.ready, entry, id);
        self.finish_closed(id);
    }

    fn on_outgoing_reset(&mut self, stream: u16, outcome: ResetOutcome) {
        self.dirty = true;
        let Some(id) = self.by_stream.get(&stream).copied() else {
            return;
        };
        let Some(entry) = self.channels.get_mut(&id) else {
            return;
        };
        if std::mem::take(&mut entry.inherits_reset) {
            // It was the reset of the channel before. Who was told that there is no room waits for this.
            self.events
                .push_back(RTCDataChannelEvent::OnBufferedAmountLow(id));
            self.set_ready(id);
            return;
        }
        match outcome {
            ResetOutcome::Done => entry.channel.handle_outgoing_reset(),
            // The peer cannot or will not: the channel ends here, its id stays taken.
            _ => entry.channel.handle_disconnected(),
        }
        // At once: the next channel on the stream may have been announced already.
        self.finish_closed(id);
    }

    fn fail(&mut self, id: RTCDataChannelId) {
        self.events.push_back(RTCDataChannelEvent::OnError(id));
        if let Some(entry) = self.channels.get_mut(&id) {
            entry.channel.close();
        }
        self.dirty = true;
    }

    fn disconnect(&mut self, id: RTCDataChannelId) {
        if let Some(entry) = self.channels.get_mut(&id) {
            entry.channel.handle_disconnected();
            if !entry.closed {
                entry.closed = true;
                self.closed += 1;
                self.events.push_back(RTCDataChannelEvent::OnClose(id));
                Self::push_ready(&mut self.ready, entry, id);
            }
        }
    }

    /// The association has ended; what had arrived stays readable.
    fn close_all_from(&mut self, sctp: &mut Association, with_error: bool) {
        self.drain_all(sctp);
        self.close_all(with_error);
    }

    /// The transport is about to end: what has arrived stays readable.
    pub(crate) fn keep_unread(&mut self, transport: &mut Transport) {
        self.settle(transport);
        if let Some(sctp) = &mut transport.sctp {
            self.drain_all(sctp);
        }
    }

    fn drain_all(&mut self, sctp: &mut Association) {
        let streams: Vec<(u16, RTCDataChannelId)> = self
            .by_stream
            .iter()
            .map(|(stream, id)| (*stream, *id))
            .collect();
        for (stream, id) in streams {
            self.drain_stream(stream, id, sctp);
        }
    }

    /// The transport has ended: every channel is closed as it is.
    pub(crate) fn close_all(&mut self, with_error: bool) {
        for id in self.ids() {
            let open = self.channels.get(&id).is_some_and(|entry| !entry.closed);
            if with_error && open {
                self.events.push_back(RTCDataChannelEvent::OnError(id));
            }
            self.disconnect(id);
        }
    }

    /// Queues a message; gives it back when it cannot be sent now or never.
    pub(crate) fn send(
        &mut self,
        id: RTCDataChannelId,
        message: RTCDataChannelMessage,
        transport: &mut Transport,
    ) -> Result<(), SendMessageError> {
        let refuse = |error, message| Err(SendMessageError { error, message });
        let Some(entry) = self.channels.get_mut(&id) else {
            return refuse(
                Error::InvalidState("there is no such data channel"),
                message,
            );
        };
        let (ReadyState::Open, Some(stream), Some(sctp)) =
            (entry.channel.state(), entry.stream(), &mut transport.sctp)
        else {
            return refuse(Error::InvalidState("the data channel is not open"), message);
        };
        let size = message.data.len();
        if size > self.max_message_size {
            let max = self.max_message_size;
            return refuse(Error::MessageTooLarge { size, max }, message);
        }
        if entry.inherits_reset {
            return refuse(Error::BufferFull, message);
        }
        if let Err(error) = sctp.check_send(stream, size.max(1)) {
            return refuse(send_error(&error, size), message);
        }
        let options = entry.send_options();
        let (ppid, payload) = Message::to_payload(message.is_string, message.data.freeze());
        if let Err(error) = sctp.send(stream, ppid.0, payload, options) {
            return refuse(send_error(&error, size), RTCDataChannelMessage::default());
        }
        entry.messages_sent += 1;
        entry.bytes_sent += size as u64;
        if !entry.above_high && sctp.buffered_amount(stream) > entry.high_threshold {
            entry.above_high = true;
            self.events
                .push_back(RTCDataChannelEvent::OnBufferedAmountHigh(id));
        }
        Ok(())
    }

    /// The next message of any channel, in order of arrival.
    pub(crate) fn read(
        &mut self,
        transport: &mut Transport,
    ) -> Option<(RTCDataChannelId, RTCDataChannelMessage)> {
        if let Some(id) = self.inboxes.front().copied() {
            let announced = self.channels.get(&id).is_some_and(|entry| entry.announced);
            return if announced {
                Some((id, self.read_inbox(id)?))
            } else {
                None
            };
        }
        let sctp = transport.sctp.as_mut()?;
        loop {
            let stream = sctp.peek_stream()?;
            let Some(id) = self.by_stream.get(&stream).copied() else {
                self.hold_unannounced(sctp);
                continue;
            };
            let entry = self.channels.get_mut(&id)?;
            // A message never overtakes the event that announces its channel.
            if !entry.announced && entry.channel.state() == ReadyState::Open {
                return None;
            }
            let message = sctp.read()?;
            if let Some(message) = self.take(id, message) {
                return Some((id, message));
            }
        }
    }

    /// The next message of one channel.
    pub(crate) fn read_channel(
        &mut self,
        id: RTCDataChannelId,
        transport: &mut Transport,
    ) -> Option<RTCDataChannelMessage> {
        let entry = self.channels.get(&id)?;
        if !entry.inbox.is_empty() {
            return self.read_inbox(id);
        }
        let stream = entry.stream()?;
        let sctp = transport.sctp.as_mut()?;
        if self.by_stream.get(&stream) != Some(&id) {
            return None;
        }
        loop {
            let message = sctp.read_stream(stream)?;
            if let Some(message) = self.take(id, message) {
                return Some(message);
            }
        }
    }

    fn take(
        &mut self,
        id: RTCDataChannelId,
        message: rtc_sctp::Message,
    ) -> Option<RTCDataChannelMessage> {
        let entry = self.channels.get_mut(&id)?;
        match entry
            .channel
            .handle_message(PayloadProtocolId(message.ppid), message.payload)
        {
            Some(Incoming::Message(message)) => Some(entry.received(message)),
            Some(Incoming::Violation(_)) => {
                self.fail(id);
                None
            }
            _ => None,
        }
    }

    fn read_inbox(&mut self, id: RTCDataChannelId) -> Option<RTCDataChannelMessage> {
        let entry = self.channels.get_mut(&id)?;
        let message = entry.inbox.pop_front()?;
        if entry.inbox.is_empty() {
            entry.inbox = VecDeque::new();
            self.inboxes.retain(|other| *other != id);
        }
        Some(entry.received(message))
    }

    /// Closes a channel; what is queued goes out first. What has come stays readable, what comes
    /// from now on is dropped.
    pub(crate) fn close(&mut self, id: RTCDataChannelId, transport: &mut Transport) {
        let Some(entry) = self.channels.get(&id) else {
            return;
        };
        if let (ReadyState::Open, Some(stream), Some(sctp)) =
            (entry.channel.state(), entry.stream(), &mut transport.sctp)
        {
            self.drain_stream(stream, id, sctp);
        }
        if let Some(entry) = self.channels.get_mut(&id) {
            entry.channel.close();
            self.dirty = true;
        }
    }

    /// Nobody reads the channel any more: its data is dropped as it comes.
    pub(crate) fn discard(&mut self, id: RTCDataChannelId, transport: &mut Transport) {
        let Some(entry) = self.channels.get_mut(&id) else {
            return;
        };
        entry.discard = true;
        entry.inbox = VecDeque::new();
        self.inboxes.retain(|other| *other != id);
        if let (Some(stream), Some(sctp)) = (entry.stream(), &mut transport.sctp) {
            sctp.discard_stream(stream);
        }
    }

    pub(crate) fn release(&mut self, id: RTCDataChannelId, transport: &mut Transport) {
        if self.channels.get(&id).is_some_and(|entry| entry.closed) {
            self.discard(id, transport);
            self.channels.remove(&id);
        }
    }

    pub(crate) fn set_thresholds(
        &mut self,
        id: RTCDataChannelId,
        low: Option<usize>,
        high: Option<usize>,
        transport: &mut Transport,
    ) {
        let Some(entry) = self.channels.get_mut(&id) else {
            return;
        };
        entry.high_threshold = high.unwrap_or(entry.high_threshold);
        if let Some(low) = low {
            entry.low_threshold = low;
            if let (Some(stream), Some(sctp)) = (entry.stream(), &mut transport.sctp) {
                sctp.set_buffered_amount_low_threshold(stream, low);
            }
        }
    }

    /// The open event was polled: messages may follow.
    pub(crate) fn announced(&mut self, id: RTCDataChannelId) {
        if let Some(entry) = self.channels.get_mut(&id) {
            entry.announced = true;
        }
    }

    pub(crate) fn poll_event(&mut self) -> Option<RTCDataChannelEvent> {
        self.events.pop_front()
    }

    pub(crate) fn poll_ready(&mut self) -> Option<RTCDataChannelId> {
        let id = self.ready.pop_front()?;
        if let Some(entry) = self.channels.get_mut(&id) {
            entry.is_ready = false;
        }
        Some(id)
    }

    fn set_ready(&mut self, id: RTCDataChannelId) {
        if let Some(entry) = self.channels.get_mut(&id) {
            Self::push_ready(&mut self.ready, entry, id);
        }
    }

    fn push_ready(ready: &mut VecDeque<RTCDataChannelId>, entry: &mut Entry, id: RTCDataChannelId) {
        if !std::mem::replace(&mut entry.is_ready, true) {
            ready.push_back(id);
        }
    }
}

fn send_error(error: &SendError, size: usize) -> Error {
    match error {
        SendError::BufferFull => Error::BufferFull,
        SendError::TooLarge { max } => Error::MessageTooLarge { size, max: *max },
        SendError::Closed | SendError::StreamClosing => {
            Error::InvalidState("the data channel is not open")
        }
        other => Error::Operation(other.to_string()),
    }
}

/// RFC 9260 section 3.3.10.12: the upper layer wished it.
const USER_INITIATED_ABORT: u16 = 12;
