use std::time::Duration;

/// How an [`Association`](crate::Association) behaves. Times and sizes default to what fits data
/// channels over DTLS (RFC 8261, RFC 8831).
///
/// ```
/// let mut config = rtc_sctp::Config::default();
/// config.max_packet_size = 1200 - 37; // one DTLS 1.2 AES-GCM record in a 1200-byte datagram
/// config.max_receive_message = 64 * 1024;
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// Our SCTP port (`a=sctp-port` of our description). Default 5000.
    pub local_port: u16,
    /// The peer's SCTP port. Default 5000.
    pub remote_port: u16,
    /// Largest SCTP packet in bytes, common header included; what is left of the datagram after
    /// DTLS. Rounded down to a multiple of 4, at least 256. Default 1163 (1200 − 37).
    pub max_packet_size: usize,
    /// Largest message in bytes that [`send`](crate::Association::send) takes: the peer's
    /// `a=max-message-size`. 0 means unlimited. Default 256 KiB.
    pub max_send_message: usize,
    /// Largest message in bytes that is accepted from the peer; a longer one is dropped whole and
    /// reported by [`Event::MessageTooLarge`](crate::Event::MessageTooLarge). Default 256 KiB.
    pub max_receive_message: usize,
    /// Unread bytes, partial messages and a small overhead per message included, that the peer may
    /// have us hold (`a_rwnd`). Raised to `max_receive_message` + 16 KiB when it is smaller, so
    /// that one message always fits. Default 5 MiB.
    pub receive_window: usize,
    /// Bytes that may wait, over all streams, to be sent for the first time. Default 64 MiB.
    pub send_buffer: usize,
    /// The same for one stream. Default 16 MiB.
    pub stream_send_buffer: usize,
    /// Payload protocol identifier of messages that [`read_control`](crate::Association::read_control)
    /// gives instead of [`read`](crate::Association::read). Default `None`.
    pub control_ppid: Option<u32>,
    /// Streams offered in each direction. Default 65535 (ids 0 to 65534).
    pub max_streams: u16,
    /// Offer RFC 9653: packets need no CRC32c since DTLS authenticates them; used when both sides
    /// offer it. Default true.
    pub zero_checksum: bool,
    /// Congestion window at the start. Default 10 packets.
    pub initial_window: InitialWindow,
    /// Largest congestion window in bytes, which also bounds unacknowledged data. Default 16 MiB.
    pub max_congestion_window: usize,
    /// Max.Burst: DATA packets that one SACK or timer may release (RFC 9260 §7.2.4 has 4). `None`,
    /// the default, leaves pacing to whoever polls.
    pub max_burst: Option<u16>,
    /// RTO.Initial. RFC 9260 has 1 s; the default is 500 ms since ICE and DTLS have been over the
    /// path already, and one superfluous INIT on a slower path does no harm.
    pub rto_initial: Duration,
    /// RTO.Min. RFC 9260 has 1 s; the default of 400 ms is the shortest that keeps clear of the
    /// peer's delayed SACK of 200 ms.
    pub rto_min: Duration,
    /// RTO.Max, which also bounds the backoff. RFC 9260 has 60 s; the default is 10 s, so that
    /// data flows again soon after an outage.
    pub rto_max: Duration,
    /// How long a SACK may wait for a second packet. Default 200 ms.
    pub sack_delay: Duration,
    /// HB.interval on an idle association; `None` sends no heartbeats. Default 30 s.
    pub heartbeat_interval: Option<Duration>,
    /// Valid.Cookie.Life. Default 60 s.
    pub cookie_lifetime: Duration,
    /// Max.Init.Retransmits: INIT or COOKIE-ECHO repetitions before the set-up fails; `None` tries
    /// for ever (ICE decides about death). Default 8.
    pub max_init_retransmits: Option<u32>,
    /// Association.Max.Retrans: consecutive timeouts without a sign of the peer before the
    /// association is given up; `None` tries for ever. Default 10.
    pub max_retransmits: Option<u32>,
}

/// The congestion window of a new association.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InitialWindow {
    /// min(4·PMDCS, max(2·PMDCS, 4404)) bytes (RFC 9260 §7.2.1).
    Rfc9260,
    /// So many full packets.
    Packets(u16),
}

impl Default for Config {
    fn default() -> Self {
        Self {
            local_port: 5000,
            remote_port: 5000,
            max_packet_size: 1200 - 37,
            max_send_message: 256 * 1024,
            max_receive_message: 256 * 1024,
            receive_window: 5 * 1024 * 1024,
            send_buffer: 64 * 1024 * 1024,
            stream_send_buffer: 16 * 1024 * 1024,
            control_ppid: None,
            max_streams: u16::MAX,
            zero_checksum: true,
            initial_window: InitialWindow::Packets(10),
            max_congestion_window: 16 * 1024 * 1024,
            max_burst: None,
            rto_initial: Duration::from_millis(500),
            rto_min: Duration::from_millis(400),
            rto_max: Duration::from_secs(10),
            sack_delay: Duration::from_millis(200),
            heartbeat_interval: Some(Duration::from_secs(30)),
            cookie_lifetime: Duration::from_secs(60),
            max_init_retransmits: Some(8),
            max_retransmits: Some(10),
        }
    }
}

impl Config {
    /// Values that the state machine relies on, whatever was configured.
    pub(crate) fn sanitised(mut self) -> Self {
        const TICK: Duration = Duration::from_millis(1);
        self.max_packet_size = (self.max_packet_size & !3).clamp(256, 0xffff & !3);
        self.max_receive_message = self.max_receive_message.clamp(1, MAX_MESSAGE);
        self.receive_window = self
            .receive_window
            .max(self.max_receive_message.saturating_add(16 * 1024))
            .min(MAX_WINDOW);
        self.max_send_message = match self.max_send_message {
            0 => MAX_MESSAGE,
            limit => limit.min(MAX_MESSAGE),
        };
        self.max_streams = self.max_streams.max(1);
        self.max_congestion_window = self.max_congestion_window.max(4 * self.max_packet_size);
        self.rto_min = self.rto_min.max(TICK);
        self.rto_max = self.rto_max.max(self.rto_min);
        self.rto_initial = self.rto_initial.clamp(self.rto_min, self.rto_max);
        self.heartbeat_interval = self.heartbeat_interval.map(|interval| interval.max(TICK));
        self
    }
}

/// Largest message either way: offsets inside a message are 32-bit.
pub(crate) const MAX_MESSAGE: usize = 1 << 30;
/// Largest window: `a_rwnd` is 32-bit.
const MAX_WINDOW: usize = 1 << 31;
