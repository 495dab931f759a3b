//! The rules of W3C for the encodings of a sender (webrtc-pc sections 4.4.2 and 5.2).

use super::codec::Purpose;
use super::parameters::{RTCRtpCodec, RTCRtpEncodingParameters, RtpCodecKind};
use crate::Error;

/// Checks the encodings that a sender shall have and fills in what they leave open, as
/// `addTransceiver` does. There is always one at least.
pub(crate) fn initial(
    kind: RtpCodecKind,
    mut encodings: Vec<RTCRtpEncodingParameters>,
    codecs: &[RTCRtpCodec],
) -> Result<Vec<RTCRtpEncodingParameters>, Error> {
    check_rids(&encodings)?;
    check_values(kind, &encodings)?;
    check_codecs(&encodings, codecs).map_err(|codec| Error::Operation(unsupported(codec)))?;
    encodings.truncate(MAX_ENCODINGS);
    if encodings.is_empty() {
        encodings.push(RTCRtpEncodingParameters::default());
    }
    match kind {
        RtpCodecKind::Audio => {
            for encoding in &mut encodings {
                encoding.scale_resolution_down_by = None;
                encoding.max_framerate = None;
            }
        }
        RtpCodecKind::Video => scale(&mut encodings),
    }
    if let [only] = &mut encodings[..] {
        only.rtp_coding_parameters.rid.clear();
    }
    Ok(encodings)
}

/// Checks changed parameters of encodings against those in force, as `setParameters` does.
pub(crate) fn check_change(
    kind: RtpCodecKind,
    current: &[RTCRtpEncodingParameters],
    changed: &[RTCRtpEncodingParameters],
    codecs: &[RTCRtpCodec],
) -> Result<(), Error> {
    if current.len() != changed.len() {
        return Err(Error::InvalidModification(
            "encodings cannot be added or removed",
        ));
    }
    if current
        .iter()
        .zip(changed)
        .any(|(old, new)| old.rtp_coding_parameters != new.rtp_coding_parameters)
    {
        return Err(Error::InvalidModification(
            "the sources and names of encodings cannot change",
        ));
    }
    check_values(kind, changed)?;
    check_codecs(changed, codecs)
        .map_err(|_| Error::InvalidModification("the codec of an encoding was not negotiated"))
}

/// With one scale given, the others are 1; with none, each layer has twice the width and height of the
/// one before it.
fn scale(encodings: &mut [RTCRtpEncodingParameters]) {
    let any = encodings
        .iter()
        .any(|encoding| encoding.scale_resolution_down_by.is_some());
    let mut factor = 1.0;
    for encoding in encodings.iter_mut().rev() {
        encoding
            .scale_resolution_down_by
            .get_or_insert(if any { 1.0 } else { factor });
        factor *= 2.0;
    }
}

fn check_rids(encodings: &[RTCRtpEncodingParameters]) -> Result<(), Error> {
    for (index, encoding) in encodings.iter().enumerate() {
        let rid = encoding.rid();
        if rid.is_empty() {
            if encodings.len() > 1 {
                return Err(Error::Type(
                    "each of several encodings needs a rid".to_owned(),
                ));
            }
        } else if !is_rid(rid) {
            return Err(Error::Type(format!(
                "the rid {rid:?} is not made of 1 to {MAX_RID_LENGTH} letters and digits"
            )));
        } else if encodings.iter().take(index).any(|it| it.rid() == rid) {
            return Err(Error::Type(format!("the rid {rid:?} occurs twice")));
        }
    }
    Ok(())
}

/// Whether a name fits into the extension `rtp-stream-id` with one-byte headers (RFC 8852 section 3.3).
pub(crate) fn is_rid(rid: &str) -> bool {
    (1..=MAX_RID_LENGTH).contains(&rid.len())
        && rid.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

fn check_values(kind: RtpCodecKind, encodings: &[RTCRtpEncodingParameters]) -> Result<(), Error> {
    if kind == RtpCodecKind::Audio {
        return Ok(());
    }
    for encoding in encodings {
        if encoding
            .scale_resolution_down_by
            .is_some_and(|scale| !(scale >= 1.0 && scale.is_finite()))
        {
            return Err(Error::Range(
                "scale_resolution_down_by has to be at least 1",
            ));
        }
        if encoding
            .max_framerate
            .is_some_and(|rate| !(rate >= 0.0 && rate.is_finite()))
        {
            return Err(Error::Range("max_framerate cannot be negative"));
        }
    }
    Ok(())
}

/// Gives the first codec that is asked for and not among `codecs`.
fn check_codecs<'a>(
    encodings: &'a [RTCRtpEncodingParameters],
    codecs: &[RTCRtpCodec],
) -> Result<(), &'a RTCRtpCodec> {
    let known = |codec: &&RTCRtpCodec| {
        codec.mime_type.is_empty()
            || (codec.purpose() == Purpose::Media && codecs.iter().any(|it| means(it, codec)))
    };
    match encodings
        .iter()
        .map(|it| &it.codec)
        .find(|codec| !known(codec))
    {
        Some(codec) => Err(codec),
        None => Ok(()),
    }
}

