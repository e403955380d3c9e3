//! What the API tells of an image's manifest: its descriptor, and where its bytes are.

use image::{Store, StoredImage};
use serde_json::{Value, json};
use vdocker::EngineError;

use crate::failure::failed;

/// The descriptor of an image's manifest; `null` where it has none.
pub(super) fn descriptor(store: &Store, image: &StoredImage) -> Result<Value, EngineError> {
    let found = store.manifest_info(image).map_err(|error| failed(&error))?;
    Ok(found.map_or(
        Value::Null,
        |found| json!({"mediaType": found.media_type, "digest": found.digest, "size": found.size}),
    ))
}

/// The list of an image's manifests: the one for this platform.
pub(super) fn of(store: &Store, image: &StoredImage, containers: &[String]) -> Result<Value, EngineError> {
    let Some(found) = store.manifest_info(image).map_err(|error| failed(&error))? else {
        return Ok(json!([]));
    };
    let content = if found.whole { found.content } else { 0 };
    Ok(json!([{
        "ID": found.digest,
        "Descriptor": {
            "mediaType": found.media_type,
            "digest": found.digest,
            "size": found.size,
            "platform": {"architecture": image.config.architecture, "os": image.config.os},
        },
        "Available": found.whole,
        "Size": {"Content": content, "Total": content + image.size},
        "Kind": "image",
        "ImageData": {
            "Platform": {"architecture": image.config.architecture, "os": image.config.os},
            "Containers": containers,
            "Size": {"Unpacked": image.size},
        },
    }]))
}
