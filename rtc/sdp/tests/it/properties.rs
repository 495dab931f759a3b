use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use rtc_sdp::{
    Attribute, AttributeValue, Bandwidth, Connection, Direction, ExtMap, Fingerprint, Fmtp, Group,
    IceOptions, IcePwd, IceUfrag, MaxMessageSize, MediaDescription, Mid, Msid, MsidSemantic,
    Origin, Ptime, Rid, RidDirection, Rtcp, RtcpFb, RtpMap, SctpMap, SctpPort, SdpFragment,
    SessionDescription, Setup, Simulcast, SimulcastId, SimulcastStream, Ssrc, SsrcGroup, TlsId,
};

use crate::vectors::vectors;

fn token() -> impl Strategy<Value = String> {
    "[A-Za-z0-9.~_!#%&'*+^`{|}$-]{1,12}"
}

/// Any text of one line.
fn text() -> impl Strategy<Value = String> {
    "[^\r\n\0]{0,24}"
}

fn attribute() -> impl Strategy<Value = Attribute> {
    (token(), option::of(text())).prop_map(|(name, value)| match value {
        Some(value) => Attribute::new(name, value),
        None => Attribute::flag(name),
    })
}

fn connection() -> impl Strategy<Value = Connection> {
    (token(), token(), "[!-~]{1,20}").prop_map(|(network_type, address_type, address)| Connection {
        network_type,
        address_type,
        address,
    })
}

fn bandwidth() -> impl Strategy<Value = Bandwidth> {
    (token(), any::<u64>()).prop_map(|(kind, value)| Bandwidth { kind, value })
}

prop_compose! {
    fn media()(
        media in token(),
        port: u16,
        port_count in option::of(1_u16..),
        proto in "[A-Z]{1,4}(/[A-Z]{1,4}){0,3}",
        formats in vec("[!-~]{1,8}", 1..5),
        title in option::of(text()),
        connection in option::of(connection()),
        bandwidth in vec(bandwidth(), 0..3),
        key in option::of(text()),
        attributes in vec(attribute(), 0..6),
    ) -> MediaDescription {
        let mut section = MediaDescription::new(media, port, proto, formats);
        section.port_count = port_count;
        section.title = title;
        section.connection = connection;
        section.bandwidth = bandwidth;
        section.key = key;
        section.attributes = attributes;
        section
    }
}

prop_compose! {
    fn session()(
        origin in (token(), "[0-9]{1,25}", "[0-9]{1,25}", token(), token(), "[!-~]{1,20}"),
        names in (text(), option::of(text()), option::of(text()), option::of(text())),
        people in (vec(text(), 0..3), vec(text(), 0..3)),
        connection in option::of(connection()),
        bandwidth in vec(bandwidth(), 0..3),
        timing in vec((any::<u64>(), any::<u64>(), vec(text(), 0..3), option::of(text())), 1..3),
        attributes in vec(attribute(), 0..6),
        media in vec(media(), 0..4),
    ) -> SessionDescription {
        let (username, session_id, session_version, network_type, address_type, address) = origin;
        let mut session = SessionDescription::new(Origin {
            username, session_id, session_version, network_type, address_type, address,
        });
        (session.session_name, session.information, session.uri, session.key) = names;
        (session.emails, session.phones) = people;
        session.connection = connection;
        session.bandwidth = bandwidth;
        let one = session.timing.remove(0);
        session.timing = timing.into_iter().map(|(start, stop, repeats, zone)| {
            let mut timing = one.clone();
            (timing.start, timing.stop, timing.repeats, timing.zone) = (start, stop, repeats, zone);
            timing
        }).collect();
        session.attributes = attributes;
        session.media = media;
        session
    }
}

fn assert_same<T: AttributeValue + PartialEq + std::fmt::Debug>(value: &T) {
    let text = value.to_string();
    assert_eq!(text.parse::<T>().as_ref(), Ok(value), "{text}");
}

fn direction() -> impl Strategy<Value = Direction> {
    select(vec![
        Direction::SendRecv,
        Direction::SendOnly,
        Direction::RecvOnly,
        Direction::Inactive,
    ])
}