/// Whether `wanted`, as an application wrote it, is this codec: without parameters it is any of its
/// name.
pub(crate) fn means(codec: &RTCRtpCodec, wanted: &RTCRtpCodec) -> bool {
    codec.matches(wanted) || (wanted.sdp_fmtp_line.is_empty() && codec.has_name_of(wanted))
}

fn unsupported(codec: &RTCRtpCodec) -> String {
    format!("the codec {:?} is not supported", codec.mime_type)
}

/// More layers than anybody sends; the rest is left out.
const MAX_ENCODINGS: usize = 16;

/// The longest value of a one-byte header extension.
const MAX_RID_LENGTH: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn layers(rids: &[&str]) -> Vec<RTCRtpEncodingParameters> {
        rids.iter()
            .map(|rid| RTCRtpEncodingParameters::with_rid(*rid))
            .collect()
    }

    fn scales(encodings: &[RTCRtpEncodingParameters]) -> Vec<f64> {
        encodings
            .iter()
            .map(|it| it.scale_resolution_down_by.unwrap())
            .collect()
    }

    #[test]
    fn there_is_always_an_encoding() {
        let video = initial(RtpCodecKind::Video, vec![], &[]).unwrap();
        assert_eq!(scales(&video), [1.0]);
        let audio = initial(RtpCodecKind::Audio, vec![], &[]).unwrap();
        assert_eq!(audio, [RTCRtpEncodingParameters::default()]);
        let lone = initial(RtpCodecKind::Video, layers(&["h"]), &[]).unwrap();
        assert_eq!(lone[0].rid(), "", "a lone encoding needs no name");
    }

    #[test]
    fn layers_are_scaled_by_powers_of_two_unless_told_otherwise() {
        let three = initial(RtpCodecKind::Video, layers(&["q", "h", "f"]), &[]).unwrap();
        assert_eq!(scales(&three), [4.0, 2.0, 1.0]);
        let mut told = layers(&["q", "h", "f"]);
        told[0].scale_resolution_down_by = Some(3.0);
        let told = initial(RtpCodecKind::Video, told, &[]).unwrap();
        assert_eq!(scales(&told), [3.0, 1.0, 1.0]);
    }

    #[test]
    fn what_cannot_be_is_refused_with_the_error_of_w3c() {
        let name = |encodings| {
            let codecs = [RTCRtpCodec {
                mime_type: "video/VP8".to_owned(),
                clock_rate: 90000,
                ..RTCRtpCodec::default()
            }];
            initial(RtpCodecKind::Video, encodings, &codecs)
                .unwrap_err()
                .name()
        };
        assert_eq!(name(layers(&["a", ""])), "TypeError");
        assert_eq!(name(layers(&["a", "a"])), "TypeError");
        assert_eq!(name(layers(&["a-b"])), "TypeError");
        assert_eq!(name(layers(&["0123456789abcdefg"])), "TypeError");
        for scale in [0.5, f64::NAN, f64::INFINITY, -1.0] {
            let mut small = layers(&["a", "b"]);
            small[0].scale_resolution_down_by = Some(scale);
            assert_eq!(name(small), "RangeError");
        }
        let mut slow = layers(&["a"]);
        slow[0].max_framerate = Some(-1.0);
        assert_eq!(name(slow), "RangeError");
        let mut other = layers(&["a"]);
        other[0].codec.mime_type = "video/H264".to_owned();
        assert_eq!(name(other), "OperationError");
    }

    #[test]
    fn sources_and_names_do_not_change() {
        let current = initial(RtpCodecKind::Video, layers(&["a", "b"]), &[]).unwrap();
        let check = |changed: &[_]| check_change(RtpCodecKind::Video, &current, changed, &[]);
        let mut changed = current.clone();
        changed[1].active = false;
        changed[0].max_bitrate = Some(100_000);
        check(&changed).unwrap();
        assert_eq!(
            check(&changed[..1]).unwrap_err().name(),
            "InvalidModificationError"
        );
        changed[0].rtp_coding_parameters.ssrc = Some(7);
        assert_eq!(
            check(&changed).unwrap_err().name(),
            "InvalidModificationError"
        );
    }
}
