use super::*;

const HEAD: &str = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n";
const AUDIO: &str = "m=audio 9 UDP/TLS/RTP/SAVPF 0\r\n";

#[track_caller]
fn same(text: &str) -> SessionDescription {
    let description: SessionDescription = text.parse().unwrap();
    assert_eq!(description.to_string(), text);
    description
}

#[track_caller]
fn error(text: &str) -> ParseError {
    text.parse::<SessionDescription>().expect_err(text)
}

#[test]
fn every_line_of_the_grammar_is_kept() {
    let text = "v=0\r\n\
        o=jdoe 3724394400 3724394405 IN IP4 198.51.100.1\r\n\
        s=Call to John Smith\r\n\
        i=SDP Offer #1\r\n\
        u=http://www.jdoe.example.com/home.html\r\n\
        e=Jane Doe <jane@jdoe.example.com>\r\n\
        e=other@example.com\r\n\
        p=+1 617 555-6011\r\n\
        c=IN IP4 224.2.1.1/127/3\r\n\
        b=X-YZ:128\r\n\
        b=AS:1000\r\n\
        t=3724394400 3724398000\r\n\
        r=604800 3600 0 90000\r\n\
        r=7d 1h 0 25h\r\n\
        z=2882844526 -1h 2898848070 0\r\n\
        t=0 0\r\n\
        k=prompt\r\n\
        a=recvonly\r\n\
        a=charset:ISO-8859-1\r\n\
        m=audio 49170/2 RTP/AVP 0 8\r\n\
        i=a title\r\n\
        c=IN IP6 FF15::101/3\r\n\
        b=TIAS:64000\r\n\
        b=AS:64\r\n\
        k=clear:x\r\n\
        a=x: é :y\r\n\
        m=application 0 UDP/DTLS/SCTP webrtc-datachannel\r\n";
    let description = same(text);
    assert_eq!(description.emails.len(), 2);
    assert_eq!(description.timing.len(), 2);
    assert_eq!(description.timing[0].repeats.len(), 2);
    assert_eq!(description.media[0].port_count, Some(2));
    assert_eq!(description.media[0].line(), Some(20));
    assert_eq!(description.media[0].attributes[0].line(), Some(26));
    assert_eq!(description.media[1].line(), Some(27));
}

#[test]
fn line_ends_may_be_lf_or_missing() {
    let text = format!("{HEAD}{AUDIO}a=mid:0\r\n");
    let description = same(&text);
    for variant in [
        text.replace("\r\n", "\n"),
        text.trim_end().to_owned(),
        text.trim_end().replace("\r\n", "\n"),
        text.clone() + "\r\n\r\n",
        text.replace("\r\n", "\n") + "\n",
    ] {
        assert_eq!(variant.parse().as_ref(), Ok(&description), "{variant:?}");
    }
    assert_eq!(
        error(&text.replace("a=mid", "\r\na=mid")),
        ErrorKind::NotALine.at(6)
    );
}

#[test]
fn an_empty_session_name_and_values_are_kept() {
    let description = same("v=0\r\no=- 1 1 IN IP4 h\r\ns=\r\nt=0 0\r\na=x:\r\n");
    assert_eq!(description.session_name, "");
    assert_eq!(description.attributes[0].value.as_deref(), Some(""));
}

#[test]
fn numbers_beyond_the_types_are_kept_as_text_in_the_origin() {
    same("v=0\r\no=- 99999999999999999999999 007 IN IP4 h\r\ns=-\r\nt=0 0\r\n");
}

#[test]
fn a_missing_line_is_reported_where_it_should_be() {
    for (text, kind, line) in [
        ("", 'v', 1),
        ("o=- 1 1 IN IP4 h\n", 'v', 1),
        ("v=0\n", 'o', 2),
        ("v=0\ns=-\n", 'o', 2),
        ("v=0\no=- 1 1 IN IP4 h\nt=0 0\n", 's', 3),
        ("v=0\no=- 1 1 IN IP4 h\ns=-\n", 't', 4),
        ("v=0\no=- 1 1 IN IP4 h\ns=-\na=x\n", 't', 4),
    ] {
        assert_eq!(
            error(text),
            ErrorKind::MissingLine(kind).at(line),
            "{text:?}"
        );
    }
}

#[test]
fn lines_out_of_order_are_refused() {
    for (after, kind) in [
        ("v=0", 'v'),
        ("s=-", 's'),
        ("i=x", 'i'),
        ("c=IN IP4 h", 'c'),
        ("b=AS:1", 'b'),
        ("a=x\r\nt=0 0", 't'),
        ("a=x\r\nk=x", 'k'),
        ("k=x\r\nk=x", 'k'),
    ] {
        let line = 4 + after.lines().count();
        let text = format!("{HEAD}{after}\r\n");
        assert_eq!(
            error(&text),
            ErrorKind::OutOfOrder(kind).at(line),
            "{after:?}"
        );
    }
    for (after, kind) in [
        ("a=x\r\nc=IN IP4 h", 'c'),
        ("c=IN IP4 h\r\nc=IN IP4 h", 'c'),
        ("c=IN IP4 h\r\ni=x", 'i'),
        ("i=x\r\ni=x", 'i'),
        ("a=x\r\nk=x", 'k'),
        ("t=0 0", 't'),
        ("v=0", 'v'),
    ] {
        let line = 5 + after.lines().count();
        let text = format!("{HEAD}{AUDIO}{after}\r\n");
        assert_eq!(
            error(&text),
            ErrorKind::OutOfOrder(kind).at(line),
            "{after:?}"
        );
    }
}

