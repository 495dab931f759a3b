use std::collections::VecDeque;
use std::iter;
use std::task::Waker;

use rtc::media_stream::MediaStreamTrackId;
use rtc::rtp::Packet;
use rtc::rtp_transceiver::{PayloadType, RTCRtpReceiver, RTCRtpTransceiverId, SSRC};

use crate::shared::State;
use crate::waiters::{LayerId, Step, Waiters, When};

/// What the handles of a receiver share.
///
/// Packets wait in the core until they are read, unless some of its layers are read alone: then they
/// are sorted as soon as they come.
#[derive(Debug, Default)]
pub(super) struct Receiver {
    /// Once it is known.
    pub(super) track_id: Option<MediaStreamTrackId>,
    /// The track was given as a new one.
    pub(super) is_told: bool,
    /// No packet will come any more.
    pub(super) has_ended: bool,
    pub(super) readers: Waiters,
    handles: usize,
    /// It had a handle: what comes when there is none any more is for nobody.
    had_handles: bool,
    layers: Vec<Layer>,
    next_layer: u32,
    /// Packets of no layer that is read alone, while there are such.
    rest: Ring,
    /// The layers of sources, as far as they were asked for. Forgotten when layers or sources change.
    sources: Vec<(SSRC, Option<LayerId>)>,
    payload_type: Option<PayloadType>,
    /// Packets that layers, which are read alone no more, have dropped.
    dropped: u64,
}

/// A layer that is read alone.
#[derive(Debug)]
pub(super) struct Layer {
    id: LayerId,
    rid: String,
    handles: usize,
    pub(super) readers: Waiters,
    ring: Ring,
    payload_type: Option<PayloadType>,
}

/// Packets that wait; the oldest make room.
#[derive(Debug, Default)]
struct Ring {
    packets: VecDeque<Packet>,
    dropped: u64,
}

impl Ring {
    fn push(&mut self, packet: Packet) {
        if self.packets.len() >= MAX_PACKETS {
            self.packets.pop_front();
            self.dropped += 1;
        }
        self.packets.push_back(packet);
    }
}

impl Receiver {
    /// Everybody who waits for something of it.
    pub(super) fn waiters(&mut self) -> impl Iterator<Item = &mut Waiters> {
        let layers = self.layers.iter_mut().map(|layer| &mut layer.readers);
        iter::once(&mut self.readers).chain(layers)
    }

    pub(super) fn layer_mut(&mut self, id: LayerId) -> Option<&mut Layer> {
        self.layers.iter_mut().find(|layer| layer.id == id)
    }

    pub(super) fn is_used(&self) -> bool {
        self.handles > 0
    }

    /// Takes packets out of the core that shall not wait there.
    pub(super) fn take_packets(&mut self, view: &mut RTCRtpReceiver<'_>) {
        if self.had_handles && self.handles == 0 {
            while view.read_rtp().is_some() {}
        }
        if self.layers.is_empty() {
            return;
        }
        while let Some(packet) = view.read_rtp() {
            let layer = self.layer_of(packet.header.ssrc, view);
            match layer.and_then(|id| self.layer_mut(id)) {
                Some(layer) => layer.ring.push(packet),
                None => self.rest.push(packet),
            }
        }
    }

    /// Wakes those who have something to read.
    pub(super) fn wake(&mut self, wakes: &mut Vec<Waker>) {
        if self.layers.is_empty() || !self.rest.packets.is_empty() {
            self.readers.take_all(wakes);
        }
        for layer in &mut self.layers {
            if !layer.ring.packets.is_empty() {
                layer.readers.take_all(wakes);
            }
        }
    }

    pub(super) fn forget_sources(&mut self) {
        self.sources.clear();
    }

    fn layer_of(&mut self, ssrc: SSRC, view: &RTCRtpReceiver<'_>) -> Option<LayerId> {
        if let Some((_, layer)) = self.sources.iter().find(|(source, _)| *source == ssrc) {
            return *layer;
        }
        let rid = view.rid(ssrc);
        let layer = self.layers.iter().find(|it| Some(&*it.rid) == rid);
        let layer = layer.map(|it| it.id);
        if self.sources.len() >= MAX_SOURCES {
            self.sources.clear();
        }
        self.sources.push((ssrc, layer));
        layer
    }

    fn add_layer(&mut self, rid: &str) -> LayerId {
        if let Some(layer) = self.layers.iter_mut().find(|layer| layer.rid == rid) {
            layer.handles += 1;
            return layer.id;
        }
        let id = LayerId(self.next_layer);
        self.next_layer += 1;
        self.layers.push(Layer {
            id,
            rid: rid.to_owned(),
            handles: 1,
            readers: Waiters::default(),
            ring: Ring::default(),
            payload_type: None,
        });
        self.forget_sources();
        id
    }

