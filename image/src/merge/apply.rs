//! Puts one layer's tree on the tree of the layers below it, by the rules of the OCI image specification's
//! "Applying Changesets".

use std::collections::HashMap;

use super::MergeError;
use crate::tree::path::show;
use crate::tree::resolve::Missing;
use crate::tree::{Attributes, Content, Node, NodeId, Tree, TreeError};

/// Applies `upper`, layer number `layer`, to `merged`.
pub(super) fn apply(merged: &mut Tree, upper: &Tree, layer: usize) -> Result<(), MergeError> {
    let mut apply = Apply { merged, upper, layer, moved: HashMap::new(), late: Vec::new() };
    apply.link_lower()?;
    apply.root()?;
    let mut stack = vec![(NodeId::ROOT, NodeId::ROOT)];
    while let Some((to, from)) = stack.pop() {
        let Some(directory) = upper.directory(from) else { continue };
        for (name, &child) in &directory.children {
            if let Some(below) = apply.child(to, name, child)? {
                stack.push((below, child));
            }
        }
    }
    apply.link_late()
}

/// Ends a merge: what the marks of layers meant has happened, and directories that no layer named stay as they are.
pub(super) fn settle(merged: &mut Tree) {
    let mut stack = vec![NodeId::ROOT];
    while let Some(id) = stack.pop() {
        let Some(directory) = merged.directory_mut(id) else { continue };
        directory.implicit = false;
        directory.opaque = false;
        stack.extend(directory.children.values().copied());
    }
}

struct Apply<'a> {
    merged: &'a mut Tree,
    upper: &'a Tree,
    layer: usize,
    /// Nodes of the merged tree by those of the layer, for hard links.
    moved: HashMap<NodeId, NodeId>,
    /// Links to what the lower layers do not have: directory, name, target.
    late: Vec<(NodeId, &'a [u8], &'a [u8])>,
}

impl<'a> Apply<'a> {
    fn failed(&self, source: TreeError) -> MergeError {
        MergeError::Apply { layer: self.layer, source }
    }

    /// Finds what the layer's links to lower files mean, before the layer changes anything.
    fn link_lower(&mut self) -> Result<(), MergeError> {
        let upper = self.upper;
        for id in upper.reachable() {
            if let Content::LowerLink(target) = &upper.node(id).content
                && let Some(found) = self.find(target)?
            {
                self.moved.insert(id, found);
            }
        }
        Ok(())
    }

    /// Makes the links that are left: their targets are the layer's own, by way of a lower layer's symbolic link.
    fn link_late(&mut self) -> Result<(), MergeError> {
        for (to, name, target) in std::mem::take(&mut self.late) {
            let missing = MergeError::MissingLinkTarget { layer: self.layer, target: show(target) };
            let found = self.find(target)?.ok_or(missing)?;
            self.merged.bind(to, name, found).map_err(|source| self.failed(source))?;
        }
        Ok(())
    }

    /// The file that a cleaned path leads to in the merged tree.
    fn find(&mut self, target: &[u8]) -> Result<Option<NodeId>, MergeError> {
        let names: Vec<&[u8]> = target.split(|&byte| byte == b'/').collect();
        let Some((last, parents)) = names.split_last() else { return Ok(None) };
        let parent = self.merged.resolve_directory(NodeId::ROOT, parents, Missing::Stop, target);
        let parent = parent.map_err(|source| self.failed(source))?;
        let found = parent.and_then(|parent| self.merged.child(parent, last));
        Ok(found.filter(|&found| self.merged.directory(found).is_none()))
    }

    fn root(&mut self) -> Result<(), MergeError> {
        let Some(root) = self.upper.directory(NodeId::ROOT) else { return Ok(()) };
        self.merge_directory(
            NodeId::ROOT,
            &self.upper.node(NodeId::ROOT).attributes,
            root.implicit,
            root.opaque,
        )
    }

    /// Gives a directory that both have the layer's attributes, unless no entry of the layer names it.
    fn merge_directory(
        &mut self,
        to: NodeId,
        attributes: &Attributes,
        implicit: bool,
        opaque: bool,
    ) -> Result<(), MergeError> {
        if !implicit {
            self.merged.charge(attributes.cost()).map_err(|source| self.failed(source))?;
            self.merged.node_mut(to).attributes = attributes.clone();
        }
        if let Some(directory) = self.merged.directory_mut(to)
            && opaque
        {
            directory.children.clear();
        }
        Ok(())
    }

    /// Applies one name of a directory; returns the merged directory to go on in, for a directory.
    fn child(&mut self, to: NodeId, name: &'a [u8], child: NodeId) -> Result<Option<NodeId>, MergeError> {
        let upper = self.upper;
        let node = upper.node(child);
        match &node.content {
            Content::LowerLink(target) if !self.moved.contains_key(&child) => {
                self.late.push((to, name, target));
                Ok(None)
            }
            Content::Whiteout => {
                if let Some(directory) = self.merged.directory_mut(to) {
                    directory.children.remove(name);
                }
                Ok(None)
            }
            Content::Directory(directory) => {
                let below = self.directory_below(to, name, directory.implicit)?;
                let below = match below {
                    Some(below) => {
                        self.merge_directory(below, &node.attributes, directory.implicit, directory.opaque)?;
                        below
                    }
                    None => {
                        let added = self.merged.add_directory(to, name, node.attributes.clone(), false);
                        added.map_err(|source| self.failed(source))?
                    }
                };
                Ok(Some(below))
            }
            content => {
                let id = match self.moved.get(&child) {
                    Some(&id) => id,
                    None => {
                        let node = Node { attributes: node.attributes.clone(), content: content.clone() };
                        let id = self.merged.add(node).map_err(|source| self.failed(source))?;
                        self.moved.insert(child, id);
                        id
                    }
                };
                self.merged.bind(to, name, id).map_err(|source| self.failed(source))?;
                Ok(None)
            }
        }
    }

    /// The directory that the layer's directory `name` in `to` continues: the one that is there, or, where no entry of
    /// the layer names it, the one that a symbolic link there leads to.
    fn directory_below(
        &mut self,
        to: NodeId,
        name: &[u8],
        implicit: bool,
    ) -> Result<Option<NodeId>, MergeError> {
        let Some(below) = self.merged.child(to, name) else { return Ok(None) };
        match &self.merged.node(below).content {
            Content::Directory(_) => Ok(Some(below)),
            Content::Symlink(_) if implicit => {
                let found = self.merged.resolve_directory(to, &[name], Missing::Create, name);
                found.map_err(|source| self.failed(source))
            }
            _ => Ok(None),
        }
    }
}
