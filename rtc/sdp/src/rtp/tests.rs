use super::*;

#[track_caller]
fn same<T: AttributeValue>(text: &str) -> T {
    let value: T = text.parse().unwrap();
    assert_eq!(value.to_string(), text);
    value
}

#[track_caller]
fn refused<T: AttributeValue + fmt::Debug + PartialEq>(texts: &[(&str, ErrorKind)]) {
    for (text, error) in texts {
        assert_eq!(text.parse::<T>(), Err(error.clone()), "{text}");
    }
}

#[test]
fn a_direction_is_reversed_and_narrowed() {
    use Direction::{Inactive, RecvOnly, SendOnly, SendRecv};

    for direction in [SendRecv, SendOnly, RecvOnly, Inactive] {
        assert_eq!(direction.as_str().parse(), Ok(direction));
        assert_eq!(direction.reversed().reversed(), direction);
        assert_eq!(direction.intersection(SendRecv), direction);
        assert_eq!(direction.intersection(Inactive), Inactive);
        assert_eq!(
            Direction::from_flags(direction.sends(), direction.receives()),
            direction
        );
    }
    assert_eq!(SendOnly.reversed(), RecvOnly);
    assert_eq!(SendOnly.intersection(RecvOnly), Inactive);
    assert!("SendRecv".parse::<Direction>().is_err());
}

#[test]
fn an_rtpmap_has_a_clock_rate_and_maybe_channels() {
    assert_eq!(
        same::<RtpMap>("111 opus/48000/2"),
        RtpMap::new(111, "opus", 48000).with_channels(2)
    );
    assert_eq!(same::<RtpMap>("0 PCMU/8000"), RtpMap::new(0, "PCMU", 8000));
    assert_eq!(
        same::<RtpMap>("126 telephone-event/8000").encoding,
        "telephone-event"
    );
    assert_eq!(" 96  VP8/90000 ".parse(), Ok(RtpMap::new(96, "VP8", 90000)));
    refused::<RtpMap>(&[
        ("", ErrorKind::Missing("payload type")),
        ("128 VP8/90000", ErrorKind::OutOfRange("payload type")),
        ("-1 VP8/90000", ErrorKind::Malformed("payload type")),
        ("96", ErrorKind::Missing("encoding name")),
        ("96 /90000", ErrorKind::Missing("encoding name")),
        ("96 VP8", ErrorKind::Malformed("clock rate")),
        ("96 VP8/0", ErrorKind::OutOfRange("clock rate")),
        ("96 VP8/4294967296", ErrorKind::OutOfRange("clock rate")),
        (
            "96 L16/8000/256",
            ErrorKind::OutOfRange("number of channels"),
        ),
        ("96 L16/8000/", ErrorKind::Malformed("number of channels")),
        ("96 L16/8000/2/3", ErrorKind::TrailingText),
        ("96 VP8/90000 x", ErrorKind::TrailingText),
    ]);
}

#[test]
fn fmtp_tolerates_spaces_and_empty_parameters() {
    let fmtp: Fmtp = same("96 level-asymmetry-allowed=1;packetization-mode=1;x=");
    assert_eq!(fmtp.get("packetization-mode"), Some("1"));
    assert_eq!(fmtp.get("Packetization-Mode"), Some("1"));
    assert_eq!((fmtp.get("x"), fmtp.get("y")), (Some(""), None));
    assert_eq!(
        fmtp.parameters_text(),
        "level-asymmetry-allowed=1;packetization-mode=1;x="
    );
    let spaced = "96  level-asymmetry-allowed = 1 ; packetization-mode= 1;; x= ; ";
    assert_eq!(spaced.parse(), Ok(fmtp));
    assert_eq!(
        same::<Fmtp>("101 0-15,66,70").parameters,
        [("0-15,66,70".to_owned(), None)]
    );
    same::<Fmtp>("63 111/111");
    assert_eq!(same::<Fmtp>("97 apt=96"), Fmtp::new(97).with("apt", 96));
    assert_eq!(same::<Fmtp>("96 a=b=c").get("a"), Some("b=c"));
    assert_eq!("96".parse(), Ok(Fmtp::new(96)));
    refused::<Fmtp>(&[
        ("", ErrorKind::Missing("payload type")),
        ("200 a=b", ErrorKind::OutOfRange("payload type")),
        ("a=b", ErrorKind::Malformed("payload type")),
    ]);
}

