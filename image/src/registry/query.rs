//! What a registry tells of a repository without its layers being moved: tags, and what a name stands for.

use serde::Deserialize;
use ureq::http::header;

use super::client::{Access, Client};
use super::hosts::Endpoint;
use super::{RegistryError, document, first_answer};
use crate::config::ImageConfig;
use crate::digest::Digest;
use crate::manifest::{self, Document, ManifestError};
use crate::progress::Silent;
use crate::reference::Reference;
use crate::resolve::ResolveOptions;

/// Tags that are asked for at one time.
const PAGE: usize = 1000;

/// Tags of one repository that are looked at.
const MAX_TAGS: usize = 10_000;

/// What a name stands for in its registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remote {
    /// The media type of its manifest or index.
    pub media_type: String,
    /// The digest of that.
    pub digest: Digest,
    /// The length of that in bytes.
    pub size: u64,
    /// The platforms it is for.
    pub platforms: Vec<RemotePlatform>,
}

/// A platform of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemotePlatform {
    /// As in `amd64`.
    pub architecture: String,
    /// As in `linux`.
    pub os: String,
    /// As in `v8`; empty where there is none.
    pub variant: String,
}

/// Asks the registry of a name whether the login of `options` is good.
///
/// # Errors
/// The registry refuses it, or cannot be asked.
pub fn check_login(name: &Reference, options: &ResolveOptions<'_>) -> Result<(), RegistryError> {
    let endpoint = Endpoint::origin(name, &options.registries);
    Client::connect(name, endpoint, Access::Login, options)?.check_login()
}

/// The tags of a name's repository.
///
/// # Errors
/// The registry refuses, or cannot be asked.
pub fn remote_tags(name: &Reference, options: &ResolveOptions<'_>) -> Result<Vec<String>, RegistryError> {
    first_answer(name, options, &Silent, |client, _| tags(&client, name))
}

fn tags(client: &Client<'_>, name: &Reference) -> Result<Vec<String>, RegistryError> {
    #[derive(Deserialize)]
    struct Page {
        #[serde(default)]
        tags: Option<Vec<String>>,
    }
    let mut found: Vec<String> = Vec::new();
    let mut query = format!("list?n={PAGE}");
    while found.len() < MAX_TAGS {
        let response = client.get("tags", &query, 0)?;
        let more = response.headers().contains_key(header::LINK);
        let bytes = client.read_document(&query, response)?;
        let page: Page = serde_json::from_slice(&bytes).map_err(ManifestError::Parse)?;
        // What is no tag could mean anything in an address.
        let tags = page.tags.unwrap_or_default().into_iter().filter(|tag| name.with_tag(tag).is_some());
        let before = found.len();
        found.extend(tags);
        match found.last() {
            Some(last) if more && found.len() > before => query = format!("list?n={PAGE}&last={last}"),
            _ => break,
        }
    }
    found.truncate(MAX_TAGS);
    Ok(found)
}

/// What a name stands for.
///
/// # Errors
/// The registry refuses, cannot be asked, or answers no image.
pub fn remote_image(name: &Reference, options: &ResolveOptions<'_>) -> Result<Remote, RegistryError> {
    first_answer(name, options, &Silent, |client, _| described(&client, name))
}

fn described(client: &Client<'_>, name: &Reference) -> Result<Remote, RegistryError> {
    let bytes = client.document("manifests", &name.wanted(), &Silent)?;
    if let Some(expected) = name.digest() {
        super::verify(expected, &bytes)?;
    }
    let platforms = match manifest::parse(&bytes)? {
        Document::Index(entries) => {
            entries.iter().filter_map(|entry| entry.platform.as_ref()).map(platform).collect()
        }
        Document::Manifest(manifest) => {
            let config = document(client, "blobs", &manifest.config, &Silent)?;
            let config: ImageConfig = serde_json::from_slice(&config).map_err(ManifestError::Parse)?;
            vec![RemotePlatform { architecture: config.architecture, os: config.os, variant: String::new() }]
        }
    };
    let media_type = manifest::media_type(&bytes);
    Ok(Remote { media_type, digest: Digest::of(&bytes), size: bytes.len() as u64, platforms })
}

fn platform(platform: &oci_spec::image::Platform) -> RemotePlatform {
    RemotePlatform {
        architecture: platform.architecture().to_string(),
        os: platform.os().to_string(),
        variant: platform.variant().clone().unwrap_or_default(),
    }
}