fn parameters() -> impl Strategy<Value = Vec<(String, Option<String>)>> {
    vec(
        ("[a-z][a-z0-9-]{0,8}", option::of("[A-Za-z0-9=,/]{0,8}")),
        0..5,
    )
}

fn streams() -> impl Strategy<Value = Vec<SimulcastStream>> {
    let id =
        ("[A-Za-z0-9_-]{1,8}", any::<bool>()).prop_map(|(rid, paused)| SimulcastId { rid, paused });
    vec(vec(id, 1..4).prop_map(SimulcastStream), 1..4)
}

proptest! {
    #[test]
    fn a_description_is_read_as_it_was_written(session in session()) {
        let text = session.to_string();
        prop_assert_eq!(text.parse::<SessionDescription>(), Ok(session.clone()));
        let lf = text.replace("\r\n", "\n");
        prop_assert_eq!(lf.parse::<SessionDescription>(), Ok(session));
    }

    #[test]
    fn a_fragment_is_read_as_it_was_written(
        attributes in vec(attribute(), 0..5),
        media in vec(media(), 0..3),
    ) {
        let mut fragment = SdpFragment::default();
        fragment.attributes = attributes;
        fragment.media = media;
        prop_assert_eq!(fragment.to_string().parse(), Ok(fragment));
    }

    #[test]
    fn no_text_panics(text in any::<String>()) {
        parse_everything(&text);
    }

    #[test]
    fn no_lines_panic(lines in vec("([vosiuepcbtrzkam]=)?[ -~\r]{0,20}", 0..20)) {
        parse_everything(&lines.join("\n"));
    }

    /// A piece of one vector goes into another.
    #[test]
    fn no_mutation_of_a_vector_panics(
        which in any::<(Index, Index)>(),
        cut in any::<[Index; 4]>(),
        junk in "[0-9a-z:=;,/~* \r\n\0é-]{0,8}",
    ) {
        let vectors = vectors();
        let (into, from) = (which.0.get(&vectors).1.clone(), which.1.get(&vectors).1.clone());
        let [start, end, piece, length] = cut.map(|index| index.index(into.len().min(from.len())));
        let (start, end) = (start.min(end), end.max(start));
        let piece = &from[piece..from.len().min(piece + length % 64)];
        parse_everything(&format!("{}{piece}{junk}{}", &into[..start], &into[end..]));
    }

    #[test]
    fn what_is_read_is_written_so_that_it_is_read_the_same(
        which in any::<Index>(),
        at in any::<Index>(),
        junk in "[0-9a-z:=;,/~* -]{0,3}",
    ) {
        let vectors = vectors();
        let mut text = which.get(&vectors).1.clone();
        text.insert_str(at.index(text.len()), &junk);
        if let Ok(description) = text.parse::<SessionDescription>() {
            prop_assert_eq!(description.to_string().parse(), Ok(description));
        }
    }

    #[test]
    fn views_of_rtp_are_read_as_they_were_written(
        payload_type in 0_u8..128,
        name in token(),
        clock_rate in 1_u32..,
        channels in option::of(any::<u8>()),
        parameters in parameters(),
        words in vec(token(), 0..4),
        direction in option::of(direction()),
        id in prop_oneof![1_u16..=255, 4096_u16..=4351],
        ssrcs in vec(any::<u32>(), 1..4),
        value in option::of("[^\r\n\0 ]{0,10}"),
        nanos in 1_u64..100_000_000_000,
    ) {
        let encoding = name.clone();
        assert_same(&RtpMap { payload_type, encoding, clock_rate, channels });
        assert_same(&Fmtp { payload_type, parameters });
        let rest = Some(words.join(" ")).filter(|rest| !rest.is_empty());
        for payload_type in [None, Some(payload_type)] {
            assert_same(&RtcpFb { payload_type, kind: name.clone(), parameter: rest.clone() });
        }
        assert_same(&ExtMap { id, direction, uri: name.clone(), attributes: rest });
        assert_same(&Ssrc { ssrc: ssrcs[0], attribute: name.clone(), value });
        assert_same(&SsrcGroup { semantics: name.clone(), ssrcs });
        assert_same(&Msid { stream: name.clone(), track: words.first().cloned() });
        assert_same(&MsidSemantic { semantic: name, ids: words });
        assert_same(&Ptime(std::time::Duration::from_nanos(nanos)));
    }

    #[test]
    fn views_of_simulcast_are_read_as_they_were_written(
        id in "[A-Za-z0-9_-]{1,255}",
        direction in select(vec![RidDirection::Send, RidDirection::Recv]),
        payload_types in vec(0_u8..128, 0..4),
        restrictions in parameters(),
        send in streams(),
        recv in streams(),
    ) {
        let restrictions = restrictions.into_iter().filter(|(key, _)| key != "pt").collect();
        assert_same(&Rid { id, direction, payload_types, restrictions });
        assert_same(&Simulcast { send: send.clone(), recv: Vec::new() });
        assert_same(&Simulcast { send, recv: recv.clone() });
        assert_same(&Simulcast { send: Vec::new(), recv });
    }

    #[test]
    fn views_of_transports_are_read_as_they_were_written(
        name in token(),
        words in vec(token(), 0..4),
        digest in vec(any::<u8>(), 1..64),
        ports in any::<(u16, u16)>(),
        streams in option::of(any::<u32>()),
        size: u64,
        connection in option::of(connection()),
        ufrag in "[A-Za-z0-9+/]{4,256}",
        pwd in "[A-Za-z0-9+/]{22,256}",
        tls_id in "[A-Za-z0-9+/_-]{20,255}",
        setup in select(vec![Setup::Active, Setup::Passive, Setup::Actpass, Setup::Holdconn]),
    ) {
        let fingerprint = Fingerprint::new(name.clone(), &digest);
        assert_same(&fingerprint);
        prop_assert_eq!(fingerprint.digest(), Some(digest));
        assert_same(&Group { semantics: name.clone(), mids: words.clone() });
        assert_same(&IceOptions(words));
        assert_same(&Mid(name.clone()));
        assert_same(&SctpMap { port: ports.0, protocol: name, streams });
        assert_same(&SctpPort(ports.1));
        assert_same(&MaxMessageSize(size));
        assert_same(&Rtcp { port: ports.0, connection });
        assert_same(&IceUfrag(ufrag));
        assert_same(&IcePwd(pwd));
        assert_same(&TlsId(tls_id));
        assert_same(&setup);
    }

    #[test]
    fn no_value_panics(value in "[ -~é]{0,40}", known in select(vec![
        "96 ", "send ", "h send ", "1 ", "* ", "BUNDLE ", "sha-256 ", "9 IN ", "20.", "",
    ])) {
        read_all_views(&Attribute::new("x", format!("{known}{value}")));
    }
}

