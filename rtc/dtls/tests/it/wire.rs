//! Handshake messages by hand, for peers that do what ours never would.

/// A record of epoch 0.
pub(crate) fn record(content_type: u8, sequence: u64, payload: &[u8]) -> Vec<u8> {
    let mut record = vec![content_type, 0xfe, 0xfd];
    record.extend(sequence.to_be_bytes());
    record.extend((payload.len() as u16).to_be_bytes());
    record.extend_from_slice(payload);
    record
}

/// A handshake fragment: bytes `range` of `body`.
pub(crate) fn fragment(kind: u8, seq: u16, body: &[u8], range: std::ops::Range<usize>) -> Vec<u8> {
    let u24 = |value: usize| (value as u32).to_be_bytes()[1..].to_vec();
    let data = &body[range.clone()];
    let parts = [
        &[kind][..],
        &u24(body.len()),
        &seq.to_be_bytes(),
        &u24(range.start),
        &u24(data.len()),
        data,
    ];
    parts.concat()
}

pub(crate) fn message(kind: u8, seq: u16, body: &[u8]) -> Vec<u8> {
    fragment(kind, seq, body, 0..body.len())
}

/// The handshake messages in a datagram's records of epoch 0: type, message_seq and body, fragments as
/// they are.
pub(crate) fn plain_messages(datagram: &[u8]) -> Vec<(u8, u16, Vec<u8>)> {
    let mut messages = Vec::new();
    for (header, payload) in records(datagram) {
        if header[0] == 22 && header[3..5] == [0, 0] {
            let seq = u16::from_be_bytes([payload[4], payload[5]]);
            messages.push((payload[0], seq, payload[12..].to_vec()));
        }
    }
    messages
}

/// Header and payload of each record of a datagram.
pub(crate) fn records(mut datagram: &[u8]) -> Vec<(&[u8], &[u8])> {
    let mut records = Vec::new();
    while !datagram.is_empty() {
        let length = usize::from(u16::from_be_bytes([datagram[11], datagram[12]]));
        let (record, rest) = datagram.split_at(13 + length);
        records.push(record.split_at(13));
        datagram = rest;
    }
    records
}

/// What a ClientHello is made of.
pub(crate) struct Hello {
    pub(crate) version: u16,
    pub(crate) suites: Vec<u16>,
    pub(crate) extensions: Vec<(u16, Vec<u8>)>,
}

impl Hello {
    /// As Chromium sends it with DTLS 1.3 and ML-KEM: GREASE, two versions, a share of 1216 bytes.
    pub(crate) fn chromium() -> Self {
        let list = |codes: &[u16]| {
            let codes: Vec<u8> = codes.iter().flat_map(|code| code.to_be_bytes()).collect();
            [&(codes.len() as u16).to_be_bytes()[..], &codes].concat()
        };
        let mut shares = vec![0x7a, 0x7a, 0, 1, 0];
        shares.extend([0x11, 0xec, 0x04, 0xc0]);
        shares.extend((0..1216u32).map(|i| (i * 7) as u8));
        shares.extend([0, 0x1d, 0, 32]);
        shares.extend([5; 32]);
        let shares = [&(shares.len() as u16).to_be_bytes()[..], &shares].concat();
        Self {
            version: 0xfefd,
            suites: vec![
                0x5a5a, 0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8,
                0xc009, 0xc013, 0xc00a, 0xc014,
            ],
            extensions: vec![
                (0x2a2a, vec![]),
                (23, vec![]),
                (0xff01, vec![0]),
                (10, list(&[0x7a7a, 0x11ec, 0x1d, 0x17, 0x18])),
                (11, vec![1, 0]),
                (35, vec![]),
                (
                    13,
                    list(&[
                        0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601,
                    ]),
                ),
                (14, [list(&[0x0001, 0x0008, 0x0007]), vec![0]].concat()),
                (51, shares),
                (43, vec![6, 0xba, 0xba, 0xfe, 0xfc, 0xfe, 0xfd]),
                (0x3a3a, vec![0]),
            ],
        }
    }

    pub(crate) fn set(&mut self, extension: u16, data: &[u8]) {
        self.extensions.retain(|(kind, _)| *kind != extension);
        self.extensions.push((extension, data.to_vec()));
    }

    pub(crate) fn remove(&mut self, extension: u16) {
        self.extensions.retain(|(kind, _)| *kind != extension);
    }

    pub(crate) fn body(&self) -> Vec<u8> {
        let mut body = self.version.to_be_bytes().to_vec();
        body.extend([0x33; 32]);
        body.extend([0, 0]);
        body.extend((2 * self.suites.len() as u16).to_be_bytes());
        body.extend(self.suites.iter().flat_map(|suite| suite.to_be_bytes()));
        body.extend([1, 0]);
        let mut block = Vec::new();
        for (kind, data) in &self.extensions {
            block.extend(kind.to_be_bytes());
            block.extend((data.len() as u16).to_be_bytes());
            block.extend_from_slice(data);
        }
        body.extend((block.len() as u16).to_be_bytes());
        body.extend(block);
        body
    }

    /// The whole hello as one datagram, however large.
    pub(crate) fn datagram(&self) -> Vec<u8> {
        record(22, 0, &message(1, 0, &self.body()))
    }
}
