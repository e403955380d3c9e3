//! What `docker save` writes: `manifest.json`, configurations and layers; since Docker 25 an OCI layout as well,
//! which tells the manifest's digest.

use std::io::{self, Read};
use std::sync::Arc;

use serde::Deserialize;

use crate::archive::{ArchiveError, Files, blob_name};
use crate::digest::Digest;
use crate::install::{Candidate, Layers};
use crate::layer::{At, Blob};
use crate::layout;
use crate::reference::Reference;

const EXPECTED: &str = "an archive of docker save";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Item {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Option<Vec<String>>,
}

impl Item {
    /// Its tags; a digest in one would be a promise that nothing here can keep.
    fn names(&self) -> impl Iterator<Item = Reference> {
        let names = self.repo_tags.iter().flatten().filter_map(|tag| tag.parse::<Reference>().ok());
        names.filter(|name| name.digest().is_none())
    }
}

/// The image of that name, or the only one.
pub(crate) fn candidate(
    files: Files,
    wanted: Option<&Reference>,
    source: &str,
) -> Result<Candidate<'static>, ArchiveError> {
    let items = items(&files)?;
    let item = choose(&items, wanted, &files)?;
    let mut found = candidate_of(&Arc::new(files), item, source)?;
    if let Some(wanted) = wanted {
        found.name = wanted.familiar();
        found.tags = vec![wanted.clone()];
    }
    Ok(found)
}

/// All images of an archive.
pub(crate) fn items(files: &Files) -> Result<Vec<Item>, ArchiveError> {
    let json = files.document("manifest.json", EXPECTED)?;
    serde_json::from_slice(&json).map_err(|error| ArchiveError::Json("manifest.json".into(), error))
}

/// One of its images, with the names it has there.
pub(crate) fn candidate_of(
    files: &Arc<Files>,
    item: &Item,
    source: &str,
) -> Result<Candidate<'static>, ArchiveError> {
    let config = files.document(&item.config, EXPECTED)?;
    let id = Digest::of(&config);
    // The name is the digest wherever it looks like one.
    let stem = item.config.rsplit('/').next().unwrap_or_default();
    let named = Digest::from_hex(stem.strip_suffix(".json").unwrap_or(stem));
    if named.is_ok_and(|named| named != id) {
        return Err(ArchiveError::Digest { name: item.config.clone(), found: id });
    }
    let tags: Vec<_> = item.names().collect();
    let names = item.layers.clone().unwrap_or_default();
    Ok(Candidate {
        name: tags.first().map_or_else(|| source.to_owned(), Reference::familiar),
        config,
        manifest: layout::manifest_of(files, id),
        index: None,
        in_registry: false,
        from_mirror: false,
        tags,
        blobs: names.iter().map(|name| blob(files, name)).collect(),
        layers: Box::new(ArchiveLayers { files: Arc::clone(files), names }),
    })
}

fn choose<'a>(
    items: &'a [Item],
    wanted: Option<&Reference>,
    files: &Files,
) -> Result<&'a Item, ArchiveError> {
    let path = files.path().to_owned();
    let found = || items.iter().flat_map(Item::names).map(|name| name.familiar()).collect::<Vec<_>>();
    match (wanted, items) {
        (Some(wanted), _) => {
            let named = items.iter().find(|item| item.names().any(|name| name == *wanted));
            // Saved by its digest, an image has no name in the archive.
            let item = named.or(items.first().filter(|_| items.len() == 1 && wanted.digest().is_some()));
            item.ok_or_else(|| ArchiveError::NoImage { path, wanted: wanted.familiar(), found: found() })
        }
        (None, [only]) => Ok(only),
        (None, []) => Err(ArchiveError::NoImage { path, wanted: "at all".to_owned(), found: Vec::new() }),
        (None, _) => Err(ArchiveError::Several { path, found: found() }),
    }
}

/// In an OCI layout the layer's name is the digest of its bytes.
fn blob(files: &Files, name: &str) -> Blob {
    let size = files.open(name).ok().flatten().map(|(_, len)| len);
    let digest = name.rsplit('/').next().and_then(|last| Digest::from_hex(last).ok());
    Blob { digest: digest.filter(|digest| name == blob_name(*digest)), size }
}

/// Layers that are files of an archive.
pub(crate) struct ArchiveLayers {
    pub(crate) files: Arc<Files>,
    pub(crate) names: Vec<String>,
}

impl Layers for ArchiveLayers {
    fn open<'r>(&'r self, index: usize, _: At<'r>) -> io::Result<Box<dyn Read + 'r>> {
        let name = &self.names[index];
        let missing = || io::Error::new(io::ErrorKind::NotFound, format!("{name:?} is not in the archive"));
        Ok(self.files.open(name)?.ok_or_else(missing)?.0)
    }
}
