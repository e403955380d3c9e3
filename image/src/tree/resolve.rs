//! Finding the directory that a path's parents lead to, through symbolic links, without ever leaving the root.

use std::collections::VecDeque;

use super::path::show;
use super::{Attributes, Bytes, Content, NodeId, Tree, TreeError};

/// Symbolic links that one path may go through, as in the kernel.
const MAX_SYMLINKS: usize = 40;

/// Steps that one path may take, links' targets included: a chain of long targets must not cost more than a long path.
const MAX_STEPS: usize = 4096;

/// What to do where a directory on the way does not exist.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    /// Make an implicit one.
    Create,
    /// Answer with `None`.
    Stop,
}

impl Tree {
    /// The directory that `names` lead to from `start`, following symbolic links: an absolute target starts at the
    /// root, and `..` in the root stays there. `shown` is the path for error messages.
    pub(crate) fn resolve_directory(
        &mut self,
        start: NodeId,
        names: &[&[u8]],
        missing: Missing,
        shown: &[u8],
    ) -> Result<Option<NodeId>, TreeError> {
        let mut queue: VecDeque<Bytes> = names.iter().map(|&name| name.into()).collect();
        let (mut at, mut links, mut steps) = (start, 0, 0);
        while let Some(name) = queue.pop_front() {
            steps += 1;
            if steps > MAX_STEPS {
                return Err(TreeError::SymlinkLoop(show(shown)));
            }
            if &*name == b".." {
                at = self.directory(at).map_or(NodeId::ROOT, |directory| directory.parent);
                continue;
            }
            let child = self.child(at, &name);
            match child.map(|id| (id, &self.node(id).content)) {
                Some((id, Content::Directory(_))) => at = id,
                Some((_, Content::Symlink(target))) => {
                    links += 1;
                    if links > MAX_SYMLINKS || queue.len() > MAX_STEPS {
                        return Err(TreeError::SymlinkLoop(show(shown)));
                    }
                    if target.first() == Some(&b'/') {
                        at = NodeId::ROOT;
                    }
                    let parts =
                        target.split(|&byte| byte == b'/').filter(|part| !matches!(*part, b"" | b"."));
                    for part in parts.rev() {
                        queue.push_front(part.into());
                    }
                }
                Some((_, Content::Whiteout)) | None => {
                    if missing == Missing::Stop {
                        return Ok(None);
                    }
                    super::path::components(&name, &self.limits())?;
                    at = self.create_implicit(at, &name, child.is_some())?;
                }
                Some(_) => return Err(TreeError::ParentNotDirectory(show(shown))),
            }
        }
        Ok(Some(at))
    }

    /// Makes a directory that no entry names. Where the layer itself has removed what was there (`removed`), nothing of
    /// a lower layer shows through, neither children nor attributes.
    fn create_implicit(&mut self, parent: NodeId, name: &[u8], removed: bool) -> Result<NodeId, TreeError> {
        let id = self.add_directory(parent, name, Attributes::implicit(), !removed)?;
        if let Some(directory) = self.directory_mut(id) {
            directory.opaque = removed;
        }
        Ok(id)
    }
}
