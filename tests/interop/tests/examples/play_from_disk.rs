use crate::{Example, HEARD, browser, media, wait_for_video};

#[test]
fn files_of_every_codec_are_played_and_begin_again() {
    let Some(mut browser) = browser() else { return };
    let audio = media("opus.ogg");
    for video in ["vp8.ivf", "vp9.ivf", "av1.ivf", "h264_cbp.h264"] {
        let video = media(video);
        let files = [
            "--video",
            video.to_str().unwrap(),
            "--audio",
            audio.to_str().unwrap(),
        ];
        let mut example = Example::start("play_from_disk", &files);
        let page = browser.open(&example.url()).unwrap();
        // The files last two seconds.
        wait_for_video(&mut browser, &page, 0, "video.frames > 100");
        browser.wait_for(&page, HEARD).unwrap();
    }
}

#[test]
fn sound_alone_is_played() {
    let Some(mut browser) = browser() else { return };
    let audio = media("opus.ogg");
    let mut example = Example::start("play_from_disk", &["--audio", audio.to_str().unwrap()]);
    let page = browser.open(&example.url()).unwrap();
    browser.wait_for(&page, HEARD).unwrap();
}
