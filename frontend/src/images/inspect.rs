//! One image: `GET /images/{name}/json` and `/history`, and `POST /images/{name}/tag`.

use std::time::{Duration, SystemTime};

use hyper::StatusCode;
use image::{Digest, Reference, Store, StoredImage};
use serde_json::{Map, Value, json};
use vdocker::EngineError;
use vdocker::response::{self, Response};
use vdocker::time;

use super::{blocking, digests, event, job, manifests, refusal, tags};
use crate::context::Context;
use crate::failure::failed;

/// A time that is not known, as Go writes it.
const NEVER: &str = "0001-01-01T00:00:00Z";

/// `GET /images/{name}/json`.
pub(super) async fn inspect(context: Context) -> Result<Response, EngineError> {
    let (store, name) = (context.daemon.images.clone(), context.name.clone());
    let (version, manifests) = (context.version, context.query.flag("manifests"));
    let shown = blocking(move || {
        let image = store.image(&name).map_err(refusal)?;
        let mut shown = show(&store, &image)?;
        if !version.at_least(44) {
            shown["VirtualSize"] = json!(image.size);
        }
        if version.at_least(48) {
            let descriptor = manifests::descriptor(&store, &image)?;
            if !descriptor.is_null() {
                shown["Descriptor"] = descriptor;
            }
            if manifests {
                shown["Manifests"] = manifests::of(&store, &image, &[])?;
            }
        }
        Ok(shown)
    })
    .await?;
    response::json(StatusCode::OK, &shown)
}

fn show(store: &Store, image: &StoredImage) -> Result<Value, EngineError> {
    let json: Value = serde_json::from_slice(&image.json).map_err(|error| failed(&error))?;
    let text = |key: &str| json.get(key).and_then(Value::as_str).unwrap_or_default();
    let history = json.get("history").and_then(Value::as_array);
    let comment = history.and_then(|lines| lines.last()?.get("comment")?.as_str()).unwrap_or_default();
    let tagged = image.tagged.map(|seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
    let mut shown = json!({
        "Id": image.id,
        "RepoTags": tags(image),
        "RepoDigests": digests(image),
        "Parent": text("parent").parse::<Digest>().map(|parent| parent.to_string()).unwrap_or_default(),
        "Comment": if text("comment").is_empty() { comment } else { text("comment") },
        "Created": if image.config.created.is_empty() { NEVER } else { &image.config.created },
        "DockerVersion": text("docker_version"),
        "Author": text("author"),
        "Config": config(json.get("config")),
        "Architecture": image.config.architecture,
        "Os": image.config.os,
        "Size": image.size,
        "GraphDriver": {
            "Data": {"MergedDir": "", "UpperDir": "", "WorkDir": store.root().join("meta").display().to_string()},
            "Name": "overlay2",
        },
        "RootFS": {"Type": "layers", "Layers": image.config.rootfs.diff_ids},
        "Metadata": {"LastTagTime": tagged.map_or_else(|| NEVER.to_owned(), time::trimmed)},
    });
    if !text("variant").is_empty() {
        shown["Variant"] = json!(text("variant"));
    }
    Ok(shown)
}

/// An image's `Config` with what clients look for in any of them.
fn config(found: Option<&Value>) -> Value {
    let mut config: Map<String, Value> = found.and_then(Value::as_object).cloned().unwrap_or_default();
    config.retain(|_, value| !value.is_null());
    for key in ["Cmd", "Entrypoint", "Env", "Labels", "OnBuild", "Volumes"] {
        config.entry(key).or_insert(Value::Null);
    }
    for key in ["User", "WorkingDir"] {
        config.entry(key).or_insert_with(|| json!(""));
    }
    Value::Object(config)
}

/// `GET /images/{name}/history`.
pub(super) async fn history(context: Context) -> Result<Response, EngineError> {
    let (store, name) = (context.daemon.images.clone(), context.name.clone());
    let lines = blocking(move || {
        let image = store.image(&name).map_err(refusal)?;
        lines(&store, &image)
    })
    .await?;
    response::json(StatusCode::OK, &lines)
}

/// The lines of an image's history, newest first.
fn lines(store: &Store, image: &StoredImage) -> Result<Vec<Value>, EngineError> {
    let json: Value = serde_json::from_slice(&image.json).map_err(|error| failed(&error))?;
    let sizes = store.layer_sizes(&image.config).map_err(|error| failed(&error))?;
    let mut layers = image.config.rootfs.diff_ids.iter();
    let mut lines = Vec::new();
    for line in json.get("history").and_then(Value::as_array).into_iter().flatten() {
        let text = |key: &str| line.get(key).and_then(Value::as_str).unwrap_or_default();
        let is_empty = line.get("empty_layer").and_then(Value::as_bool).unwrap_or_default();
        let size =
            if is_empty { 0 } else { layers.next().and_then(|layer| sizes.get(layer)).copied().unwrap_or(0) };
        lines.push(json!({
            "Id": "<missing>",
            "Created": time::parse(text("created")).map_or(0, time::unix),
            "CreatedBy": text("created_by"),
            "Tags": null,
            "Size": size,
            "Comment": text("comment"),
        }));
    }
    lines.reverse();
    if let Some(first) = lines.first_mut() {
        first["Id"] = json!(image.id);
        first["Tags"] = json!(tags(image));
    }
    Ok(lines)
}

/// `POST /images/{name}/tag`.
pub(super) async fn tag(context: Context) -> Result<Response, EngineError> {
    let name =
        target(&context)?.ok_or_else(|| EngineError::BadRequest("invalid reference format".to_owned()))?;
    let (store, text, told) = (context.daemon.images.clone(), context.name.clone(), name.familiar());
    let image = blocking(move || {
        store.name_image(&text, &name).map_err(refusal)?;
        store.image(&name.to_string()).map_err(refusal)
    })
    .await?;
    let tagged = event("tag", &image.id.to_string(), &told, Some(&image.config.config));
    job::keep(&context.daemon, vec![tagged]).await?;
    Ok(response::status(StatusCode::CREATED))
}

/// The name in `repo` and `tag` of a query; `None` without one.
pub(super) fn target(context: &Context) -> Result<Option<Reference>, EngineError> {
    let bad = || EngineError::BadRequest("invalid reference format".to_owned());
    let Some(repository) = context.query.text("repo").filter(|repository| !repository.is_empty()) else {
        return Ok(None);
    };
    let name: Reference = repository
        .parse()
        .map_err(|error: image::ReferenceError| EngineError::BadRequest(error.to_string()))?;
    if name.digest().is_some() {
        return Err(EngineError::BadRequest("refusing to create a tag with a digest reference".to_owned()));
    }
    match context.query.text("tag").filter(|tag| !tag.is_empty()) {
        Some(tag) => name.with_tag(tag).ok_or_else(bad).map(Some),
        None => Ok(Some(name)),
    }
}
