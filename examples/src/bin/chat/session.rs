//! One page: from its offer to the end of its connection, in one task.

use std::sync::Arc;
use std::time::Duration;

use rtc::peer_connection::sdp::{RTCSdpType, RTCSessionDescription};
use rtc_examples::say;
use rtc_tokio::{DataChannel, DataChannels, Error, PeerConnection};
use thiserror::Error;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::timeout;

use crate::room::{Author, Line, Room};
use crate::throughput;

/// Why an offer gets no answer.
#[derive(Debug, Error)]
pub(crate) enum OfferError {
    #[error("That is no offer but a description of type \"{0}\".")]
    NotAnOffer(RTCSdpType),
    #[error("The offer cannot be answered: {0}.")]
    Refused(Error),
    #[error("{MAX_SESSIONS} pages are connected already; close one of them first.")]
    Full,
    #[error("The program is about to end.")]
    Stopping,
    #[error("No connection can be made: {0}.")]
    Connection(Error),
}

/// All sessions. Clones are of the same.
#[derive(Clone, Debug)]
pub(crate) struct Sessions {
    room: Room,
    /// A session holds one permit for its life; when all are back, all sessions have ended.
    slots: Arc<Semaphore>,
    stop: watch::Sender<bool>,
}

impl Sessions {
    pub(crate) fn new() -> Self {
        Self {
            room: Room::new(),
            slots: Arc::new(Semaphore::new(MAX_SESSIONS as usize)),
            stop: watch::Sender::new(false),
        }
    }

    pub(crate) fn room(&self) -> &Room {
        &self.room
    }

    /// Answers an offer; the connection then lives in a task of its own.
    pub(crate) async fn answer(
        &self,
        offer: RTCSessionDescription,
    ) -> Result<RTCSessionDescription, OfferError> {
        if offer.sdp_type != RTCSdpType::Offer {
            return Err(OfferError::NotAnOffer(offer.sdp_type));
        }
        if *self.stop.borrow() {
            return Err(OfferError::Stopping);
        }
        let slot = Arc::clone(&self.slots)
            .try_acquire_owned()
            .map_err(|_| OfferError::Full)?;

        // Browsers on this machine may have no other address in common with us.
        let connection = rtc_tokio::builder()
            .with_loopback(true)
            .build()
            .map_err(OfferError::Connection)?;
        connection
            .set_remote_description(offer)
            .map_err(OfferError::Refused)?;
        connection
            .set_local_description(None)
            .map_err(OfferError::Refused)?;
        let answer = connection
            .gathering_complete()
            .await
            .map_err(OfferError::Connection)?;

        let session = Session {
            connection,
            room: self.room.clone(),
            stop: self.stop.subscribe(),
            _slot: slot,
        };
        tokio::spawn(session.run());
        Ok(answer)
    }

    /// Has every session end.
    pub(crate) fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Ready some time after [`stop`](Self::stop).
    pub(crate) async fn stopped_for(&self, time: Duration) {
        stopped(self.stop.subscribe()).await;
        tokio::time::sleep(time).await;
    }

    /// Ready when no session is left; new ones are refused from now on.
    pub(crate) async fn ended(&self) {
        // The semaphore is never closed.
        let _ = self.slots.acquire_many(MAX_SESSIONS).await;
    }
}

/// The connection to one page.
#[derive(Debug)]
struct Session {
    connection: PeerConnection,
    room: Room,
    stop: watch::Receiver<bool>,
    _slot: OwnedSemaphorePermit,
}

/// How a session came to its end.
#[derive(Debug)]
enum End {
    /// The page closed the connection, or was closed.
    Page,
    /// The program ends.
    Program,
}

