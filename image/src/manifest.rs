//! Manifests and indexes, as registries, archives and layouts hold them: OCI image specification 1.1 and Docker
//! schema 2, which have the same fields. Unknown fields are ignored, as both specifications ask.

use std::collections::HashMap;

use oci_spec::image::{Arch, Os, Platform};
use serde::Deserialize;
use serde_json::json;

use crate::decompress::Compression;
use crate::digest::{Digest, DigestError};
use crate::store::Blob;

/// The media types that are asked of a registry for a manifest.
pub(crate) const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json";

/// The media type of an image's manifest.
pub(crate) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// The media type of an index.
pub(crate) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// The media type of a configuration.
pub(crate) const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";

/// The largest manifest, index or configuration in bytes that is read from anywhere.
pub(crate) const MAX_DOCUMENT: u64 = 4 << 20;

/// A pointer to content: an OCI descriptor whose digest is one that this crate computes.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "oci_spec::image::Descriptor")]
pub(crate) struct Descriptor {
    pub(crate) media_type: String,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    pub(crate) platform: Option<Platform>,
    pub(crate) annotations: Option<HashMap<String, String>>,
}

impl TryFrom<oci_spec::image::Descriptor> for Descriptor {
    type Error = DigestError;

    fn try_from(descriptor: oci_spec::image::Descriptor) -> Result<Self, DigestError> {
        Ok(Self {
            media_type: descriptor.media_type().to_string(),
            digest: descriptor.digest().to_string().parse()?,
            size: descriptor.size(),
            platform: descriptor.platform().clone(),
            annotations: descriptor.annotations().clone(),
        })
    }
}

impl Descriptor {
    pub(crate) fn annotation(&self, key: &str) -> Option<&str> {
        self.annotations.as_ref()?.get(key).map(String::as_str)
    }
}

/// An image: its configuration and layers, lowest first.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Manifest {
    pub(crate) config: Descriptor,
    pub(crate) layers: Vec<Descriptor>,
}

/// A manifest that was found behind a name.
pub(crate) struct Found {
    /// Its bytes.
    pub(crate) bytes: Vec<u8>,
    pub(crate) manifest: Manifest,
    /// The bytes of the first index on the way to it.
    pub(crate) index: Option<Vec<u8>>,
}

/// What a manifest's bytes turned out to be.
pub(crate) enum Document {
    Manifest(Box<Manifest>),
    Index(Vec<Descriptor>),
}

/// Why bytes are no manifest that this code reads.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// The bytes are not JSON of the expected form.
    #[error("malformed manifest")]
    Parse(#[source] serde_json::Error),
    /// A manifest of Docker's first schema, which no registry makes any more.
    #[error("manifest schema version {0} is not supported")]
    Schema(u64),
    /// An index has no image for this platform.
    #[error("no image for linux/amd64, only for {}", .0.join(", "))]
    Platform(Vec<String>),
    /// A layer that lies outside of the registry.
    #[error("layer of media type {0} is not distributable")]
    MediaType(String),
    /// An artifact that is not an image.
    #[error("not a container image: configuration of media type {0}")]
    Artifact(String),
    /// Indexes that point to indexes without an end.
    #[error("indexes are nested too deeply")]
    Nested,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Probe {
    schema_version: u64,
    #[serde(default)]
    manifests: Option<Vec<Descriptor>>,
}

/// Reads the bytes of a manifest or index.
pub(crate) fn parse(bytes: &[u8]) -> Result<Document, ManifestError> {
    let probe: Probe = serde_json::from_slice(bytes).map_err(ManifestError::Parse)?;
    if probe.schema_version != 2 {
        return Err(ManifestError::Schema(probe.schema_version));
    }
    if let Some(manifests) = probe.manifests {
        return Ok(Document::Index(manifests));
    }
    let manifest: Manifest = serde_json::from_slice(bytes).map_err(ManifestError::Parse)?;
    if !is_image_config(&manifest.config.media_type) {
        return Err(ManifestError::Artifact(manifest.config.media_type));
    }
    if let Some(layer) = manifest.layers.iter().find(|layer| !is_layer(&layer.media_type)) {
        return Err(ManifestError::MediaType(layer.media_type.clone()));
    }
    Ok(Document::Manifest(Box::new(manifest)))
}

/// The bytes of a manifest for an image that came without one.
pub(crate) fn write(config: &[u8], layers: &[(Blob, Compression)]) -> Vec<u8> {
    let layer = |(blob, compression): &(Blob, Compression)| {
        let suffix = match compression {
            Compression::None => "",
            Compression::Gzip => "+gzip",
            Compression::Zstd => "+zstd",
        };
        let media_type = format!("application/vnd.oci.image.layer.v1.tar{suffix}");
        json!({"mediaType": media_type, "digest": blob.digest, "size": blob.size})
    };
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": {"mediaType": OCI_CONFIG, "digest": Digest::of(config), "size": config.len()},
        "layers": layers.iter().map(layer).collect::<Vec<_>>(),
    });
    manifest.to_string().into_bytes()
}

/// The media type that a manifest or index says it has.
pub(crate) fn media_type(bytes: &[u8]) -> String {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Typed {
        media_type: Option<String>,
        manifests: Option<serde::de::IgnoredAny>,
    }
    let typed = serde_json::from_slice::<Typed>(bytes).ok();
    let index = typed.as_ref().is_some_and(|typed| typed.manifests.is_some());
    let told =
        typed.and_then(|typed| typed.media_type).filter(|told| told.bytes().all(|b| b.is_ascii_graphic()));
    told.unwrap_or_else(|| if index { OCI_INDEX } else { OCI_MANIFEST }.to_owned())
}

fn is_image_config(media_type: &str) -> bool {
    matches!(
        media_type,
        "" | "application/vnd.oci.image.config.v1+json" | "application/vnd.docker.container.image.v1+json"
    )
}

// The compression is told by the stream's first bytes, so only the family matters here.
fn is_layer(media_type: &str) -> bool {
    let known = ["application/vnd.oci.image.layer.v1.tar", "application/vnd.docker.image.rootfs.diff.tar"];
    media_type.is_empty()
        || known.iter().any(|start| media_type.starts_with(start)) && !media_type.ends_with("+encrypted")
}

/// Chooses the image for linux/amd64 from an index.
pub(crate) fn choose(manifests: &[Descriptor]) -> Result<&Descriptor, ManifestError> {
    let fits = |platform: &Platform| *platform.os() == Os::Linux && *platform.architecture() == Arch::Amd64;
    // Of several, the one without a variant, or the lowest one: every x86-64 processor runs it.
    manifests
        .iter()
        .filter_map(|entry| Some((entry, entry.platform.as_ref().filter(|platform| fits(platform))?)))
        .min_by_key(|(_, platform)| platform.variant().clone().unwrap_or_default())
        .map(|(entry, _)| entry)
        // Layouts with one image often say no platform at all.
        .or_else(|| match manifests {
            [only] if only.platform.is_none() => Some(only),
            _ => None,
        })
        .ok_or_else(|| {
            let name = |entry: &Descriptor| {
                let platform = entry.platform.as_ref()?;
                let os = platform.os().to_string();
                (os != "unknown").then(|| format!("{os}/{}", platform.architecture()))
            };
            let mut names: Vec<_> = manifests.iter().filter_map(name).take(20).collect();
            if names.is_empty() {
                names.push("unknown platforms".to_owned());
            }
            ManifestError::Platform(names)
        })
}
