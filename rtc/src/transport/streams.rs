//! The TCP connections of ICE (RFC 6544). The agent names a path by the base of its candidate, which for
//! an active one has port 9; the stream has a port of its own.

use bytes::BytesMut;
use rtc_ice::TcpType;
use rtc_shared::{FiveTuple, TransportProtocol};
use tracing::{debug, trace};

use super::Transport;
use crate::peer_connection::request::{RTCAnswer, RTCRequest, RTCRequestId, RTCStreamKind};

/// The streams of one connection.
#[derive(Debug, Default)]
pub(crate) struct Streams(Vec<Stream>);

#[derive(Debug)]
struct Stream {
    /// Of a stream that we asked for.
    id: Option<RTCRequestId>,
    /// As the agent knows it.
    path: FiveTuple,
    /// As the outside knows it, once it is open.
    real: Option<FiveTuple>,
    /// Messages until it is open.
    waiting: Vec<BytesMut>,
}

/// What becomes of a message on its way out.
pub(super) enum Outlet {
    /// It can leave.
    Open,
    /// It waits for its stream.
    Kept,
    /// There is no stream for it.
    None,
}

impl Streams {
    /// The path of the agent for one of the outside.
    fn known(&self, real: &FiveTuple) -> Option<FiveTuple> {
        let mut streams = self.0.iter();
        let stream = streams.find(|stream| stream.real.as_ref() == Some(real));
        stream.map(|stream| stream.path)
    }

    /// The path of the outside for one of the agent; `None` while the stream is not open.
    pub(super) fn real(&self, path: &FiveTuple) -> Option<FiveTuple> {
        match self.0.iter().find(|it| it.path == *path) {
            Some(stream) => stream.real,
            None => Some(*path).filter(|it| it.local_addr.port() != ACTIVE_PORT),
        }
    }

    fn remove(&mut self, matches: impl Fn(&Stream) -> bool) -> Option<Stream> {
        let index = self.0.iter().position(matches)?;
        Some(self.0.swap_remove(index))
    }
}

impl Transport {
    /// Gives a message that came by a stream the path that the agent knows.
    pub(super) fn incoming_path(&mut self, real: FiveTuple) -> FiveTuple {
        if let Some(path) = self.streams.known(&real) {
            return path;
        }
        // Those of passive candidates need no note: both sides have one name for them.
        let is_simultaneous = self.has_tcp(&real, TcpType::SimultaneousOpen);
        if is_simultaneous && self.streams.0.len() < MAX_STREAMS {
            self.streams.0.push(Stream {
                id: None,
                path: real,
                real: Some(real),
                waiting: Vec::new(),
            });
        }
        real
    }

    /// Whether there is a TCP candidate of a kind at the local end of a path.
    fn has_tcp(&self, path: &FiveTuple, tcp_type: TcpType) -> bool {
        self.ice.local_candidates().iter().any(|candidate| {
            candidate.base() == Some(path.local_addr)
                && candidate.transport == TransportProtocol::TCP
                && candidate.tcp_type == Some(tcp_type)
        })
    }

    /// Finds the stream for a message of the agent, or has one opened.
    pub(super) fn outlet(&mut self, path: FiveTuple, message: &BytesMut) -> Outlet {
        let streams = &mut self.streams.0;
        if let Some(stream) = streams.iter_mut().find(|stream| stream.path == path) {
            return match stream.real {
                Some(_) => Outlet::Open,
                None => {
                    if stream.waiting.len() < MAX_WAITING {
                        stream.waiting.push(message.clone());
                    }
                    Outlet::Kept
                }
            };
        }
        let is_full = streams.len() >= MAX_STREAMS;
        let opens =
            self.has_tcp(&path, TcpType::Active) || self.has_tcp(&path, TcpType::SimultaneousOpen);
        match opens {
            // The peer has opened it.
            false => return Outlet::Open,
            true if is_full => {
                trace!(?path, "too many streams");
                return Outlet::None;
            }
            true => {}
        }
        let id = self.gather.next_request();
        let mut local_addr = path.local_addr;
        if local_addr.port() == ACTIVE_PORT {
            local_addr.set_port(0);
        }
        self.gather.push_request(RTCRequest::OpenStream {
            id,
            local_addr,
            peer_addr: path.peer_addr,
            kind: RTCStreamKind::Framed,
        });
        self.streams.0.push(Stream {
            id: Some(id),
            path,
            real: None,
            waiting: vec![message.clone()],
        });
        Outlet::Kept
    }

    /// A message that waited for its stream.
    pub(super) fn poll_waiting(&mut self) -> Option<(FiveTuple, BytesMut)> {
        self.streams.0.iter_mut().find_map(|stream| {
            let real = stream.real.filter(|_| !stream.waiting.is_empty())?;
            Some((real, stream.waiting.remove(0)))
        })
    }

    /// Takes what came of a stream that was asked for; false when it is of something else.
    pub(crate) fn answer_stream(&mut self, id: RTCRequestId, answer: &RTCAnswer) -> bool {
        let mut streams = self.streams.0.iter_mut();
        let Some(stream) = streams.find(|stream| stream.id == Some(id)) else {
            return false;
        };
        match *answer {
            RTCAnswer::Opened {
                local_addr,
                peer_addr,
            } if stream.real.is_none() => {
                stream.real = Some(FiveTuple {
                    local_addr,
                    peer_addr,
                    transport_protocol: TransportProtocol::TCP,
                });
            }
            _ => {
                if let Some(stream) = self.streams.remove(|it| it.id == Some(id)) {
                    debug!(path = ?stream.path, "stream is gone");
                    self.ice.fail_path(&stream.path);
                }
            }
        }
        true
    }

    /// The stream of a path of the outside has come to its end.
    pub(crate) fn lose_stream(&mut self, real: &FiveTuple) {
        let stream = self.streams.remove(|it| it.real.as_ref() == Some(real));
        let path = stream.map_or(*real, |stream| stream.path);
        debug!(?path, "stream is gone");
        self.ice.fail_path(&path);
    }

    /// Whether a stream that the peer has opened is worth keeping: somebody who knows our password has
    /// sent a check by it.
    pub(crate) fn accepts_stream(&self, real: &FiveTuple) -> bool {
        let path = self.streams.known(real).unwrap_or(*real);
        self.ice.accepts(&path)
    }

    /// Closes every stream of ours.
    pub(super) fn close_streams(&mut self) {
        for stream in std::mem::take(&mut self.streams.0) {
            if let Some(id) = stream.id {
                self.gather.push_request(RTCRequest::CloseStream { id });
            }
        }
    }
}

/// The discard port, which the candidates of those that open connections have (RFC 6544 section 4.1).
pub(crate) const ACTIVE_PORT: u16 = 9;
/// Streams at a time, in both directions.
const MAX_STREAMS: usize = 64;
/// Checks and handshake messages that wait for a stream.
const MAX_WAITING: usize = 8;