#[test]
fn unknown_line_types_are_refused() {
    for (text, kind, line) in [
        (format!("{HEAD}x=1\r\n"), 'x', 5),
        (format!("{HEAD}A=1\r\n"), 'A', 5),
        (format!("{HEAD}{AUDIO}a=x\r\nq=1\r\n"), 'q', 7),
        ("v=0\r\nw=1\r\n".to_owned(), 'w', 2),
    ] {
        assert_eq!(
            error(&text),
            ErrorKind::UnknownLine(kind).at(line),
            "{text:?}"
        );
    }
    for junk in ["", "a", "ab=c", "=x", "é=x", "1=x", " a=x", "a =x"] {
        let text = format!("{HEAD}{junk}\r\na=x\r\n");
        assert_eq!(error(&text), ErrorKind::NotALine.at(5), "{junk:?}");
    }
}

#[test]
fn fields_are_checked() {
    use ErrorKind::{Malformed, Missing, OutOfRange, TrailingText, Unknown};

    for (from, to, kind, line) in [
        ("v=0", "v=1", Unknown("version"), 1),
        ("v=0", "v= 0", Unknown("version"), 1),
        ("1 1 IN", "1 IN", Malformed("session version"), 2),
        ("1 1 IN", "x 1 IN", Malformed("session id"), 2),
        (" IN IP4 127.0.0.1", "", Missing("network type"), 2),
        ("127.0.0.1", "h x", TrailingText, 2),
        ("t=0 0", "t=0", Missing("stop time"), 4),
        ("t=0 0", "t=0 -1", Malformed("stop time"), 4),
        (
            "t=0 0",
            "t=18446744073709551616 0",
            OutOfRange("start time"),
            4,
        ),
        ("m=audio 9", "m=audio 65536", OutOfRange("port"), 5),
        ("m=audio 9", "m=audio x", Malformed("port"), 5),
        ("m=audio 9", "m=audio 9/0", OutOfRange("port count"), 5),
        ("m=audio 9", "m=audio 9/", Malformed("port count"), 5),
        ("m=audio 9", "m=au:dio 9", Malformed("media type"), 5),
        ("m=audio 9 UDP", "m=audio 9 /UDP", Missing("protocol"), 5),
        (
            "UDP/TLS/RTP/SAVPF 0",
            "UDP/TLS/RTP/SAVPF",
            Missing("format"),
            5,
        ),
        (" 9 UDP/TLS/RTP/SAVPF 0", "", Missing("port"), 5),
        ("c=IN IP4 0.0.0.0", "c=IN IP4", Missing("address"), 6),
        ("b=AS:30", "b=AS", Missing("bandwidth"), 7),
        ("b=AS:30", "b=AS:-1", Malformed("bandwidth"), 7),
        ("a=mid:0", "a=:0", Missing("attribute name"), 8),
        ("a=mid:0", "a=", Missing("attribute name"), 8),
    ] {
        let text = format!("{HEAD}{AUDIO}c=IN IP4 0.0.0.0\r\nb=AS:30\r\na=mid:0\r\n");
        same(&text);
        assert_eq!(error(&text.replace(from, to)), kind.at(line), "{to}");
    }
}

#[test]
fn a_rejected_section_may_list_no_format() {
    let text = format!("{HEAD}m=video 0 UDP/TLS/RTP/SAVPF \r\n");
    let description: SessionDescription = text.parse().unwrap();
    assert!(description.media[0].formats.is_empty());
    assert_eq!(description.to_string(), text.replace("SAVPF ", "SAVPF"));
}

#[test]
fn bandwidth_may_stand_anywhere_in_a_media_section() {
    let lines = format!("{HEAD}{AUDIO}b=AS:1\r\nc=IN IP4 h\r\na=mid:0\r\nb=AS:2\r\na=x\r\n");
    let description: SessionDescription = lines.parse().unwrap();
    let ordered = format!("{HEAD}{AUDIO}c=IN IP4 h\r\nb=AS:1\r\nb=AS:2\r\na=mid:0\r\na=x\r\n");
    assert_eq!(description, same(&ordered));
    assert_eq!(description.media[0].attributes[1].line(), Some(10));
}

#[test]
fn control_characters_are_refused() {
    for junk in ["a=x\0y", "a=x\ry"] {
        let text = format!("{HEAD}{junk}\r\n");
        assert_eq!(error(&text), ErrorKind::ForbiddenCharacter.at(5));
    }
    same(&format!("{HEAD}a=x:\ttab\r\n"));
}

#[test]
fn sizes_are_bounded() {
    let line = |length: usize| format!("{HEAD}a={}\r\n", "x".repeat(length - 2));
    same(&line(MAX_LINE_LENGTH));
    assert_eq!(
        error(&line(MAX_LINE_LENGTH + 1)),
        ErrorKind::LineTooLong.at(5)
    );

    let media = |count: usize| format!("{HEAD}{}", AUDIO.repeat(count));
    same(&media(MAX_MEDIA));
    assert_eq!(
        error(&media(MAX_MEDIA + 1)),
        ErrorKind::TooManyMedia.at(5 + MAX_MEDIA)
    );

    let padding = (MAX_LENGTH - HEAD.len()) / 8;
    let full = format!("{HEAD}{}", "a=12345\n".repeat(padding));
    assert!(full.parse::<SessionDescription>().is_ok());
    let longer = full + "a=123456789\n";
    assert_eq!(error(&longer), ErrorKind::TooLong.at(1));
}
