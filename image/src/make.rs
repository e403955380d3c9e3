//! New images: a root file system that comes as an archive (`docker import`), or a further layer on an image
//! (`docker commit`), with a configuration and a line of history.

use std::fs::File;
use std::io::{self, Read, Write};

use flate2::Compression as Level;
use flate2::write::GzEncoder;
use serde_json::{Map, Value, json};

use crate::archive::{ArchiveError, Section, Unpacked, digest_of};
use crate::digest::{Digest, HashingReader};
use crate::install::{Candidate, Layers, install};
use crate::layer::{At, Blob};
use crate::manifest::MAX_DOCUMENT;
use crate::progress::Silent;
use crate::reference::Reference;
use crate::resolve::{ResolveError, ResolveOptions, settle};
use crate::store::{CatalogError, Store, StoredImage, TempFile};

/// What a new image is besides its layer.
#[derive(Clone, Debug, Default)]
pub struct NewImage {
    /// The image below, which may have no name any more; `None`: the layer is all there is.
    pub base: Option<Digest>,
    /// What its containers run: Docker's `Config` of an image, a JSON object.
    pub config: Map<String, Value>,
    /// Who made it.
    pub author: String,
    /// What is told of its layer.
    pub comment: String,
    /// The command that made its layer.
    pub created_by: String,
    /// The time, RFC 3339.
    pub created: String,
    /// The name it gets.
    pub name: Option<Reference>,
}

