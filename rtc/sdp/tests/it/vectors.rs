use std::path::PathBuf;

use rtc_sdp::{
    Attribute, AttributeValue, Direction, ErrorKind, ExtMap, Fingerprint, Fmtp, Group, IceOptions,
    IcePwd, IceUfrag, MaxMessageSize, Mid, Msid, MsidSemantic, ParseError, Rid, RidDirection, Rtcp,
    RtcpFb, RtpMap, SctpPort, SessionDescription, Setup, Simulcast, SimulcastStream, Ssrc,
    SsrcGroup,
};

/// Name and text of the descriptions that browsers and other stacks made.
pub(crate) fn vectors() -> Vec<(String, String)> {
    let folder = PathBuf::from(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../tests/vectors/sdp"
    ));
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "sdp"))
        .map(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, std::fs::read_to_string(path).unwrap())
        })
        .collect();
    files.sort();
    assert!(files.len() >= 33, "all vectors are there");
    files
}

fn vector(wanted: &str) -> SessionDescription {
    let (_, text) = vectors()
        .into_iter()
        .find(|(name, _)| name == wanted)
        .unwrap();
    text.parse().unwrap()
}

#[test]
fn every_vector_is_written_back_byte_for_byte() {
    for (name, text) in vectors() {
        let description: SessionDescription = text
            .parse()
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(description.to_string(), text, "{name}");
        let lf = text.replace("\r\n", "\n");
        assert_eq!(lf.parse().as_ref(), Ok(&description), "{name}");
        assert_eq!(lf.trim_end().parse().as_ref(), Ok(&description), "{name}");
    }
}

#[test]
fn every_attribute_of_the_vectors_is_seen_and_written_back() {
    let mut seen = 0;
    for (name, text) in vectors() {
        let description: SessionDescription = text.parse().unwrap();
        assert_eq!(description.validate(), Ok(()), "{name}");
        let media = description.media.iter().flat_map(|media| &media.attributes);
        for attribute in description.attributes.iter().chain(media) {
            view(attribute).unwrap_or_else(|error| panic!("{name}: {attribute}: {error}"));
            seen += 1;
        }
    }
    assert!(seen > 2000);
}

fn view(attribute: &Attribute) -> Result<(), ParseError> {
    fn same<T: AttributeValue>(attribute: &Attribute) -> Result<(), ParseError> {
        let value: T = attribute.parse()?;
        // Not kept are spaces at the ends: Chromium has one before the semantic of msid-semantic,
        // Pion one behind feedback without a parameter.
        assert_eq!(value.to_string(), attribute.value().trim_matches(' '));
        assert_eq!(Attribute::from(value).name, attribute.name);
        Ok(())
    }
    match attribute.name.as_str() {
        "rtpmap" => same::<RtpMap>(attribute),
        "fmtp" => same::<Fmtp>(attribute),
        "rtcp-fb" => same::<RtcpFb>(attribute),
        "extmap" => same::<ExtMap>(attribute),
        "ssrc" => same::<Ssrc>(attribute),
        "ssrc-group" => same::<SsrcGroup>(attribute),
        "msid" => same::<Msid>(attribute),
        "msid-semantic" => same::<MsidSemantic>(attribute),
        "rid" => same::<Rid>(attribute),
        "simulcast" => same::<Simulcast>(attribute),
        "group" => same::<Group>(attribute),
        "mid" => same::<Mid>(attribute),
        "setup" => same::<Setup>(attribute),
        "fingerprint" => same::<Fingerprint>(attribute),
        "ice-ufrag" => same::<IceUfrag>(attribute),
        "ice-pwd" => same::<IcePwd>(attribute),
        "ice-options" => same::<IceOptions>(attribute),
        "rtcp" => same::<Rtcp>(attribute),
        "sctp-port" => same::<SctpPort>(attribute),
        "max-message-size" => same::<MaxMessageSize>(attribute),
        "candidate" | "rtcp-xr" => {
            assert!(!attribute.value().is_empty());
            Ok(())
        }
        "end-of-candidates" | "extmap-allow-mixed" | "rtcp-mux" | "rtcp-rsize" => {
            assert_eq!(attribute.value, None);
            Ok(())
        }
        other => {
            let direction: Direction = other.parse().expect("an attribute that is known");
            assert_eq!(&Attribute::from(direction), attribute);
            Ok(())
        }
    }
}

