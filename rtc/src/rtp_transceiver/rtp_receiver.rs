//! Receivers (webrtc-pc section 5.3).

use rtc_rtp::extension::ExtensionMap;

use super::negotiated::{NegotiatedCodec, NegotiatedLayer, NegotiatedReceive, RemoteSource};
pub use super::parameters::*;
use super::transceivers::Transceiver;
use super::{RTCRtpReceiverId, RTCRtpTransceiverId};
use crate::Error;
use crate::media_stream::{MediaStreamId, MediaStreamTrack, MediaStreamTrackId};
use crate::peer_connection::RTCPeerConnection;

/// What a connection keeps of a receiver.
#[derive(Clone, Debug)]
pub(crate) struct Receiver {
    pub(crate) track: MediaStreamTrack,
    pub(crate) streams: Vec<MediaStreamId>,
    pub(crate) layers: Vec<NegotiatedLayer>,
    pub(crate) sources: Vec<RemoteSource>,
}

impl Receiver {
    pub(crate) fn new(kind: RtpCodecKind, track_id: MediaStreamTrackId) -> Self {
        let mut track = MediaStreamTrack::new("", track_id, kind.as_str(), kind, Vec::new());
        track.set_muted(true);
        Self {
            track,
            streams: Vec::new(),
            layers: Vec::new(),
            sources: Vec::new(),
        }
    }

    /// Takes what a description says of the peer's streams.
    pub(crate) fn describe(&mut self, layers: Vec<NegotiatedLayer>, sources: Vec<RemoteSource>) {
        let codings = if layers.is_empty() {
            sources.iter().map(coding_of_source).collect()
        } else {
            let layer = |layer: &NegotiatedLayer| RTCRtpEncodingParameters {
                active: !layer.paused,
                ..RTCRtpEncodingParameters::with_rid(layer.rid.clone())
            };
            layers.iter().map(layer).collect()
        };
        self.track.set_codings(codings);
        self.layers = layers;
        self.sources = sources;
    }

    /// A source was learnt from its packets, of the simulcast layer `rid` if that is not empty.
    pub(crate) fn learn(&mut self, rid: &str, ssrc: SSRC, rtx: Option<SSRC>) {
        let mut codings = self.track.codings().to_vec();
        let is_it = |coding: &RTCRtpEncodingParameters| {
            coding.rtp_coding_parameters.ssrc == Some(ssrc)
                || !rid.is_empty() && coding.rid() == rid
        };
        let at = match codings.iter().position(is_it) {
            Some(at) => at,
            None => {
                codings.push(RTCRtpEncodingParameters::with_rid(rid));
                codings.len() - 1
            }
        };
        if let Some(coding) = codings.get_mut(at) {
            let coding = &mut coding.rtp_coding_parameters;
            coding.ssrc = Some(ssrc);
            coding.rtx = rtx.map(|ssrc| RTCRtpRtxParameters { ssrc });
        }
        self.track.set_codings(codings);
    }

    pub(crate) fn set_streams(&mut self, streams: Vec<MediaStreamId>) {
        self.track
            .set_stream_id(streams.first().cloned().unwrap_or_default());
        self.streams = streams;
    }
}

fn coding_of_source(source: &RemoteSource) -> RTCRtpEncodingParameters {
    RTCRtpEncodingParameters {
        rtp_coding_parameters: RTCRtpCodingParameters {
            rid: String::new(),
            ssrc: Some(source.ssrc),
            rtx: source.rtx.map(|ssrc| RTCRtpRtxParameters { ssrc }),
            fec: source.fec.map(|ssrc| RTCRtpFecParameters { ssrc }),
        },
        ..RTCRtpEncodingParameters::default()
    }
}

/// The codecs of a list with their retransmissions, as W3C lists them.
pub(crate) fn flat_codecs(codecs: &[NegotiatedCodec]) -> Vec<RTCRtpCodecParameters> {
    let mut flat = Vec::with_capacity(2 * codecs.len());
    for codec in codecs {
        let parameters = &codec.parameters;
        flat.push(parameters.clone());
        if let Some(payload_type) = codec.rtx {
            let mime = &parameters.rtp_codec.mime_type;
            let kind = mime.split('/').next().unwrap_or_default();
            flat.push(RTCRtpCodecParameters {
                rtp_codec: RTCRtpCodec {
                    mime_type: format!("{kind}/rtx"),
                    clock_rate: parameters.rtp_codec.clock_rate,
                    sdp_fmtp_line: format!("apt={}", parameters.payload_type),
                    ..RTCRtpCodec::default()
                },
                payload_type,
            });
        }
    }
    flat
}

/// A view of a receiver, borrowed from its connection.
#[derive(Debug)]
pub struct RTCRtpReceiver<'a> {
    pub(crate) connection: &'a mut RTCPeerConnection,
    pub(crate) id: RTCRtpReceiverId,
}

