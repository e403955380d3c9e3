//! `POST /images/{name}/push`.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use image::{Digest, PushError, PushEvent, Reference, RegistryError};
use serde_json::json;
use vdocker::EngineError;
use vdocker::response::Response;

use super::job::{self, Finished, Kind, Output};
use super::{Settings, event, refusal, stream};
use crate::context::Context;
use crate::failure::chain;

/// Bytes between two lines of progress of one layer.
const STEP: u64 = 512 << 10;

/// `POST /images/{name}/push`.
pub(super) async fn push(mut context: Context) -> Result<Response, EngineError> {
    let bad = |error: image::ReferenceError| EngineError::BadRequest(error.to_string());
    let name: Reference = context.name.parse().map_err(bad)?;
    if name.digest().is_some() {
        return Err(EngineError::BadRequest("cannot push a digest reference".to_owned()));
    }
    let tag = context.query.text("tag").unwrap_or_default().to_owned();
    let settings = Settings::of(&context);
    let store = context.daemon.images.clone();
    let has_tag = context.name.rsplit('/').next().is_some_and(|last| last.contains(':'));
    context.follow().await?;
    job::answer(&context.daemon, Kind::Lines, move |output, cancel| {
        let options = settings.options(cancel);
        let same = |other: &Reference| other.domain() == name.domain() && other.path() == name.path();
        let names = if !tag.is_empty() {
            vec![name.with_tag(&tag).ok_or_else(|| bad(image::ReferenceError::Format))?]
        } else if has_tag {
            vec![name.clone()]
        } else {
            let images = store.images().map_err(|error| crate::failure::failed(&error))?;
            images.into_iter().flat_map(|image| image.tags).filter(same).collect()
        };
        let known = |name: &Reference| store.image(&name.to_string()).is_ok();
        if names.is_empty() || !names.iter().all(known) {
            let asked = names
                .first()
                .filter(|_| !tag.is_empty())
                .map_or_else(|| name.repository(), Reference::familiar);
            return Err(EngineError::NotFound(format!(
                "An image does not exist locally with the tag: {asked}"
            )));
        }
        let repository = format!("{}/{}", name.domain(), name.path());
        output.line(&stream::status(&format!("The push refers to repository [{repository}]")));
        let mut finished = Finished::default();
        for name in &names {
            let lines = Lines { output, told: Mutex::default() };
            let pushed = image::push(&store, name, &options, &|layer, event| lines.event(layer, event));
            let pushed = pushed.map_err(|error| not_pushed(name, error))?;
            let (digest, size) = (pushed.digest, pushed.size);
            let tag = name.tag().unwrap_or_default();
            finished.lines.push(stream::status(&format!("{tag}: digest: {digest} size: {size}")));
            finished.lines.push(json!({
                "progressDetail": {},
                "aux": {"Tag": tag, "Digest": digest, "Size": size},
            }));
            let config = store.image(&pushed.image.to_string()).ok();
            let config = config.as_ref().map(|image| &image.config.config);
            finished.events.push(event("push", &name.familiar(), &name.repository(), config));
        }
        Ok(finished)
    })
    .await
}

fn not_pushed(name: &Reference, error: PushError) -> EngineError {
    match error {
        PushError::Catalog(error) => refusal(error),
        PushError::NoBlobs(_) => EngineError::Conflict(error.to_string()),
        PushError::Cancelled => EngineError::Failed("context canceled".to_owned()),
        PushError::Registry { source, .. } => match *source {
            RegistryError::Denied { status: 401, .. } => {
                EngineError::Failed("unauthorized: authentication required".to_owned())
            }
            RegistryError::Denied { .. } => EngineError::Failed(format!(
                "denied: requested access to the resource is denied: {}",
                name.repository()
            )),
            error => EngineError::Failed(chain(&error)),
        },
        error => EngineError::Failed(chain(&error)),
    }
}

/// Draws a push.
struct Lines<'a> {
    output: &'a Output,
    told: Mutex<HashMap<Digest, u64>>,
}

impl Lines<'_> {
    fn event(&self, layer: Digest, event: PushEvent) {
        let id = layer.short();
        let part = |text: &str| self.output.line(&stream::part(&id, text));
        match event {
            PushEvent::Preparing => part("Preparing"),
            PushEvent::Exists => part("Layer already exists"),
            PushEvent::Mounted(from) => part(&format!("Mounted from {from}")),
            PushEvent::Pushed => part("Pushed"),
            PushEvent::Pushing { done, size } => {
                let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
                let last = told.entry(layer).or_default();
                if done == size || done >= *last + STEP {
                    *last = done;
                    self.output.passing(&stream::progress(&id, "Pushing", done, Some(size)));
                }
            }
        }
    }
}