#[test]
fn a_simulcast_offer_of_chromium_is_understood() {
    let offer = vector("chromium-offer-simulcast.sdp");
    assert_eq!(offer.get(), Ok(Some(Group::bundle(["0"]))));
    assert!(offer.has("extmap-allow-mixed"));
    let video = offer.media_with_mid("0").unwrap();
    assert_eq!(offer.direction_of(video), Direction::SendOnly);
    assert_eq!(video.setup(), Ok(Some(Setup::Actpass)));
    assert_eq!(video.candidates().count(), 4);
    let rids: Vec<Rid> = video.all().collect::<Result<_, _>>().unwrap();
    assert_eq!(
        rids,
        ["h", "m", "l"].map(|id| Rid::new(id, RidDirection::Send))
    );
    let simulcast: Simulcast = video.get().unwrap().unwrap();
    assert_eq!(simulcast.send, ["h", "m", "l"].map(SimulcastStream::new));
    assert!(simulcast.recv.is_empty());
    assert_eq!(
        video.payload_types().unwrap().len(),
        video.all::<RtpMap>().count()
    );
}

#[test]
fn a_data_offer_of_firefox_inherits_from_the_session() {
    let offer = vector("firefox-offer-data-only.sdp");
    let [media] = offer.media.as_slice() else {
        panic!("one section")
    };
    assert!(media.is_sctp() && !media.is_rejected());
    assert_eq!(media.get(), Ok(Some(SctpPort(5000))));
    assert_eq!(media.get(), Ok(Some(MaxMessageSize(1_073_741_823))));
    assert_eq!(offer.all_of::<Fingerprint>(media).count(), 1);
    assert!(
        offer
            .get_of::<IceOptions>(media)
            .unwrap()
            .unwrap()
            .contains("trickle")
    );
    let fingerprint = offer.all_of::<Fingerprint>(media).next().unwrap().unwrap();
    assert_eq!(fingerprint.digest().unwrap().len(), 32);
}

#[test]
fn a_stopped_section_is_rejected() {
    let offer = vector("chromium-offer-after-stop.sdp");
    let rejected: Vec<_> = offer
        .media
        .iter()
        .map(|media| media.is_rejected())
        .collect();
    assert!(rejected.contains(&true) && rejected.contains(&false));
}

#[test]
fn an_error_in_an_attribute_has_its_line() {
    for (name, text) in vectors() {
        let Some(at) = text.lines().position(|line| line.starts_with("a=rtpmap:")) else {
            continue;
        };
        let lines = text
            .lines()
            .enumerate()
            .map(|(index, line)| match line.split_once(' ') {
                Some((_, rest)) if index == at => format!("a=rtpmap:128 {rest}"),
                _ => line.to_owned(),
            });
        let text: String = lines.map(|line| line + "\n").collect();
        let description: SessionDescription = text.parse().unwrap();
        let errors: Vec<_> = description
            .media
            .iter()
            .flat_map(|media| media.all::<RtpMap>())
            .filter_map(Result::err)
            .collect();
        let error = ParseError {
            line: at + 1,
            kind: ErrorKind::OutOfRange("payload type"),
        };
        assert_eq!(description.validate().as_ref(), Err(&error), "{name}");
        assert_eq!(errors, [error], "{name}");
    }
}

/// Each line is damaged in turn: the error, if it is one of the grammar, is on that line.
#[test]
fn an_error_in_a_line_has_its_number() {
    for (name, text) in vectors() {
        let count = text.lines().count();
        for damaged in (0..count).step_by(1 + count / 40) {
            let lines = text
                .lines()
                .enumerate()
                .map(|(index, line)| match index == damaged {
                    true => "y=?\r\n".to_owned(),
                    false => line.to_owned() + "\r\n",
                });
            let error = lines
                .collect::<String>()
                .parse::<SessionDescription>()
                .unwrap_err();
            let expected = ParseError {
                line: damaged + 1,
                kind: ErrorKind::UnknownLine('y'),
            };
            assert_eq!(error, expected, "{name}");
        }
    }
}
