//! The images of the store as Docker tells them: one entry an image with all its names, found by name or id.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::os::unix::fs::MetadataExt;

use super::{ImageRecord, Store, StoreError, TagRecord};
use crate::config::ImageConfig;
use crate::digest::Digest;
use crate::handle::ImageHandle;
use crate::manifest;
use crate::reference::{Reference, ReferenceError};

/// An image of the store.
#[derive(Clone, Debug)]
pub struct StoredImage {
    /// The image's id: the digest of its configuration.
    pub id: Digest,
    /// Its names with a tag, sorted.
    pub tags: Vec<Reference>,
    /// Its names with a digest, under which a registry has it, sorted.
    pub digests: Vec<Reference>,
    /// The digest of its manifest, where it is known.
    pub manifest: Option<Digest>,
    /// The digest of the index that its manifest was chosen from, where there was one.
    pub index: Option<Digest>,
    /// Its configuration.
    pub config: ImageConfig,
    /// Its configuration, byte for byte.
    pub json: Vec<u8>,
    /// Bytes of disk that its layers take, each counted once; shared ones are counted with every image that has them.
    pub size: u64,
    /// When it got its last name, in seconds since 1970.
    pub tagged: Option<u64>,
}

/// What is known of an image's manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestInfo {
    /// Its digest.
    pub digest: Digest,
    /// Its media type.
    pub media_type: String,
    /// Its length in bytes.
    pub size: u64,
    /// Bytes of all that it names, and of itself.
    pub content: u64,
    /// Whether all of that is in the store.
    pub whole: bool,
}

