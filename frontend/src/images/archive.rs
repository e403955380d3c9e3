//! Images in archives: `GET /images/get`, `GET /images/{name}/get` and `POST /images/load`.

use std::io::{self, Read};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use image::{Archive, Digest, SaveError};
use serde_json::json;
use tokio::sync::mpsc;
use vdocker::response::Response;
use vdocker::{EngineError, RequestBody};

use super::job::{self, Finished, Kind};
use super::pull::Lines;
use super::{Settings, event, refusal};
use crate::context::Context;
use crate::failure::{chain, failed};

/// Pieces of an upload on their way to the disk.
const QUEUE: usize = 16;

/// Bytes of an archive that are sent at one time.
const CHUNK: usize = 64 << 10;

/// `GET /images/get?names=…`.
pub(super) async fn save_names(context: Context) -> Result<Response, EngineError> {
    let names = context.query.all("names").flat_map(|names| names.split(',')).map(str::to_owned).collect();
    save(context, names).await
}

/// `GET /images/{name}/get`.
pub(super) async fn save_one(context: Context) -> Result<Response, EngineError> {
    let name = context.name.clone();
    save(context, vec![name]).await
}

async fn save(mut context: Context, names: Vec<String>) -> Result<Response, EngineError> {
    let store = context.daemon.images.clone();
    context.follow().await?;
    job::answer(&context.daemon, Kind::Archive, move |output, _| {
        let archive = Archive::new(&store, &names).map_err(not_saved)?;
        let mut out = io::BufWriter::with_capacity(CHUNK, output.clone());
        archive.write(&mut out).map_err(not_saved)?;
        let events = archive.ids().iter().map(|id| told(&store, "save", *id)).collect();
        Ok(Finished { events, ..Finished::default() })
    })
    .await
}

fn not_saved(error: SaveError) -> EngineError {
    match error {
        SaveError::Catalog(error) => refusal(error),
        SaveError::NoBlobs(_) => EngineError::Conflict(error.to_string()),
        SaveError::TooMany => EngineError::BadRequest(error.to_string()),
        error => failed(&error),
    }
}

fn told(store: &image::Store, action: &str, id: Digest) -> crate::events::Event {
    let id = id.to_string();
    let image = store.image(&id).ok();
    event(action, &id, &id, image.as_ref().map(|image| &image.config.config))
}

/// `POST /images/load`.
pub(super) async fn load(mut context: Context) -> Result<Response, EngineError> {
    let quiet = context.query.flag("quiet");
    let settings = Settings::of(&context);
    let store = context.daemon.images.clone();
    let (uploading, upload) = channel();
    let answer = job::answer(&context.daemon, Kind::Report, move |output, cancel| {
        let options = settings.options(cancel);
        let lines = Lines::load(output);
        let progress: &dyn image::Progress = if quiet { &image::Silent } else { &lines };
        let loaded = image::load(&store, upload, &options, progress, &mut |one| {
            let names = one.names.iter().map(|name| format!("Loaded image: {}\n", name.familiar()));
            let said: Vec<_> = if one.names.is_empty() {
                vec![format!("Loaded image ID: {}\n", one.id)]
            } else {
                names.collect()
            };
            said.iter().for_each(|text| output.line(&json!({ "stream": text })));
        });
        let loaded = loaded.map_err(|error| EngineError::Failed(chain(&error)))?;
        let events = loaded.iter().map(|one| told(&store, "load", one.id)).collect();
        Ok(Finished { events, ..Finished::default() })
    });
    uploading.with(&mut context.body, answer).await
}

/// An upload that a job reads on its thread.
pub(super) fn channel() -> (Uploading, Upload) {
    let (sender, receiver) = mpsc::channel(QUEUE);
    (Uploading(sender), Upload { receiver, left: Bytes::new() })
}

/// The sending end.
pub(super) struct Uploading(mpsc::Sender<io::Result<Bytes>>);

impl Uploading {
    /// Hands a pod's answer on to its end, or to that of the job.
    pub(super) async fn of_pod(self, mut body: Incoming) {
        while let Some(frame) = body.frame().await {
            let piece = frame.map(|frame| frame.into_data().unwrap_or_default()).map_err(io::Error::other);
            let broken = piece.is_err();
            if self.0.send(piece).await.is_err() || broken {
                break;
            }
        }
    }

    /// Hands a request's body on while an answer is prepared, which may come before the body's end.
    pub(super) async fn with(
        self,
        body: &mut RequestBody,
        answer: impl Future<Output = Result<Response, EngineError>>,
    ) -> Result<Response, EngineError> {
        let mut broken = None;
        let pump = async {
            loop {
                let piece = match body.chunk().await {
                    Ok(Some(piece)) => Ok(piece),
                    Ok(None) => break,
                    Err(error) => {
                        let told = io::Error::new(io::ErrorKind::UnexpectedEof, error.to_string());
                        broken = Some(error);
                        Err(told)
                    }
                };
                if self.0.send(piece).await.is_err() || broken.is_some() {
                    break;
                }
            }
            drop(self);
        };
        let mut answer = std::pin::pin!(answer);
        tokio::select! {
            biased;
            early = &mut answer => return early,
            () = pump => {}
        }
        match broken {
            // Nobody is there to be answered; the job ends by itself.
            Some(error) => {
                let _late = tokio::time::timeout(Duration::from_secs(10), answer).await;
                Err(error)
            }
            None => answer.await,
        }
    }
}

/// The reading end.
pub(super) struct Upload {
    receiver: mpsc::Receiver<io::Result<Bytes>>,
    left: Bytes,
}

impl Read for Upload {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while self.left.is_empty() {
            match self.receiver.blocking_recv() {
                Some(piece) => self.left = piece?,
                None => return Ok(0),
            }
        }
        let count = self.left.len().min(buf.len());
        self.left.copy_to_slice(&mut buf[..count]);
        Ok(count)
    }
}