/// Why an image was not made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MakeError {
    /// The image below cannot be used.
    #[error(transparent)]
    Base(#[from] CatalogError),
    /// The layer or the image cannot be brought into the store.
    #[error(transparent)]
    Store(#[from] ResolveError),
    /// The configuration is larger than any real one.
    #[error("the image's configuration has over {MAX_DOCUMENT} bytes")]
    TooLarge,
}

/// Makes an image of an archive, which may be compressed, and answers its id. A layer without entries is left out where
/// there is an image below.
///
/// # Errors
/// A damaged archive, one over a limit, an unknown base, a full disk.
pub fn make(
    store: &Store,
    layer: impl Read,
    new: &NewImage,
    options: &ResolveOptions<'_>,
) -> Result<Digest, MakeError> {
    let lease = store.lease().map_err(ResolveError::Store)?;
    let base = new.base.map(|base| store.image_of_id(base)).transpose()?;
    let packed = Packed::new(layer, store, options).map_err(|source| {
        let failed = ResolveError::Archive { source_name: "the layer".to_owned(), source: Box::new(source) };
        settle::<()>(Err(failed), store, options).err().unwrap_or(ResolveError::Cancelled)
    })?;
    let added = (base.is_none() || !packed.is_empty).then_some(packed);
    let (mut blobs, whole) = base.as_ref().map_or(Ok((Vec::new(), true)), |base| below(store, base))?;
    blobs.extend(added.as_ref().map(|packed| Blob { digest: Some(packed.digest), size: Some(packed.size) }));
    let config = config(base.as_ref(), new, added.as_ref().map(|packed| packed.diff_id));
    if config.len() as u64 >= MAX_DOCUMENT {
        return Err(MakeError::TooLarge);
    }
    let candidate = Candidate {
        name: new.name.as_ref().map_or_else(|| Digest::of(&config).to_string(), Reference::familiar),
        config,
        manifest: None,
        index: None,
        in_registry: false,
        from_mirror: false,
        tags: new.name.iter().cloned().collect(),
        blobs,
        layers: Box::new(Added { layer: added, whole }),
    };
    let options = ResolveOptions { keep_blobs: true, ..options.clone() };
    let made = settle(install(store, &candidate, &options, &Silent, lease), store, &options)?;
    Ok(made.id())
}

/// The layers of the image below, and whether their blobs are there.
fn below(store: &Store, base: &StoredImage) -> Result<(Vec<Blob>, bool), CatalogError> {
    let manifest = match store.whole_manifest(base.id)? {
        Some(digest) => store.manifest(digest)?,
        None => None,
    };
    let layers = manifest.map(|manifest| manifest.layers).unwrap_or_default();
    let count = base.config.rootfs.diff_ids.len();
    if layers.len() != count {
        return Ok((vec![Blob::default(); count], false));
    }
    let blobs = layers.iter().map(|layer| Blob { digest: Some(layer.digest), size: Some(layer.size) });
    Ok((blobs.collect(), true))
}

fn config(base: Option<&StoredImage>, new: &NewImage, layer: Option<Digest>) -> Vec<u8> {
    let below: Value = base.and_then(|base| serde_json::from_slice(&base.json).ok()).unwrap_or_default();
    let mut history = below.get("history").and_then(Value::as_array).cloned().unwrap_or_default();
    let mut line = Map::new();
    line.insert("created".to_owned(), json!(new.created));
    for (key, text) in [("created_by", &new.created_by), ("author", &new.author), ("comment", &new.comment)] {
        if !text.is_empty() {
            line.insert(key.to_owned(), json!(text));
        }
    }
    if layer.is_none() {
        line.insert("empty_layer".to_owned(), json!(true));
    }
    history.push(Value::Object(line));
    let diff_ids: Vec<_> =
        base.iter().flat_map(|base| &base.config.rootfs.diff_ids).copied().chain(layer).collect();
    let mut config = json!({
        "architecture": "amd64",
        "os": "linux",
        "created": new.created,
        "config": new.config,
        "history": history,
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    });
    if !new.author.is_empty() {
        config["author"] = json!(new.author);
    }
    if let Some(base) = base {
        config["parent"] = json!(base.id);
    }
    config.to_string().into_bytes()
}

/// A layer on its way, compressed as it will be kept.
struct Packed {
    file: TempFile,
    digest: Digest,
    size: u64,
    diff_id: Digest,
    is_empty: bool,
}

impl Packed {
    fn new(from: impl Read, store: &Store, options: &ResolveOptions<'_>) -> Result<Self, ArchiveError> {
        let file = TempFile::new(store)?;
        let unpacked = Unpacked::new(from, options).map_err(ArchiveError::Unpack)?;
        let mut archive = HashingReader::new(unpacked);
        let mut encoder = GzEncoder::new(file.file(), Level::fast());
        let mut is_empty = true;
        let mut buf = vec![0; 128 << 10];
        loop {
            if options.is_cancelled() {
                return Err(ArchiveError::Unpack(io::Error::other("cancelled")));
            }
            let count = archive.read(&mut buf).map_err(ArchiveError::Unpack)?;
            if count == 0 {
                break;
            }
            is_empty &= buf[..count].iter().all(|byte| *byte == 0);
            encoder.write_all(&buf[..count]).map_err(ArchiveError::Unpack)?;
        }
        encoder.finish().map_err(ArchiveError::Unpack)?;
        let size = file.file().metadata().map_err(ArchiveError::Unpack)?.len();
        let digest = digest_of(file.file()).map_err(ArchiveError::Unpack)?;
        Ok(Self { digest, size, diff_id: archive.digest(), is_empty, file })
    }
}

/// The layer on top; those below are in the store.
struct Added {
    layer: Option<Packed>,
    /// Whether the blobs of those below are there too.
    whole: bool,
}

impl Layers for Added {
    fn open<'r>(&'r self, _: usize, at: At<'r>) -> io::Result<Box<dyn Read + 'r>> {
        let layer = self.layer.as_ref().filter(|layer| layer.diff_id == at.layer);
        let layer = layer.ok_or(io::ErrorKind::NotFound)?;
        let file: &File = layer.file.file();
        Ok(Box::new(Section::new(file, 0, layer.size)))
    }

    fn are_archives(&self) -> bool {
        self.whole
    }
}