impl RTCRtpReceiver<'_> {
    fn get(&self) -> Option<&Transceiver> {
        self.connection.media.by_receiver(self.id)
    }

    /// Its handle.
    #[must_use]
    pub fn id(&self) -> RTCRtpReceiverId {
        self.id
    }

    /// The transceiver that it is part of.
    #[must_use]
    pub fn transceiver_id(&self) -> RTCRtpTransceiverId {
        self.id.transceiver_id()
    }

    /// Its track, which is there from the beginning; `None` once its transceiver is forgotten. The
    /// codings are the simulcast layers or the sources that the peer has announced.
    #[must_use]
    pub fn track(&self) -> Option<&MediaStreamTrack> {
        self.get().map(|it| &it.receiver.track)
    }

    /// The streams that the peer says its track belongs to.
    #[must_use]
    pub fn streams(&self) -> &[MediaStreamId] {
        self.get().map_or(&[], |it| &it.receiver.streams)
    }

    /// How it receives.
    #[must_use]
    pub fn get_parameters(&self) -> RTCRtpReceiveParameters {
        let Some(it) = self.get() else {
            return RTCRtpReceiveParameters::default();
        };
        let Some(receive) = &it.receive else {
            return RTCRtpReceiveParameters::default();
        };
        RTCRtpReceiveParameters {
            rtp_parameters: RTCRtpParameters {
                header_extensions: receive.header_extensions.clone(),
                rtcp: RTCRtcpParameters {
                    cname: String::new(),
                    reduced_size: receive.reduced_size_rtcp,
                },
                codecs: flat_codecs(&receive.codecs),
            },
        }
    }

    /// The next packet that has come, if the event that opens the track was polled. It is one that
    /// [`poll_read`](rtc_shared::Protocol::poll_read) would have given.
    #[must_use]
    pub fn read_rtp(&mut self) -> Option<rtc_rtp::Packet> {
        self.connection
            .packets
            .read_rtp_of(self.id.transceiver_id())
    }

    /// How many packets were dropped because nobody read them in time.
    #[must_use]
    pub fn dropped_unread(&self) -> u64 {
        self.connection
            .packets
            .dropped_unread(self.id.transceiver_id())
    }

    /// The codec of packets of this payload type, if it was negotiated.
    #[must_use]
    pub fn codec(&self, payload_type: PayloadType) -> Option<&RTCRtpCodecParameters> {
        let codecs = &self.get()?.receive.as_ref()?.codecs;
        let is_it = |it: &&NegotiatedCodec| it.parameters.payload_type == payload_type;
        codecs.iter().find(is_it).map(|it| &it.parameters)
    }

    /// The sources that packets have come of, each with the name of its simulcast layer.
    pub fn ssrcs(&self) -> impl Iterator<Item = (SSRC, Option<&str>)> {
        self.connection.packets.sources(self.id.transceiver_id())
    }

    /// The name of the simulcast layer that packets of a source are of.
    #[must_use]
    pub fn rid(&self, ssrc: SSRC) -> Option<&str> {
        let mut sources = self.ssrcs();
        sources
            .find(|(source, _)| *source == ssrc)
            .and_then(|(_, rid)| rid)
    }

    /// The numbers of the header extensions in packets that come, for
    /// [`RTCRtpSender::forward_rtp`](super::RTCRtpSender::forward_rtp).
    #[must_use]
    pub fn extension_map(&self) -> ExtensionMap {
        let receive = self.get().and_then(|it| it.receive.as_ref());
        receive
            .map(NegotiatedReceive::extension_map)
            .unwrap_or_default()
    }

    /// Asks the peer for a key frame of each source, by PLI or FIR as negotiated. No more is sent than
    /// one each 200 ms, so that it can be called whenever a key frame would help. False when nothing
    /// has come yet, or neither was negotiated.
    pub fn request_key_frame(&mut self) -> bool {
        let sources: Vec<SSRC> = self.ssrcs().map(|(ssrc, _)| ssrc).collect();
        let mut asked = false;
        for ssrc in sources {
            asked |= self.connection.packets.request_key_frame(ssrc);
        }
        asked
    }

    /// The same for one source: one simulcast layer.
    pub fn request_key_frame_of(&mut self, ssrc: SSRC) -> bool {
        let is_ours = self.ssrcs().any(|(source, _)| source == ssrc);
        is_ours && self.connection.packets.request_key_frame(ssrc)
    }

    /// Sends RTCP packets about what is received. Reports and feedback are sent without it.
    ///
    /// # Errors
    /// [`Error::InvalidState`] when the connection is closed or has no keys.
    pub fn write_rtcp(&mut self, packets: Vec<rtc_rtcp::Packet>) -> Result<(), Error> {
        let now = self.connection.now();
        self.connection
            .up_to_date_packets()?
            .write_rtcp(now, packets)
    }

    /// What can be received of a kind of media.
    #[must_use]
    pub fn get_capabilities(&self, kind: RtpCodecKind) -> RTCRtpCapabilities {
        self.connection
            .get_configuration()
            .media_engine()
            .capabilities(kind)
    }
}
