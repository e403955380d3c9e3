//! What happens in a pod: its events, from the first on, for as long as it lives.

use std::collections::BTreeMap;

use bytes::BytesMut;
use http_body_util::BodyExt as _;
use hyper::Method;
use hyper::body::Incoming;
use hyper::header::HeaderMap;
use serde::Deserialize;
use tokio::net::UnixStream;

use super::client::{self, PodError, Upload};

/// The longest event in bytes: a pod's labels have a bound of their own.
const MAX_EVENT: usize = 1 << 20;

/// An event of a pod.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct PodEvent {
    #[serde(rename = "Action")]
    pub(crate) action: String,
    #[serde(rename = "Actor")]
    actor: Actor,
    #[serde(rename = "timeNano")]
    pub(crate) time_nano: i64,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct Actor {
    #[serde(rename = "Attributes", default)]
    attributes: BTreeMap<String, String>,
}

impl PodEvent {
    /// What is known of it beside its action.
    pub(crate) fn attributes(&self) -> &BTreeMap<String, String> {
        &self.actor.attributes
    }
}

/// The events of a pod.
pub(crate) struct Feed {
    body: Incoming,
    read: BytesMut,
    /// Bytes of it that have no line's end: each is looked at once, however small the pieces are that it comes in.
    searched: usize,
}

impl Feed {
    /// Asks for the events of a pod that is about to boot, or runs.
    ///
    /// # Errors
    /// The pod breaks off.
    pub(crate) async fn open(stream: UnixStream) -> Result<Self, PodError> {
        // Not 0, which stands for no time at all.
        let target = "/events?since=1";
        let answer = client::send(stream, Method::GET, target, &HeaderMap::new(), Upload::None).await?;
        Ok(Self { body: client::good(answer).await?.into_body(), read: BytesMut::new(), searched: 0 })
    }

    /// The next event; `None`: the pod has ended, or does not speak as it should.
    pub(crate) async fn next(&mut self) -> Option<PodEvent> {
        loop {
            if let Some(end) = self.read[self.searched..].iter().position(|byte| *byte == b'\n') {
                let line = self.read.split_to(self.searched + end + 1);
                self.searched = 0;
                match serde_json::from_slice(&line) {
                    Ok(event) => return Some(event),
                    // One that is not understood does not hide those behind it.
                    Err(_) => continue,
                }
            }
            self.searched = self.read.len();
            if self.read.len() > MAX_EVENT {
                return None;
            }
            let bytes = self.body.frame().await?.ok()?.into_data();
            self.read.extend_from_slice(&bytes.unwrap_or_default());
        }
    }
}
