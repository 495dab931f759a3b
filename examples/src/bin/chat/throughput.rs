//! The test of speed over the channel `throughput`, in both directions at once if the page likes.
//!
//! The page asks by text ([`Request`]), the program tells how it goes by text ([`Report`]), and the
//! load is in binary messages of 16 KiB. Each begins with its number, so that a lost, repeated or
//! swapped one is noticed.

use std::time::{Duration, Instant};

use bytes::{Buf as _, BufMut as _, BytesMut};
use rtc_tokio::{DataChannel, DataChannelMessage, Error};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TryRecvError;
use tokio::task::coop::consume_budget;

use crate::room::Author;
use rtc_examples::say;

/// Payload of the binary messages, bytes.
pub(crate) const MESSAGE_SIZE: usize = 16 * 1024;

/// What the page asks for.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Request {
    /// Send this many bytes.
    Download { bytes: u64 },
    /// This many bytes follow.
    Upload { bytes: u64 },
    /// Enough, in both directions; the page has stopped sending.
    Stop,
}

/// What the page is told.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Report {
    /// The download has ended, after this many bytes.
    Sent { bytes: u64 },
    /// The upload has come this far; `done` says that it has ended.
    Received {
        bytes: u64,
        seconds: f64,
        done: bool,
    },
    /// What is wrong, for the person at the page.
    Error { message: String },
}

/// What the reading half has the writing half do.
#[derive(Debug)]
enum Order {
    Download(u64),
    Stop,
    Tell(Report),
}

/// Serves the channel until it is closed.
pub(crate) async fn serve(channel: &DataChannel, guest: Author) -> Result<(), Error> {
    let (orders, queue) = mpsc::channel(ORDERS);
    // Two futures, because a download that waits for room must not hold up an upload.
    tokio::try_join!(read(channel, guest, orders), write(channel, guest, queue))?;
    Ok(())
}

async fn read(
    channel: &DataChannel,
    guest: Author,
    orders: mpsc::Sender<Order>,
) -> Result<(), Error> {
    let mut upload: Option<Upload> = None;
    while let Some(message) = channel.recv().await {
        let message = message?;
        let order = if message.is_string {
            match serde_json::from_slice(&message.data) {
                Ok(Request::Download { bytes }) if in_bounds(bytes) => Order::Download(bytes),
                Ok(Request::Upload { bytes }) if in_bounds(bytes) => {
                    upload = Some(Upload::new(bytes));
                    continue;
                }
                Ok(Request::Stop) => {
                    if let Some(upload) = upload.take() {
                        let order = Order::Tell(upload.report(true));
                        // Err says that the channel is closed, which the next read says too.
                        let _ = orders.send(order).await;
                    }
                    Order::Stop
                }
                Ok(_) => problem(format!("A test has 1 to {MAX_BYTES} bytes.")),
                Err(error) => problem(format!("That is no request: {error}.")),
            }
        } else {
            let Some(running) = &mut upload else {
                continue;
            };
            match running.take(&message) {
                Err(message) => {
                    upload = None;
                    problem(message)
                }
                Ok(()) if running.is_done() => {
                    say(&format!("* {guest} uploaded {}", running.figures()));
                    let report = running.report(true);
                    upload = None;
                    Order::Tell(report)
                }
                Ok(()) => {
                    if running.report_is_due() {
                        // If there is no room, a later report says the same and more.
                        let _ = orders.try_send(Order::Tell(running.report(false)));
                    }
                    // There may always be another message; the rest of this task wants its turn.
                    consume_budget().await;
                    continue;
                }
            }
        };
        let _ = orders.send(order).await;
    }
    Ok(())
}

async fn write(
    channel: &DataChannel,
    guest: Author,
    mut queue: mpsc::Receiver<Order>,
) -> Result<(), Error> {
    let mut download: Option<Download> = None;
    loop {
        // During a download orders go first: they are few, and a report is stale if it waits.
        let order = match &download {
            None => queue.recv().await.ok_or(TryRecvError::Disconnected),
            Some(_) => queue.try_recv(),
        };
        match order {
            Ok(Order::Tell(report)) => channel.send(to_json(&report)).await?,
            Ok(Order::Download(bytes)) if download.is_none() => {
                download = Some(Download::new(bytes));
            }
            Ok(Order::Download(_)) => {
                let message = "A download is under way already.".to_owned();
                channel.send(to_json(&Report::Error { message })).await?;
            }
            Ok(Order::Stop) => {
                if let Some(download) = download.take() {
                    channel.send(to_json(&download.report())).await?;
                }
            }
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => return Ok(()),
        }
        let Some(running) = &mut download else {
            continue;
        };
        channel.send(running.next_message()).await?;
        if running.left == 0 {
            say(&format!("* {guest} was sent {}", running.figures()));
            channel.send(to_json(&running.report())).await?;
            download = None;
        }
    }
}

/// The load from the program to the page.
#[derive(Debug)]
struct Download {
    begun: Instant,
    sent: u64,
    left: u64,
    number: u32,
}

impl Download {
    fn new(bytes: u64) -> Self {
        Self {
            begun: Instant::now(),
            sent: 0,
            left: bytes,
            number: 0,
        }
    }

