use crate::{Example, browser, click, video, wait_for_video};

#[test]
fn the_page_gets_the_layer_that_it_chooses() {
    let Some(mut browser) = browser() else { return };
    let mut example = Example::start("simulcast", &[]);
    let page = browser.open(&example.url()).unwrap();
    wait_for_video(&mut browser, &page, 0, "video.frames > 20");
    let mut widths = Vec::new();
    for layer in ["l", "m", "h", "l"] {
        let button = format!("[data-choice={layer}]");
        // A browser takes a while until it dares to send all layers.
        let sent = format!("document.querySelector('{button} small').textContent !== '–'");
        browser.wait_for(&page, &sent).unwrap();
        click(&mut browser, &page, &button);
        let current = format!("document.querySelector('{button}').dataset.current === 'true'");
        browser.wait_for(&page, &current).unwrap();
        let (frames, _) = video(&mut browser, &page);
        let more = format!("video.frames > {}", frames + 40);
        wait_for_video(&mut browser, &page, 0, &more);
        widths.push(video(&mut browser, &page).1);
    }
    let [low, medium, high, low_again] = widths[..] else {
        panic!("{widths:?}");
    };
    assert!(
        low < medium && medium < high && low_again < high,
        "{widths:?}"
    );
}