#[test]
fn feedback_is_of_one_or_all_payload_types() {
    let pli: RtcpFb = same("96 nack pli");
    assert_eq!(pli, RtcpFb::new(96, "nack pli"));
    assert!(pli.is("nack pli") && !pli.is("nack") && pli.applies_to(96) && !pli.applies_to(97));
    let nack: RtcpFb = same("* nack");
    assert!(nack.is("nack") && !nack.is("nack pli") && nack.applies_to(0));
    assert_eq!(
        same::<RtcpFb>("98 ccm tmmbr smaxpr=120").parameter.unwrap(),
        "tmmbr smaxpr=120"
    );
    refused::<RtcpFb>(&[
        ("96", ErrorKind::Missing("feedback type")),
        ("** nack", ErrorKind::Malformed("payload type")),
    ]);
}

#[test]
fn an_extmap_has_an_id_of_the_ranges() {
    let mid = ExtMap::new(1, "urn:ietf:params:rtp-hdrext:sdes:mid");
    assert_eq!(same::<ExtMap>("1 urn:ietf:params:rtp-hdrext:sdes:mid"), mid);
    let full: ExtMap = same("4097/sendonly urn:x short attribute list");
    assert_eq!(full.direction, Some(Direction::SendOnly));
    assert_eq!(full.attributes.as_deref(), Some("short attribute list"));
    for id in [1, 15, 255, 4096, 4351] {
        same::<ExtMap>(&format!("{id} urn:x"));
    }
    for id in [0, 256, 4095, 4352, 65536] {
        let text = format!("{id} urn:x");
        refused::<ExtMap>(&[(&text, ErrorKind::OutOfRange("extension id"))]);
    }
    refused::<ExtMap>(&[
        ("1", ErrorKind::Missing("extension uri")),
        ("1/both urn:x", ErrorKind::Unknown("direction")),
    ]);
}

#[test]
fn sources_and_their_groups_are_read() {
    let cname: Ssrc = same("4294967295 cname:a:b c");
    assert_eq!(cname, Ssrc::new(u32::MAX, "cname", "a:b c"));
    assert_eq!(same::<Ssrc>("1 flag").value, None);
    refused::<Ssrc>(&[
        ("4294967296 cname:x", ErrorKind::OutOfRange("ssrc")),
        ("1", ErrorKind::Missing("source attribute")),
        ("1 :x", ErrorKind::Missing("source attribute")),
        ("1 a b", ErrorKind::Malformed("source attribute")),
    ]);
    assert_eq!(same::<SsrcGroup>("FID 1 2").ssrcs, [1, 2]);
    same::<SsrcGroup>("SIM");
    refused::<SsrcGroup>(&[
        ("", ErrorKind::Missing("semantics")),
        ("FID x", ErrorKind::Malformed("ssrc")),
    ]);
}

#[test]
fn an_msid_names_a_stream_and_maybe_a_track() {
    let msid: Msid = same("- {45192299-45a6}");
    assert_eq!(
        (msid.stream_id(), msid.track.as_deref()),
        (None, Some("{45192299-45a6}"))
    );
    assert_eq!(same::<Msid>("pion").stream_id(), Some("pion"));
    refused::<Msid>(&[
        ("", ErrorKind::Missing("stream id")),
        ("a b c", ErrorKind::TrailingText),
    ]);
    assert_eq!(same::<MsidSemantic>("WMS *").ids, ["*"]);
    let padded: MsidSemantic = " WMS".parse().unwrap();
    assert_eq!(padded.to_string(), "WMS");
}

#[test]
fn packet_times_may_have_decimals() {
    assert_eq!(same::<Ptime>("20"), Ptime(Duration::from_millis(20)));
    assert_eq!(same::<Ptime>("2.5"), Ptime(Duration::from_micros(2500)));
    assert_eq!(
        same::<MaxPtime>("0.000001"),
        MaxPtime(Duration::from_nanos(1))
    );
    assert_eq!("60.0".parse(), Ok(MaxPtime(Duration::from_millis(60))));
    refused::<Ptime>(&[
        ("", ErrorKind::Malformed("packet time")),
        ("0", ErrorKind::OutOfRange("packet time")),
        ("0.0", ErrorKind::OutOfRange("packet time")),
        ("2.", ErrorKind::OutOfRange("packet time")),
        ("1.0000001", ErrorKind::OutOfRange("packet time")),
        ("1.é", ErrorKind::Malformed("packet time")),
        ("4294967296", ErrorKind::OutOfRange("packet time")),
        ("-1", ErrorKind::Malformed("packet time")),
    ]);
}