    fn next_message(&mut self) -> BytesMut {
        let size = usize::try_from(self.left)
            .unwrap_or(usize::MAX)
            .clamp(NUMBER, MESSAGE_SIZE);
        let mut message = BytesMut::with_capacity(size);
        message.put_u32(self.number);
        message.put_bytes(FILLING, size - NUMBER);
        self.number = self.number.wrapping_add(1);
        self.sent += size as u64;
        self.left = self.left.saturating_sub(size as u64);
        message
    }

    fn report(&self) -> Report {
        Report::Sent { bytes: self.sent }
    }

    fn figures(&self) -> String {
        figures(self.sent, self.begun.elapsed())
    }
}

/// The load from the page to the program.
#[derive(Debug)]
struct Upload {
    begun: Instant,
    reported: Instant,
    received: u64,
    expected: u64,
    number: u32,
}

impl Upload {
    fn new(bytes: u64) -> Self {
        let now = Instant::now();
        Self {
            begun: now,
            reported: now,
            received: 0,
            expected: bytes,
            number: 0,
        }
    }

    /// Counts a message, or says what is wrong with it.
    fn take(&mut self, message: &DataChannelMessage) -> Result<(), String> {
        let number = message.data.as_ref().try_get_u32();
        if number != Ok(self.number) {
            return Err(match number {
                Ok(number) => format!("Message {number} came instead of {}.", self.number),
                Err(_) => format!("Message {} is too short for its number.", self.number),
            });
        }
        self.number = self.number.wrapping_add(1);
        self.received += message.data.len() as u64;
        Ok(())
    }

    fn is_done(&self) -> bool {
        self.received >= self.expected
    }

    fn report_is_due(&mut self) -> bool {
        let due = self.reported.elapsed() >= REPORT_INTERVAL;
        if due {
            self.reported = Instant::now();
        }
        due
    }

    fn report(&self, done: bool) -> Report {
        let seconds = self.begun.elapsed().as_secs_f64();
        Report::Received {
            bytes: self.received,
            seconds,
            done,
        }
    }

    fn figures(&self) -> String {
        figures(self.received, self.begun.elapsed())
    }
}

/// An amount, its time and their ratio: `64 MiB in 0.31 s, 216 MB/s`.
pub(crate) fn figures(bytes: u64, time: Duration) -> String {
    let seconds = time.as_secs_f64();
    let rate = bytes as f64 / 1e6 / seconds.max(f64::MIN_POSITIVE);
    format!(
        "{:.1} MiB in {seconds:.2} s, {rate:.0} MB/s",
        bytes as f64 / f64::from(1 << 20)
    )
}

fn in_bounds(bytes: u64) -> bool {
    (1..=MAX_BYTES).contains(&bytes)
}

fn problem(message: String) -> Order {
    Order::Tell(Report::Error { message })
}

fn to_json(report: &Report) -> String {
    // A report has neither maps nor fallible parts.
    serde_json::to_string(report).unwrap_or_default()
}

/// Size of the number at the beginning of each binary message, bytes.
const NUMBER: usize = size_of::<u32>();

/// What follows the number. It is encrypted like anything else, so that its value does not matter.
const FILLING: u8 = 0x5a;

/// The largest test, bytes.
const MAX_BYTES: u64 = 1 << 30;

/// How often the page is told how far its upload has come.
const REPORT_INTERVAL: Duration = Duration::from_millis(100);

/// Orders that may wait for the writing half, which looks at them after every message.
const ORDERS: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_side_sends_the_other_counts_to_the_last_byte() {
        for bytes in [4, 5, 16_383, 16_384, 16_385, 1 << 20] {
            let (mut download, mut upload) = (Download::new(bytes), Upload::new(bytes));
            while download.left > 0 {
                assert!(!upload.is_done());
                upload.take(&download.next_message().into()).unwrap();
            }
            assert!(upload.is_done());
            assert!(
                upload.received - bytes < NUMBER as u64,
                "{bytes}: {upload:?}"
            );
            assert_eq!(download.sent, upload.received);
        }
    }

    #[test]
    fn a_message_out_of_turn_is_noticed() {
        let mut download = Download::new(1 << 20);
        let mut upload = Upload::new(1 << 20);
        let (first, second) = (download.next_message(), download.next_message());
        let error = upload.take(&second.into()).unwrap_err();
        assert_eq!(error, "Message 1 came instead of 0.");
        upload.take(&first.clone().into()).unwrap();
        let error = upload.take(&first.into()).unwrap_err();
        assert_eq!(error, "Message 0 came instead of 1.");
        upload
            .take(&BytesMut::from(&b"abc"[..]).into())
            .unwrap_err();
    }

    #[test]
    fn requests_and_reports_have_the_form_that_the_page_knows() {
        let request = serde_json::from_str(r#"{"type":"download","bytes":7}"#).unwrap();
        assert!(matches!(request, Request::Download { bytes: 7 }));
        let request = serde_json::from_str(r#"{"type":"stop"}"#).unwrap();
        assert!(matches!(request, Request::Stop));
        let report = Report::Received {
            bytes: 7,
            seconds: 0.5,
            done: true,
        };
        assert_eq!(
            to_json(&report),
            r#"{"type":"received","bytes":7,"seconds":0.5,"done":true}"#
        );
    }
}
