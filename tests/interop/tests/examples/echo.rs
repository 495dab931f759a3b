use crate::{Example, HEARD, browser, wait_for_video};

#[test]
fn camera_and_microphone_come_back() {
    let Some(mut browser) = browser() else { return };
    let mut example = Example::start("echo", &[]);
    let page = browser.open(&example.url()).unwrap();
    let sent_and_returned = "video.frames > 60 && video.width > 300";
    wait_for_video(&mut browser, &page, 0, sent_and_returned);
    browser.wait_for(&page, HEARD).unwrap();
}
