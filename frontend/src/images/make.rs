//! `POST /images/create?fromSrc=-`: a root file system becomes an image.

use std::time::SystemTime;

use image::NewImage;
use serde_json::Map;
use vdocker::EngineError;
use vdocker::response::Response;
use vdocker::time;

use super::inspect::target;
use super::job::{self, Finished, Kind};
use super::{Settings, archive, event, stream};
use crate::context::Context;
use crate::failure::chain;

/// `POST /images/create?fromSrc=-`: the body is a root file system.
pub(super) async fn import(mut context: Context, source: &str) -> Result<Response, EngineError> {
    if source != "-" {
        return Err(EngineError::Unsupported(
            "cradle imports no URLs: fetch the archive and pass it on standard input".to_owned(),
        ));
    }
    let name = target(&context)?;
    let mut config = Map::new();
    let changes: Vec<_> = context.query.all("changes").map(str::to_owned).collect();
    image::changes::apply(&mut config, &changes)
        .map_err(|error| EngineError::BadRequest(error.to_string()))?;
    let message = context.query.text("message").unwrap_or_default();
    let comment = if message.is_empty() { "Imported from -" } else { message };
    let new = NewImage {
        config,
        comment: comment.to_owned(),
        created: time::trimmed(SystemTime::now()),
        name,
        ..NewImage::default()
    };
    let settings = Settings::of(&context);
    let store = context.daemon.images.clone();
    let (uploading, upload) = archive::channel();
    let answer = job::answer(&context.daemon, Kind::Lines, move |_, cancel| {
        let options = settings.options(cancel);
        let id = image::make(&store, upload, &new, &options).map_err(not_made)?.to_string();
        let told = new.name.as_ref().map_or_else(|| id.clone(), image::Reference::familiar);
        let events = vec![event("import", &id, &told, None)];
        Ok(Finished { events, lines: vec![stream::status(&id)] })
    });
    uploading.with(&mut context.body, answer).await
}

pub(super) fn not_made(error: image::MakeError) -> EngineError {
    match error {
        image::MakeError::Base(error) => super::refusal(error),
        error => EngineError::Failed(chain(&error)),
    }
}
