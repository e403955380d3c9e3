//! Entries of one layer, in their order: the last one of a name wins, directories keep their children, whiteouts
//! concern lower layers only. docs/image-format.md has the rules side by side with what tar and Docker do.

use super::path::{components, show};
use super::resolve::Missing;
use super::{Attributes, Content, Node, NodeId, Tree, TreeError};

/// Prefix of a whiteout's name.
const WHITEOUT: &[u8] = b".wh.";
/// A directory with this entry hides what lower layers have in it.
const OPAQUE: &[u8] = b".wh..wh..opq";
/// Other names of this kind are a storage driver's notes, nothing of the file system.
const DRIVER_NOTES: &[u8] = b".wh..wh.";

impl Tree {
    /// Whether `path`'s last name makes it a whiteout (or a storage driver's note); if so it is applied.
    ///
    /// # Errors
    /// A whiteout that hides `.`, `..` or nothing; see [`Tree::put`] for the rest.
    pub(crate) fn put_whiteout(&mut self, path: &[u8]) -> Result<bool, TreeError> {
        let limits = self.limits();
        let names = components(path, &limits)?;
        let Some((&last, parents)) = names.split_last() else { return Ok(false) };
        let Some(hidden) = last.strip_prefix(WHITEOUT) else { return Ok(false) };
        let Some(parent) = self.resolve_directory(NodeId::ROOT, parents, Missing::Create, path)? else {
            return Ok(true);
        };
        if last == OPAQUE {
            if let Some(directory) = self.directory_mut(parent) {
                directory.opaque = true;
            }
        } else if !last.starts_with(DRIVER_NOTES) {
            if matches!(hidden, b"" | b"." | b"..") {
                return Err(TreeError::InvalidWhiteout(show(path)));
            }
            self.hide(parent, hidden)?;
        }
        Ok(true)
    }

    /// Hides `name` of lower layers; what this layer has under it stays.
    fn hide(&mut self, parent: NodeId, name: &[u8]) -> Result<(), TreeError> {
        match self.child(parent, name) {
            None => {
                let id = self.add(Node { attributes: Attributes::default(), content: Content::Whiteout })?;
                self.bind(parent, name, id)?;
            }
            Some(id) => {
                if let Some(directory) = self.directory_mut(id) {
                    directory.opaque = true;
                    directory.implicit = false;
                }
            }
        }
        Ok(())
    }

    /// Puts a directory at `path`, or gives one that is there its attributes.
    ///
    /// # Errors
    /// A path that leads out of the root or through something that is no directory, a limit that is passed.
    pub(crate) fn put_directory(&mut self, path: &[u8], attributes: Attributes) -> Result<(), TreeError> {
        let limits = self.limits();
        let names = components(path, &limits)?;
        let Some((&last, parents)) = names.split_last() else {
            return self.name_directory(NodeId::ROOT, attributes);
        };
        let Some(parent) = self.resolve_directory(NodeId::ROOT, parents, Missing::Create, path)? else {
            return Ok(());
        };
        let before = self.child(parent, last);
        if let Some(id) = before.filter(|&id| self.directory(id).is_some()) {
            return self.name_directory(id, attributes);
        }
        let id = self.add_directory(parent, last, attributes, false)?;
        if let Some(directory) = self.directory_mut(id) {
            // The layer put something else there before, which removed what lower layers have.
            directory.opaque = before.is_some();
        }
        Ok(())
    }

    fn name_directory(&mut self, id: NodeId, attributes: Attributes) -> Result<(), TreeError> {
        self.charge(attributes.cost())?;
        self.node_mut(id).attributes = attributes;
        if let Some(directory) = self.directory_mut(id) {
            directory.implicit = false;
        }
        Ok(())
    }

    /// Puts anything but a directory at `path`, in place of what was there.
    ///
    /// # Errors
    /// As [`Tree::put_directory`], and the root itself.
    pub(crate) fn put(
        &mut self,
        path: &[u8],
        attributes: Attributes,
        content: Content,
    ) -> Result<(), TreeError> {
        let limits = self.limits();
        let names = components(path, &limits)?;
        let Some((&last, parents)) = names.split_last() else { return Err(TreeError::RootNotDirectory) };
        let Some(parent) = self.resolve_directory(NodeId::ROOT, parents, Missing::Create, path)? else {
            return Ok(());
        };
        let id = self.add(Node { attributes, content })?;
        self.bind(parent, last, id)
    }

    /// Makes `path` another name of the file at `target`. Parents of both may be symbolic links, the target itself is
    /// not followed. A target that the layer does not have is left to the merge, which knows the lower layers.
    ///
    /// # Errors
    /// As [`Tree::put`], and a target that is a directory or outside the root.
    pub(crate) fn put_hard_link(&mut self, path: &[u8], target: &[u8]) -> Result<(), TreeError> {
        let limits = self.limits();
        let target_names = components(target, &limits)?;
        let Some((&target_last, target_parents)) = target_names.split_last() else {
            return Err(TreeError::LinkToDirectory { link: show(path), target: show(target) });
        };
        let names = components(path, &limits)?;
        let Some((&last, parents)) = names.split_last() else { return Err(TreeError::RootNotDirectory) };

        let found = self.resolve_directory(NodeId::ROOT, target_parents, Missing::Stop, target)?;
        let found = found.and_then(|directory| self.child(directory, target_last));
        let found = found.filter(|&id| !matches!(self.node(id).content, Content::Whiteout));
        if found.is_some_and(|id| self.directory(id).is_some()) {
            return Err(TreeError::LinkToDirectory { link: show(path), target: show(target) });
        }
        let Some(parent) = self.resolve_directory(NodeId::ROOT, parents, Missing::Create, path)? else {
            return Ok(());
        };
        let id = match found {
            Some(id) => id,
            None => {
                let content = Content::LowerLink(target_names.join(&b'/').into());
                self.add(Node { attributes: Attributes::default(), content })?
            }
        };
        self.bind(parent, last, id)
    }
}