/// Why a text means no image of the store, or what was asked of it cannot be done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CatalogError {
    /// The text is neither a name nor an id.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// There is no such image.
    #[error("No such image: {0}")]
    NoImage(String),
    /// Something uses the image.
    #[error("conflict: {0}")]
    Conflict(String),
    /// A name that cannot be given to an image.
    #[error("{0}")]
    Name(&'static str),
    /// The store cannot be used.
    #[error("cannot use the content store")]
    Store(#[from] StoreError),
}

/// What a text may mean.
pub(super) enum Meaning {
    Id(Digest),
    Name(Reference, Digest),
}

impl Store {
    /// All images that have a name or were kept without one; newest first.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn images(&self) -> Result<Vec<StoredImage>, StoreError> {
        let _lease = self.lease()?;
        let mut known: BTreeMap<Digest, (Option<ImageRecord>, Vec<TagRecord>)> = BTreeMap::new();
        for tag in self.tags()? {
            known.entry(tag.image).or_default().1.push(tag);
        }
        for record in self.records()? {
            let image = record.image;
            known.entry(image).or_default().0 = Some(record);
        }
        let mut images = Vec::with_capacity(known.len());
        for (id, (record, tags)) in known {
            images.extend(self.describe(id, record, &tags)?);
        }
        images.sort_by(|a, b| b.config.created.cmp(&a.config.created).then(a.id.cmp(&b.id)));
        Ok(images)
    }

    /// The image of a name, an id, or the beginning of one.
    ///
    /// # Errors
    /// A malformed name, no such image, an unreadable store.
    pub fn image(&self, text: &str) -> Result<StoredImage, CatalogError> {
        let _lease = self.lease()?;
        let (Meaning::Id(id) | Meaning::Name(_, id)) = self.meaning(text)?;
        let tags: Vec<_> = self.tags()?.into_iter().filter(|tag| tag.image == id).collect();
        let found = self.describe(id, self.record(id)?, &tags)?;
        found.ok_or_else(|| CatalogError::NoImage(text.to_owned()))
    }

    /// The image of an id, also where no name is left of it and only a pod keeps it.
    ///
    /// # Errors
    /// No such image, an unreadable store.
    pub(crate) fn image_of_id(&self, id: Digest) -> Result<StoredImage, CatalogError> {
        let tags: Vec<_> = self.tags()?.into_iter().filter(|tag| tag.image == id).collect();
        let found = self.describe(id, self.record(id)?, &tags)?;
        found.ok_or_else(|| CatalogError::NoImage(id.to_string()))
    }

    /// The handle of an image with all its files, under the name that it is called by; `None` where a file is missing.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn open_image(&self, image: &StoredImage, name: &str) -> Result<Option<ImageHandle>, StoreError> {
        self.handle(name.to_owned(), image.id, image.manifest, self.lease()?)
    }

    /// Gives an image a further name, which is taken from the image that had it.
    ///
    /// # Errors
    /// A name with a digest, no such image, an unwritable store.
    pub fn name_image(&self, text: &str, name: &Reference) -> Result<Digest, CatalogError> {
        if name.digest().is_some() || name.tag().is_none() {
            return Err(CatalogError::Name("refusing to create a tag with a digest reference"));
        }
        let _lease = self.lease()?;
        let (Meaning::Id(image) | Meaning::Name(_, image)) = self.meaning(text)?;
        let tag = self.tags()?.into_iter().find(|tag| tag.image == image);
        let mut known = (tag.as_ref().and_then(|tag| tag.manifest), tag.and_then(|tag| tag.index));
        self.change_record(image, |record| {
            if record.manifest.is_some() {
                known = (record.manifest, record.index);
            } else {
                (record.manifest, record.index) = known;
            }
            record.touch();
        })?;
        let (manifest, index) = known;
        self.put_tag(&TagRecord { reference: name.to_string(), image, manifest, index })?;
        Ok(image)
    }

    /// What is known of an image's manifest; `None` where it has none.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn manifest_info(&self, image: &StoredImage) -> Result<Option<ManifestInfo>, StoreError> {
        let Some(digest) = image.manifest else { return Ok(None) };
        let Some(bytes) = self.document("manifests", digest)? else { return Ok(None) };
        let Some(manifest) = self.manifest(digest)? else { return Ok(None) };
        let layers: u64 = manifest.layers.iter().map(|layer| layer.size).fold(0, u64::saturating_add);
        let size = bytes.len() as u64;
        let content = layers.saturating_add(size).saturating_add(image.json.len() as u64);
        let whole = self.whole_manifest(image.id)?.is_some();
        Ok(Some(ManifestInfo { digest, media_type: manifest::media_type(&bytes), size, content, whole }))
    }

    /// What a text means, as Docker reads it: a whole id, a name, the beginning of an id.
    pub(super) fn meaning(&self, text: &str) -> Result<Meaning, CatalogError> {
        let known = self.known_ids()?;
        let hex = text.strip_prefix("sha256:").unwrap_or(text);
        if let Ok(id) = Digest::from_hex(hex) {
            let found = known.contains(&id).then_some(Meaning::Id(id));
            return found.ok_or_else(|| CatalogError::NoImage(id.to_string()));
        }
        let name = match text.parse::<Reference>() {
            Ok(name) => name,
            Err(_) if text.starts_with("sha256:") => return self.beginning(&known, text, hex),
            Err(error) => return Err(error.into()),
        };
        // The name of a repository with a digest means the digest, whatever tag stands between.
        let wanted = name.digest().map_or_else(|| name.clone(), |digest| name.with_digest(digest));
        match self.find_tag(&wanted)? {
            Some(tag) => Ok(Meaning::Name(wanted, tag.image)),
            None => self.beginning(&known, &name.familiar(), hex),
        }
    }

    fn beginning(&self, known: &HashSet<Digest>, text: &str, hex: &str) -> Result<Meaning, CatalogError> {
        let mut found = known.iter().filter(|id| !hex.is_empty() && id.hex().starts_with(hex));
        match (found.next(), found.next()) {
            (Some(id), None) => Ok(Meaning::Id(*id)),
            _ => Err(CatalogError::NoImage(text.to_owned())),
        }
    }

    fn known_ids(&self) -> Result<HashSet<Digest>, StoreError> {
        let named = self.tags()?.into_iter().map(|tag| tag.image);
        Ok(named.chain(self.records()?.into_iter().map(|record| record.image)).collect())
    }

    /// An image with all that is known of it; `None` where its configuration is missing or damaged.
    fn describe(
        &self,
        id: Digest,
        record: Option<ImageRecord>,
        names: &[TagRecord],
    ) -> Result<Option<StoredImage>, StoreError> {
        let Some(json) = self.document("images", id)? else { return Ok(None) };
        let Ok(config) = serde_json::from_slice::<ImageConfig>(&json) else { return Ok(None) };
        let parsed = names.iter().filter_map(|name| name.reference.parse::<Reference>().ok());
        let (mut digests, mut tags): (Vec<_>, Vec<_>) = parsed.partition(|name| name.digest().is_some());
        let first = names.first();
        let (mut manifest, mut index) =
            (first.and_then(|name| name.manifest), first.and_then(|name| name.index));
        let mut tagged = None;
        if let Some(record) = record {
            digests.extend(record.digests.iter().filter_map(|digest| digest.parse().ok()));
            manifest = record.manifest.or(manifest);
            index = record.index.or(index);
            tagged = record.tagged;
        }
        for names in [&mut tags, &mut digests] {
            names.sort_by_cached_key(Reference::familiar);
            names.dedup();
        }
        let size = self.layer_sizes(&config)?.values().sum();
        Ok(Some(StoredImage { id, tags, digests, manifest, index, config, json, size, tagged }))
    }

    /// Bytes of disk that each layer of an image takes; none for one that is missing.
    ///
    /// # Errors
    /// A file of the store cannot be examined.
    pub fn layer_sizes(&self, config: &ImageConfig) -> Result<HashMap<Digest, u64>, StoreError> {
        let mut sizes = HashMap::new();
        for layer in &config.rootfs.diff_ids {
            let path = self.layer_path(*layer);
            match fs::metadata(&path) {
                Ok(found) => drop(sizes.insert(*layer, found.blocks() * 512)),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(StoreError::io("examine", &path)(error)),
            }
        }
        Ok(sizes)
    }
}