fn parse_everything(text: &str) {
    let _ = text.parse::<SdpFragment>();
    if let Ok(description) = text.parse::<SessionDescription>() {
        let media = description.media.iter().flat_map(|media| &media.attributes);
        description
            .attributes
            .iter()
            .chain(media)
            .for_each(read_all_views);
    }
}

fn read_all_views(attribute: &Attribute) {
    fn read<T: AttributeValue + PartialEq + std::fmt::Debug>(attribute: &Attribute) {
        if let Ok(value) = attribute.parse::<T>() {
            assert_same(&value);
        }
    }
    read::<RtpMap>(attribute);
    read::<Fmtp>(attribute);
    read::<RtcpFb>(attribute);
    read::<ExtMap>(attribute);
    read::<Ssrc>(attribute);
    read::<SsrcGroup>(attribute);
    read::<Msid>(attribute);
    read::<MsidSemantic>(attribute);
    read::<Ptime>(attribute);
    read::<Rid>(attribute);
    read::<Simulcast>(attribute);
    read::<Group>(attribute);
    read::<Setup>(attribute);
    read::<Fingerprint>(attribute);
    read::<IceOptions>(attribute);
    read::<Rtcp>(attribute);
    read::<SctpMap>(attribute);
    read::<SctpPort>(attribute);
    read::<MaxMessageSize>(attribute);
    read::<Mid>(attribute);
    read::<IceUfrag>(attribute);
    read::<IcePwd>(attribute);
    read::<TlsId>(attribute);
}