    fn drop_layer(&mut self, id: LayerId) {
        let Some(at) = self.layers.iter().position(|layer| layer.id == id) else {
            return;
        };
        let Some(layer) = self.layers.get_mut(at) else {
            return;
        };
        layer.handles -= 1;
        if layer.handles == 0 {
            let layer = self.layers.remove(at);
            self.dropped += layer.ring.dropped;
            self.forget_sources();
        }
    }
}

/// Receivers for their handles.
impl State {
    pub(super) fn remote_handle_made(
        &mut self,
        id: RTCRtpTransceiverId,
        track_id: &MediaStreamTrackId,
    ) {
        let receiver = self.media.receivers.entry(id).or_default();
        receiver.track_id.get_or_insert_with(|| track_id.clone());
        receiver.handles += 1;
        receiver.had_handles = true;
    }

    pub(super) fn remote_handle_dropped(&mut self, id: RTCRtpTransceiverId) {
        let Some(receiver) = self.media.receivers.get_mut(&id) else {
            return;
        };
        receiver.handles -= 1;
        if receiver.handles > 0 {
            return;
        }
        receiver.rest.packets = VecDeque::new();
        if self.core.rtp_transceiver(id).is_none() {
            self.media.receivers.remove(&id);
        } else if let Some(mut view) = self.core.rtp_receiver(id.receiver_id()) {
            receiver.take_packets(&mut view);
        }
    }

    pub(super) fn layer_handle_made(&mut self, id: RTCRtpTransceiverId, rid: &str) -> LayerId {
        let receiver = self.media.receivers.entry(id).or_default();
        let layer = receiver.add_layer(rid);
        if let Some(mut view) = self.core.rtp_receiver(id.receiver_id()) {
            receiver.take_packets(&mut view);
        }
        layer
    }

    pub(super) fn layer_handle_dropped(&mut self, id: RTCRtpTransceiverId, layer: LayerId) {
        if let Some(receiver) = self.media.receivers.get_mut(&id) {
            receiver.drop_layer(layer);
        }
    }

    /// The next packet of a track, or of one of its layers; `None` when there will be none.
    pub(super) fn read_rtp(
        &mut self,
        id: RTCRtpTransceiverId,
        layer: Option<LayerId>,
    ) -> Step<Option<Packet>> {
        let Some(receiver) = self.media.receivers.get_mut(&id) else {
            return Step::Done(None);
        };
        let packet = match layer {
            Some(layer) => receiver.layer_mut(layer).and_then(|layer| {
                let packet = layer.ring.packets.pop_front()?;
                layer.payload_type = Some(packet.header.payload_type);
                Some(packet)
            }),
            None => {
                let mut packet = receiver.rest.packets.pop_front();
                if packet.is_none() && receiver.layers.is_empty() {
                    let view = self.core.rtp_receiver(id.receiver_id());
                    packet = view.and_then(|mut view| view.read_rtp());
                }
                packet.inspect(|it| receiver.payload_type = Some(it.header.payload_type))
            }
        };
        if packet.is_some() {
            return Step::Done(packet);
        }
        let has_ended = receiver.has_ended || self.has_ended();
        let transceiver = self.core.rtp_transceiver(id);
        match has_ended || transceiver.is_none_or(|it| it.stopped()) {
            true => Step::Done(None),
            false => Step::Wait(When::Any),
        }
    }

    /// The payload type of the packet that was read last.
    pub(super) fn payload_type_read(
        &mut self,
        id: RTCRtpTransceiverId,
        layer: Option<LayerId>,
    ) -> Option<PayloadType> {
        let receiver = self.media.receivers.get_mut(&id)?;
        match layer {
            Some(layer) => receiver.layer_mut(layer)?.payload_type,
            None => receiver.payload_type,
        }
    }

    /// How many packets were dropped because nobody read them in time.
    pub(super) fn dropped_unread(&mut self, id: RTCRtpTransceiverId) -> u64 {
        let view = self.core.rtp_receiver(id.receiver_id());
        let in_core = view.map_or(0, |view| view.dropped_unread());
        let receiver = self.media.receivers.get(&id);
        let here = receiver.map_or(0, |it| {
            let layers = it.layers.iter().map(|layer| layer.ring.dropped);
            it.dropped + it.rest.dropped + layers.sum::<u64>()
        });
        in_core + here
    }

    /// The same for one layer.
    pub(super) fn dropped_of_layer(&mut self, id: RTCRtpTransceiverId, layer: LayerId) -> u64 {
        let receiver = self.media.receivers.get_mut(&id);
        let layer = receiver.and_then(|receiver| receiver.layer_mut(layer));
        layer.map_or(0, |layer| layer.ring.dropped)
    }
}

/// Packets that wait for a reader, of one layer.
const MAX_PACKETS: usize = 1024;
/// Sources of one track whose layers are remembered.
const MAX_SOURCES: usize = 32;
