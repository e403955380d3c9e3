//! Deleting images by Docker's rules: a name goes alone while the image has others; the image goes with its last name,
//! unless a container uses it. The files go with the next [`Store::sweep`].

use super::catalog::Meaning;
use super::{CatalogError, Store, StoreError};
use crate::digest::Digest;
use crate::reference::Reference;

/// A container and the image it uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Use {
    /// The image.
    pub image: Digest,
    /// The container's id.
    pub container: String,
    /// Whether it runs.
    pub running: bool,
}

/// Something that went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Removed {
    /// A name, in its shortest form.
    Untagged(String),
    /// An image.
    Deleted(Digest),
}

/// Why an image must stay.
struct Conflict {
    message: String,
    used: bool,
}

impl Store {
    /// Takes a name away, or deletes an image by its id.
    ///
    /// # Errors
    /// [`CatalogError::Conflict`] in Docker's words where a container uses the image, which `force` overrules for a
    /// container that is stopped; no such image; a file that cannot be removed.
    pub fn delete_image(
        &self,
        text: &str,
        uses: &[Use],
        force: bool,
    ) -> Result<(Digest, Vec<Removed>), CatalogError> {
        let _lease = self.lease()?;
        let mut removed = Vec::new();
        let meaning = self.meaning(text)?;
        let (Meaning::Id(id) | Meaning::Name(_, id)) = meaning;
        let uses: Vec<_> = uses.iter().filter(|used| used.image == id).collect();
        let names = self.names_of(id)?;
        let by_name = match meaning {
            Meaning::Name(name, _) => {
                if let Some(user) = uses.first().filter(|_| !force && is_single(&names)) {
                    return Err(CatalogError::Conflict(format!(
                        "unable to remove repository reference \"{text}\" (must force) - container {} is using its \
                         referenced image {}",
                        short(&user.container),
                        id.short()
                    )));
                }
                if !self.untag(id, &name, &names, &mut removed)?.is_empty() {
                    return Ok((id, removed));
                }
                true
            }
            Meaning::Id(_) => false,
        };
        if let Some(conflict) = conflict(id, &names, &uses, by_name || is_single(&names), force) {
            // The name is gone, and that is what was asked for.
            let quiet = by_name && conflict.used;
            return if quiet { Ok((id, removed)) } else { Err(CatalogError::Conflict(conflict.message)) };
        }
        for name in self.names_of(id)? {
            self.remove_name(id, &name)?;
            removed.push(Removed::Untagged(name.familiar()));
        }
        self.remove_record(id)?;
        removed.push(Removed::Deleted(id));
        Ok((id, removed))
    }

    /// Takes a name away, and with the last tag of a repository its names by digest. Answers the names that are left.
    fn untag(
        &self,
        id: Digest,
        name: &Reference,
        names: &[Reference],
        removed: &mut Vec<Removed>,
    ) -> Result<Vec<Reference>, StoreError> {
        // An image that stays without a name must be known by something.
        self.change_record(id, |_| {})?;
        let same = |other: &Reference| other.domain() == name.domain() && other.path() == name.path();
        let mut left: Vec<_> = names.iter().filter(|other| *other != name).cloned().collect();
        let mut gone = vec![name.clone()];
        if name.digest().is_none() && !left.iter().any(|other| same(other) && other.digest().is_none()) {
            gone.extend(left.extract_if(.., |other| same(other)));
        }
        for name in gone {
            self.remove_name(id, &name)?;
            removed.push(Removed::Untagged(name.familiar()));
        }
        Ok(left)
    }

    fn names_of(&self, id: Digest) -> Result<Vec<Reference>, StoreError> {
        let tags = self.tags()?.into_iter().filter(|tag| tag.image == id).map(|tag| tag.reference);
        let digests = self.record(id)?.map(|record| record.digests).unwrap_or_default();
        let mut names: Vec<Reference> = tags.chain(digests).filter_map(|name| name.parse().ok()).collect();
        names.sort_by_cached_key(Reference::familiar);
        names.dedup();
        Ok(names)
    }

    fn remove_name(&self, id: Digest, name: &Reference) -> Result<(), StoreError> {
        let reference = name.to_string();
        if super::tag::read_tag(&self.tag_path(&reference))?.is_some_and(|tag| tag.image == id) {
            self.remove_tag(&reference)?;
        }
        if name.digest().is_some() && self.record(id)?.is_some() {
            self.change_record(id, |record| record.digests.retain(|digest| *digest != reference))?;
        }
        Ok(())
    }
}

/// Whether the names are one tag at most, and digests of its repository.
fn is_single(names: &[Reference]) -> bool {
    let tags = names.iter().filter(|name| name.digest().is_none()).count();
    let repository = |name: &Reference| (name.domain().to_owned(), name.path().to_owned());
    let first = names.first().map(repository);
    tags <= 1 && names.iter().all(|name| Some(repository(name)) == first)
}

/// The first of Docker's reasons to keep an image; `single`: its names alone are none.
fn conflict(id: Digest, names: &[Reference], uses: &[&Use], single: bool, force: bool) -> Option<Conflict> {
    let refuse = |how: &str, why: String, used| {
        Some(Conflict { message: format!("unable to delete {} ({how}) - {why}", id.short()), used })
    };
    if let Some(user) = uses.iter().find(|user| user.running) {
        let why = format!("image is being used by running container {}", short(&user.container));
        return refuse("cannot be forced", why, true);
    }
    if force {
        return None;
    }
    if !single && !names.is_empty() {
        return refuse("must be forced", "image is referenced in multiple repositories".to_owned(), false);
    }
    let user = uses.first()?;
    let why = format!("image is being used by stopped container {}", short(&user.container));
    refuse("must be forced", why, true)
}

fn short(container: &str) -> &str {
    container.get(..12).unwrap_or(container)
}
