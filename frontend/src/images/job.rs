//! Long work on images: it runs on a thread of its own, its lines go to the client as they come, and it is broken off when
//! the client goes. The events of what it did are kept before its last lines are sent.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use hyper::StatusCode;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use vdocker::EngineError;
use vdocker::body::Body;
use vdocker::response::{self, Response};

use crate::daemon::Daemon;
use crate::db::Batch;
use crate::events::Event;

/// Pieces of an answer on their way.
const QUEUE: usize = 64;

/// What a job leaves behind.
#[derive(Default)]
pub(super) struct Finished {
    /// Kept before the client learns of the end.
    pub(super) events: Vec<Event>,
    /// The last lines.
    pub(super) lines: Vec<Value>,
}

/// Where a job's output goes.
#[derive(Clone)]
pub(super) struct Output(mpsc::Sender<io::Result<Bytes>>);

impl Output {
    /// A line of JSON; waits for a slow client.
    pub(super) fn line(&self, line: &Value) {
        // A client that has gone breaks the job off by its own way.
        let _gone = self.0.blocking_send(Ok(text(line)));
    }

    /// A line that is left out where the client is slow: another one like it will come.
    pub(super) fn passing(&self, line: &Value) {
        let _full = self.0.try_send(Ok(text(line)));
    }
}

impl io::Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let sent = self.0.blocking_send(Ok(Bytes::copy_from_slice(bytes)));
        sent.map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn text(line: &Value) -> Bytes {
    // Docker ends its lines so.
    Bytes::from(format!("{line}\r\n"))
}

/// Breaks a job off when nobody waits for it any more.
struct Watched(Arc<AtomicBool>);

impl Drop for Watched {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What a job sends when it fails after its first output.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Lines of JSON: the error is the last.
    Lines,
    /// Lines of JSON, and an error is one of them also where it is the first.
    Report,
    /// An archive: it is cut off.
    Archive,
}

impl Kind {
    const fn content_type(self) -> &'static str {
        match self {
            Self::Lines | Self::Report => "application/json",
            Self::Archive => "application/x-tar",
        }
    }
}

/// Runs `work` and answers what it says. What fails before the first output is an ordinary error, but of a
/// report.
pub(super) async fn answer(
    daemon: &Rc<Daemon>,
    kind: Kind,
    work: impl FnOnce(&Output, &AtomicBool) -> Result<Finished, EngineError> + Send + 'static,
) -> Result<Response, EngineError> {
    let (sender, mut receiver) = mpsc::channel(QUEUE);
    let (tell, told) = oneshot::channel();
    let cancel = Arc::new(AtomicBool::new(false));
    let watched = Watched(Arc::clone(&cancel));
    let output = Output(sender.clone());
    let running = super::blocking(move || work(&output, &cancel));
    let daemon = Rc::clone(daemon);
    // Of its own: what was done is told of in events also where the client has gone.
    tokio::task::spawn_local(async move {
        let done = finish(&daemon, &sender, running.await).await;
        let _gone = tell.send(done);
    });
    let first = receiver.recv().await;
    if first.is_none() && kind != Kind::Report {
        ended(told).await?;
        return Ok(response::typed(StatusCode::OK, kind.content_type(), ""));
    }
    let body = Body::stream(async move |sink| {
        let _watched = watched;
        let mut next = first;
        while let Some(piece) = next {
            sink.send(piece?).await;
            next = receiver.recv().await;
        }
        match ended(told).await {
            Ok(()) => Ok(()),
            Err(error) if kind != Kind::Archive => {
                sink.send(text(&failure(&error))).await;
                Ok(())
            }
            Err(error) => Err(io::Error::other(error.to_string())),
        }
    });
    Ok(response::typed(StatusCode::OK, kind.content_type(), body))
}

/// How a job ended whose output is over.
async fn ended(told: oneshot::Receiver<Result<(), EngineError>>) -> Result<(), EngineError> {
    told.await.unwrap_or_else(|_| Err(EngineError::Failed("the work was broken off".to_owned())))
}

/// Keeps the events of a job, then sends its last lines.
async fn finish(
    daemon: &Daemon,
    sender: &mpsc::Sender<io::Result<Bytes>>,
    done: Result<Finished, EngineError>,
) -> Result<(), EngineError> {
    let Finished { events, lines } = done?;
    keep(daemon, events).await?;
    for line in lines {
        let _gone = sender.send(Ok(text(&line))).await;
    }
    Ok(())
}

/// Keeps events that no other change belongs to.
pub(super) async fn keep(daemon: &Daemon, events: Vec<Event>) -> Result<(), EngineError> {
    let mut batch = Batch::default();
    for event in events {
        daemon.events.push(&mut batch, event);
    }
    Ok(daemon.db.commit(batch).await?)
}

/// An error within an answer that has begun.
fn failure(error: &EngineError) -> Value {
    let message = error.to_string();
    json!({"errorDetail": {"message": message}, "error": message})
}
