//! Names of images: one record a name, replaced by rename.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{ImageRecord, Store, StoreError, TempFile};
use crate::digest::Digest;
use crate::handle::ImageHandle;
use crate::reference::Reference;

/// What a name stands for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct TagRecord {
    /// The complete reference.
    pub(crate) reference: String,
    /// The image's id.
    pub(crate) image: Digest,
    /// The digest of its manifest, where the source had one.
    pub(crate) manifest: Option<Digest>,
    /// The digest of the index it was chosen from, where there was one.
    pub(crate) index: Option<Digest>,
}

impl TagRecord {
    /// The name in its shortest form.
    fn familiar(&self) -> String {
        self.reference.parse::<Reference>().map_or_else(|_| self.reference.clone(), |name| name.familiar())
    }
}

/// One line of a list of images.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageSummary {
    /// The image's name in its shortest form; `None` for an image that only pods keep, or nothing at all.
    pub reference: Option<String>,
    /// The image's id: the digest of its configuration.
    pub id: Digest,
    /// The digest of its manifest, where its source had one.
    pub manifest: Option<Digest>,
    /// When it was made, RFC 3339; empty where unknown.
    pub created: String,
    /// Layers.
    pub layers: usize,
    /// Length of its disk in bytes; layers are shared with other images.
    pub size: u64,
    /// Pod directories that use it.
    pub pods: Vec<PathBuf>,
}

impl Store {
    /// Gives an image a further name.
    ///
    /// # Errors
    /// The record cannot be written.
    pub fn tag(&self, image: &ImageHandle, name: &Reference) -> Result<(), StoreError> {
        let (reference, manifest) = (name.to_string(), image.manifest);
        self.put_tag(&TagRecord { reference, image: image.id, manifest, index: None })
    }

    pub(crate) fn put_tag(&self, record: &TagRecord) -> Result<(), StoreError> {
        let path = self.tag_path(&record.reference);
        let json =
            serde_json::to_vec(record).map_err(|error| StoreError::io("write", &path)(error.into()))?;
        TempFile::write(self, &json)?.persist(&path)
    }

