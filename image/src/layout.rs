//! OCI image layouts (OCI image specification 1.1, "Image Layout"): `index.json` and `blobs/`, as a directory or a
//! tar archive.

use std::sync::Arc;

use serde::Deserialize;

use crate::archive::{ArchiveError, Files, blob_name};
use crate::digest::Digest;
use crate::docker_archive::ArchiveLayers;
use crate::install::Candidate;
use crate::layer::Blob;
use crate::manifest::{self, Descriptor, Document, Found, ManifestError};
use crate::reference::Reference;

const EXPECTED: &str = "an OCI image layout";
pub(crate) const REF_NAME: &str = "org.opencontainers.image.ref.name";
pub(crate) const FULL_NAME: &str = "io.containerd.image.name";

/// Indexes inside of indexes that are followed.
const MAX_DEPTH: usize = 4;

#[derive(Deserialize)]
struct TopIndex {
    #[serde(default)]
    manifests: Vec<Descriptor>,
}

/// The image of that tag, or the only one.
pub(crate) fn candidate(
    files: Files,
    wanted: Option<&str>,
    source: &str,
) -> Result<Candidate<'static>, ArchiveError> {
    let top = top_index(&files)?;
    let top = choose(&top, wanted, &files)?.clone();
    candidate_of(&Arc::new(files), &top, source)
}

/// One image of a layout, with the name it has there.
pub(crate) fn candidate_of(
    files: &Arc<Files>,
    top: &Descriptor,
    source: &str,
) -> Result<Candidate<'static>, ArchiveError> {
    let Found { bytes, manifest, index } = descend(files, top.digest)?;
    let config = files.blob(manifest.config.digest, EXPECTED)?;
    // A digest in the name would be the archive's word alone.
    let name = top.annotation(FULL_NAME).and_then(|name| name.parse::<Reference>().ok());
    let tags: Vec<_> = name.filter(|name| name.digest().is_none()).into_iter().collect();
    let blob = |layer: &Descriptor| Blob { digest: Some(layer.digest), size: Some(layer.size) };
    Ok(Candidate {
        name: tags.first().map_or_else(|| source.to_owned(), Reference::familiar),
        config,
        manifest: Some(bytes),
        index,
        in_registry: false,
        from_mirror: false,
        tags,
        blobs: manifest.layers.iter().map(blob).collect(),
        layers: Box::new(ArchiveLayers {
            files: Arc::clone(files),
            names: manifest.layers.iter().map(|layer| blob_name(layer.digest)).collect(),
        }),
    })
}

/// The name of an entry that has only the short annotation, which a bare tag is not.
pub(crate) fn short_name(entry: &Descriptor) -> Option<Reference> {
    let name = entry.annotation(REF_NAME).filter(|name| name.contains([':', '/']))?;
    name.parse::<Reference>().ok().filter(|name| name.digest().is_none())
}

pub(crate) fn top_index(files: &Files) -> Result<Vec<Descriptor>, ArchiveError> {
    let json = files.document("index.json", EXPECTED)?;
    let index: TopIndex =
        serde_json::from_slice(&json).map_err(|error| ArchiveError::Json("index.json".into(), error))?;
    Ok(index.manifests)
}

fn names(entry: &Descriptor) -> impl Iterator<Item = &str> {
    [REF_NAME, FULL_NAME].into_iter().filter_map(|key| entry.annotation(key))
}

fn choose<'a>(
    entries: &'a [Descriptor],
    wanted: Option<&str>,
    files: &Files,
) -> Result<&'a Descriptor, ArchiveError> {
    let path = files.path().to_owned();
    let found =
        || entries.iter().filter_map(|entry| names(entry).next()).map(str::to_owned).collect::<Vec<_>>();
    let Some(wanted) = wanted else {
        return match entries {
            [only] => Ok(only),
            // One image for several platforms has no name of its own in some layouts.
            _ if found().is_empty() => Ok(manifest::choose(entries)?),
            _ => Err(ArchiveError::Several { path, found: found() }),
        };
    };
    let same = |entry: &&Descriptor| names(entry).any(|name| name == wanted);
    let named: Vec<_> = entries.iter().filter(same).cloned().collect();
    match named.as_slice() {
        [] => Err(ArchiveError::NoImage { path, wanted: wanted.to_owned(), found: found() }),
        [only] => Ok(entries.iter().find(|entry| entry.digest == only.digest).unwrap_or(&entries[0])),
        several => {
            let digest = manifest::choose(several)?.digest;
            Ok(entries.iter().find(|entry| entry.digest == digest).unwrap_or(&entries[0]))
        }
    }
}

/// From a manifest or index to the manifest for this platform.
fn descend(files: &Files, digest: Digest) -> Result<Found, ArchiveError> {
    let (mut at, mut index) = (digest, None);
    for _ in 0..MAX_DEPTH {
        let bytes = files.blob(at, EXPECTED)?;
        match manifest::parse(&bytes)? {
            Document::Manifest(manifest) => return Ok(Found { bytes, manifest: *manifest, index }),
            Document::Index(entries) => {
                at = manifest::choose(&entries)?.digest;
                index.get_or_insert(bytes);
            }
        }
    }
    Err(ManifestError::Nested.into())
}

/// Entries of a layout that are looked at for an image's manifest: each may cost some documents of [`MAX_DEPTH`].
const MAX_LOOKED: usize = 256;

/// The manifest of the image with that id, where the files are a layout as well.
pub(crate) fn manifest_of(files: &Files, id: Digest) -> Option<Vec<u8>> {
    let entries = top_index(files).ok()?;
    let mut manifests = entries.iter().take(MAX_LOOKED).filter_map(|entry| descend(files, entry.digest).ok());
    manifests.find(|found| found.manifest.config.digest == id).map(|found| found.bytes)
}
