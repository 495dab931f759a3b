use crate::{Example, browser, click, command, video, wait_for_video};

#[test]
fn everybody_sees_everybody_in_the_layer_of_their_choice() {
    let Some(mut browser) = browser() else { return };
    let mut example = Example::start("sfu", &[]);
    let url = example.url();
    let ada = browser.open(&format!("{url}?name=Ada")).unwrap();
    browser
        .wait_for(
            &ada,
            "document.getElementById('status').textContent === 'connected'",
        )
        .unwrap();
    let ben = browser.open(&format!("{url}?name=Ben")).unwrap();
    for page in [&ada, &ben] {
        wait_for_video(&mut browser, page, 0, "video.frames > 20");
    }
    // A browser takes a while until it dares to send the largest layer.
    let mut widths = Vec::new();
    for layer in ["Low", "High"] {
        let button = format!(
            "[...document.querySelectorAll('.choices button')].find((it) => it.textContent.startsWith('{layer}'))"
        );
        let sent = format!("{button}.querySelector('small').textContent !== '–'");
        browser.wait_for(&ben, &sent).unwrap();
        browser
            .evaluate(&ben, &format!("{button}.click()"))
            .unwrap();
        browser
            .wait_for(&ben, &format!("{button}.dataset.current === 'true'"))
            .unwrap();
        let (frames, _) = video(&mut browser, &ben);
        let more = format!("video.frames > {}", frames + 40);
        wait_for_video(&mut browser, &ben, 0, &more);
        widths.push(video(&mut browser, &ben).1);
    }
    assert!(widths[0] < widths[1], "{widths:?}");

    // A third one comes, and then leaves again.
    let cleo = browser.open(&format!("{url}?name=Cleo")).unwrap();
    wait_for_video(&mut browser, &cleo, 1, "video.frames > 20");
    wait_for_video(&mut browser, &ada, 1, "video.frames > 20");
    click(&mut browser, &cleo, "#leave");
    browser
        .wait_for(&ada, "document.querySelectorAll('.choices').length === 1")
        .unwrap();
    let (frames, _) = video(&mut browser, &ada);
    let more = format!("video.frames > {}", frames + 20);
    wait_for_video(&mut browser, &ada, 0, &more);
}

#[test]
fn its_own_measurement_finds_no_loss() {
    let output = command("sfu")
        .args(["--load", "5", "--seconds", "2"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
    let number = |name: &str| -> u64 {
        let line = text.lines().find_map(|line| line.trim().strip_prefix(name));
        line.unwrap().trim().parse().unwrap()
    };
    // Five viewers, thirty pictures in each of two seconds.
    assert!(number("frames received") > 200, "{text}");
    assert_eq!(
        number("packets forwarded"),
        number("packets sent"),
        "{text}"
    );
    assert_eq!(number("never received"), 0, "{text}");
}