    /// The image of a name or id in the store, if all of it is there.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn find(&self, name: &Reference) -> Result<Option<ImageHandle>, StoreError> {
        let lease = self.lease()?;
        match self.find_tag(name)? {
            Some(tag) => self.handle(name.familiar(), tag.image, tag.manifest, lease),
            None => match self.find_id(id_text(name).unwrap_or_default())? {
                Some(id) => self.handle(name.familiar(), id, None, lease),
                None => Ok(None),
            },
        }
    }

    pub(super) fn find_tag(&self, name: &Reference) -> Result<Option<TagRecord>, StoreError> {
        let exact = read_tag(&self.tag_path(&name.to_string()))?;
        let Some(digest) = name.digest() else { return Ok(exact) };
        // A name with a digest is a promise about the content: who wrote the record does not matter, an archive may
        // call its images what it likes.
        let kept = |tag: &TagRecord| tag.manifest == Some(digest) || tag.index == Some(digest);
        if exact.as_ref().is_some_and(kept) {
            return Ok(exact);
        }
        // A digest is found under any name of its repository.
        let same = |other: &Reference| other.domain() == name.domain() && other.path() == name.path();
        let found = |tag: &TagRecord| kept(tag) && tag.reference.parse().is_ok_and(|other| same(&other));
        if let Some(tag) = self.tags()?.into_iter().find(found) {
            return Ok(Some(tag));
        }
        let reference = name.with_digest(digest).to_string();
        let record = self.records()?.into_iter().find(|record| record.digests.contains(&reference));
        Ok(record.map(|ImageRecord { image, manifest, index, .. }| TagRecord {
            reference,
            image,
            manifest,
            index,
        }))
    }

    /// The one image whose id starts with at least four given digits.
    fn find_id(&self, start: &str) -> Result<Option<Digest>, StoreError> {
        let hex = start.strip_prefix("sha256:").unwrap_or(start);
        if hex.len() < 4 {
            return Ok(None);
        }
        let mut found = self.image_ids()?.into_iter().filter(|id| id.hex().starts_with(hex));
        match (found.next(), found.next()) {
            (Some(_), Some(_)) => Err(StoreError::Ambiguous(start.to_owned())),
            (found, _) => Ok(found),
        }
    }

    /// All names, sorted, then images without one.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn list(&self) -> Result<Vec<ImageSummary>, StoreError> {
        let _lease = self.lease()?;
        let (mut tags, roots) = (self.tags()?, self.roots()?);
        tags.sort_by(|a, b| a.reference.cmp(&b.reference));
        let unnamed = self.image_ids()?.into_iter().filter(|id| tags.iter().all(|tag| tag.image != *id));
        let named = tags.iter().map(|tag| (Some(tag), tag.image));
        let mut list = Vec::new();
        for (tag, id) in named.chain(unnamed.map(|id| (None, id))) {
            let Some(config) = self.config(id)? else { continue };
            let users = roots.iter().filter(|root| root.images.contains(&id) && root.is_live());
            let diff_ids = &config.rootfs.diff_ids;
            let files = diff_ids.iter().map(|id| self.layer_path(*id)).chain([self.meta_path(diff_ids)]);
            list.push(ImageSummary {
                reference: tag.map(TagRecord::familiar),
                id,
                manifest: tag.and_then(|tag| tag.manifest),
                layers: diff_ids.len(),
                size: files.filter_map(|file| fs::metadata(file).ok()).map(|found| found.len()).sum(),
                pods: users.map(|root| root.pod.clone()).collect(),
                created: config.created,
            });
        }
        Ok(list)
    }

    /// Takes a name away, or all names of an id; what nobody needs any more goes at once, or with the next
    /// [`Store::prune`] where somebody is at work in the store. Answers the names taken away, or the id of an
    /// image that had none.
    ///
    /// # Errors
    /// No such image; an image by id that pods use; a file that cannot be removed.
    pub fn remove(&self, text: &str) -> Result<Vec<String>, StoreError> {
        let unknown = || StoreError::NoImage(text.to_owned());
        let lease = self.lease()?;
        let named = match text.parse::<Reference>() {
            Ok(name) => read_tag(&self.tag_path(&name.to_string()))?,
            Err(_) => None,
        };
        let mut removed = Vec::new();
        let tags = match named {
            Some(tag) => vec![tag],
            None => {
                let id = self.find_id(text)?.ok_or_else(unknown)?;
                let user = self.roots()?.into_iter().find(|root| root.images.contains(&id) && root.is_live());
                if let Some(root) = user {
                    return Err(StoreError::InUse { name: text.to_owned(), pod: root.pod });
                }
                let tags: Vec<_> = self.tags()?.into_iter().filter(|tag| tag.image == id).collect();
                if tags.is_empty() {
                    self.remove_record(id)?;
                    removed.push(id.to_string());
                }
                tags
            }
        };
        for tag in &tags {
            self.remove_tag(&tag.reference)?;
            removed.push(tag.familiar());
        }
        let left: HashSet<_> = self.tags()?.into_iter().map(|tag| tag.image).collect();
        for image in tags.iter().map(|tag| tag.image).filter(|image| !left.contains(image)) {
            self.remove_record(image)?;
        }
        drop(lease);
        self.collect(false)?;
        Ok(removed)
    }

    pub(super) fn remove_tag(&self, reference: &str) -> Result<(), StoreError> {
        let path = self.tag_path(reference);
        fs::remove_file(&path).map_err(StoreError::io("remove", &path))
    }

    pub(super) fn tags(&self) -> Result<Vec<TagRecord>, StoreError> {
        let names = super::gc::names(&self.dir("tags"))?;
        let read = names.iter().map(|name| read_tag(&self.dir("tags").join(name)));
        Ok(read.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
    }

    pub(super) fn image_ids(&self) -> Result<Vec<Digest>, StoreError> {
        let names = super::gc::names(&self.dir("images"))?;
        let id = |name: &String| Digest::from_hex(name.strip_suffix(".json")?).ok();
        let mut ids: Vec<_> = names.iter().filter_map(id).collect();
        ids.sort();
        Ok(ids)
    }

    pub(super) fn tag_path(&self, reference: &str) -> PathBuf {
        self.dir("tags").join(format!("{}.json", Digest::of(reference.as_bytes()).hex()))
    }
}

/// The text that may be an image's id: Docker lets `run 3f2a…` mean one where no repository has the name.
fn id_text(name: &Reference) -> Option<&str> {
    let text = name.path().strip_prefix("library/").filter(|_| name.domain() == "docker.io")?;
    let hex = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    (hex && text.len() >= 12).then_some(text)
}

/// A damaged record counts as missing: the next pull of the name writes it anew.
pub(super) fn read_tag(path: &Path) -> Result<Option<TagRecord>, StoreError> {
    match super::read_bounded(path) {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StoreError::io("read", path)(error)),
    }
}
