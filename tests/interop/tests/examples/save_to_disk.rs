use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use rtc::media::{AnnexBReader, Codec, IvfReader, NalFormat, OggOpusReader};

use crate::{Example, browser, click};

#[test]
fn what_the_browser_sends_is_in_the_files() {
    let Some(mut browser) = browser() else { return };
    for codec in ["vp8", "vp9", "av1", "h264"] {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("recordings-{}-{codec}", std::process::id()));
        let arguments = ["--folder", folder.to_str().unwrap(), "--video-codec", codec];
        let mut example = Example::start("save_to_disk", &arguments);
        let page = browser.open(&example.url()).unwrap();
        let both = "document.querySelectorAll('#files code').length === 2";
        browser.wait_for(&page, both).unwrap();
        let long = "[...document.querySelectorAll('#files li')].every((it) => \
            parseFloat(it.lastChild.textContent) > 3)";
        browser.wait_for(&page, long).unwrap();
        click(&mut browser, &page, "#stop");
        let stopped = "document.getElementById('status').dataset.state === 'ended'";
        browser.wait_for(&page, stopped).unwrap();
        let mut paths = [example.said("Wrote "), example.said("Wrote ")]
            .map(|path| PathBuf::from(path.trim_end_matches(':')));
        paths.sort_by_key(|path| path.extension().unwrap() == "ogg");
        let [video, audio] = paths;
        check_video(&video, codec);
        check_audio(&audio);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}

fn check_video(path: &Path, codec: &str) {
    let file = BufReader::new(File::open(path).unwrap());
    if codec == "h264" {
        let mut reader = AnnexBReader::new(file, NalFormat::H264, MAX_FRAME);
        let first = reader.next_access_unit().unwrap().unwrap();
        assert!(first.key_frame);
        let mut units = 1;
        while reader.next_access_unit().unwrap().is_some() {
            units += 1;
        }
        assert!(units > 20, "{units} access units");
        return;
    }
    let expected = match codec {
        "vp8" => Codec::Vp8,
        "vp9" => Codec::Vp9,
        _ => Codec::Av1,
    };
    let mut reader = IvfReader::new(file, MAX_FRAME).unwrap();
    let header = *reader.header();
    assert_eq!(header.codec(), Some(expected));
    assert!(header.width > 0 || codec == "av1", "{header:?}");
    let mut times = Vec::new();
    while let Some(frame) = reader.next_frame().unwrap() {
        times.push(frame.timestamp);
    }
    assert!(times.is_sorted());
    assert_eq!(header.frames as usize, times.len());
    let length = header.duration(times.last().unwrap() - times.first().unwrap());
    assert!(
        length.as_secs_f64() > 1.0 && times.len() > 20,
        "{length:?}, {} frames",
        times.len()
    );
}

fn check_audio(path: &Path) {
    let file = BufReader::new(File::open(path).unwrap());
    let mut reader = OggOpusReader::new(file, MAX_FRAME).unwrap();
    let mut packets = 0;
    while reader.next_packet().unwrap().is_some() {
        packets += 1;
    }
    assert!(packets > 100, "{packets} packets");
}

const MAX_FRAME: usize = 1 << 20;