/// Why a session came to a bad end.
#[derive(Debug, Error)]
enum SessionError {
    #[error("no connection within {} s", CONNECT_TIMEOUT.as_secs())]
    NotConnected,
    #[error("the page did not open its channels within {} s", CHANNELS_TIMEOUT.as_secs())]
    NoChannels,
    #[error(transparent)]
    Connection(#[from] Error),
}

impl Session {
    async fn run(self) {
        let stop = stopped(self.stop.clone());
        let end = tokio::select! {
            end = self.talk() => end,
            () = stop => Ok(End::Program),
        };
        if let Err(error) = end {
            say(&format!("* a page was given up: {error}"));
        }
        // Tells the page, so that it does not have to find out by silence.
        match timeout(CLOSE_TIMEOUT, self.connection.close()).await {
            Ok(Ok(()) | Err(_)) | Err(_) => {}
        }
    }

    /// Waits for the connection and its channels, then serves them until one of them ends.
    async fn talk(&self) -> Result<End, SessionError> {
        timeout(CONNECT_TIMEOUT, self.connection.connected())
            .await
            .map_err(|_| SessionError::NotConnected)??;
        let mut incoming = self.connection.data_channels();
        let (chat, bulk) = timeout(CHANNELS_TIMEOUT, page_channels(&mut incoming))
            .await
            .map_err(|_| SessionError::NoChannels)??;

        let (guest, lines) = self.room.enter();
        let end = tokio::select! {
            end = self.chat(&chat, guest, lines) => end,
            end = throughput::serve(&bulk, guest) => end,
            () = refuse(&mut incoming) => Ok(()),
        };
        self.room.tell(Author::Room, format!("{guest} left"));
        end?;
        Ok(End::Page)
    }

    /// Carries lines between the page and the room until the page closes the channel.
    async fn chat(
        &self,
        channel: &DataChannel,
        guest: Author,
        mut lines: Receiver<Line>,
    ) -> Result<(), Error> {
        let mut count = 0_u32;
        let guests = self.room.guests();
        let welcome = format!("Welcome! You are {guest}. Guests now: {guests}.");
        channel
            .send(Line::new(Author::Program, welcome).to_json())
            .await?;
        loop {
            let reply = tokio::select! {
                message = channel.recv() => {
                    let Some(message) = message else { return Ok(()) };
                    match message?.as_str() {
                        Some(text) if text.len() <= MAX_TEXT => {
                            count = count.wrapping_add(1);
                            let letters = text.chars().count();
                            self.room.tell(guest, text);
                            let reply = format!("Message {count} arrived, {letters} characters.");
                            Line::new(Author::Program, reply)
                        }
                        Some(_) => Line::new(Author::Program, "That message is too long."),
                        None => Line::new(Author::Program, "That message is not text."),
                    }
                }
                line = lines.recv() => match line {
                    Ok(line) if line.author == guest => continue,
                    Ok(line) => line,
                    Err(RecvError::Lagged(missed)) => {
                        Line::new(Author::Room, format!("{missed} lines were missed"))
                    }
                    Err(RecvError::Closed) => return Ok(()),
                },
            };
            channel.send(reply.to_json()).await?;
        }
    }
}

/// The channels `chat` and `throughput`, which the page makes; others are closed.
async fn page_channels(incoming: &mut DataChannels) -> Result<(DataChannel, DataChannel), Error> {
    let (mut chat, mut bulk) = (None, None);
    while let Some(channel) = incoming.next().await {
        match channel.label().as_str() {
            "chat" if chat.is_none() => chat = Some(channel),
            "throughput" if bulk.is_none() => bulk = Some(channel),
            _ => channel.close(),
        }
        match (chat, bulk) {
            (Some(chat), Some(bulk)) => return Ok((chat, bulk)),
            found => (chat, bulk) = found,
        }
    }
    Err(Error::Closed)
}

/// Closes every further channel.
async fn refuse(incoming: &mut DataChannels) {
    while let Some(channel) = incoming.next().await {
        channel.close();
    }
}

async fn stopped(mut stop: watch::Receiver<bool>) {
    // Err says that nobody can stop us any more, because the program has ended.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Sessions at a time.
const MAX_SESSIONS: u32 = 64;

/// The longest text of a chat message, bytes.
const MAX_TEXT: usize = 4096;

/// How long a page may take from its offer to a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a connected page may take to open its channels.
const CHANNELS_TIMEOUT: Duration = Duration::from_secs(10);

/// How long saying goodbye may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
