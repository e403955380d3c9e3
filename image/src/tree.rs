//! A file system tree in memory: what an archive or a stored layer names, before it is written as EROFS.
//!
//! The tar converter and the directory walk fill one through `insert`, the EROFS reader rebuilds a layer's, `merge`
//! puts one on another, the EROFS writer lays it out. File data is not here, only where its blocks lie.

pub(crate) mod acl;
pub(crate) mod directory;
mod error;
pub(crate) mod insert;
pub(crate) mod path;
pub(crate) mod resolve;
pub(crate) mod xattr;

use std::collections::BTreeMap;

pub(crate) use tar::{Bytes, Timestamp};

use crate::limits::Limits;

pub(crate) use error::TreeError;

/// The mode of directories that no entry names.
pub(crate) const IMPLICIT_MODE: u16 = 0o755;

/// What a node costs in memory beside its names and attributes, for [`Limits::metadata_bytes`].
const NODE_COST: usize = 256;
/// What a directory costs beside that: its first names take room for eleven.
const DIRECTORY_COST: usize = 256;
/// What the first extended attribute costs beside its bytes, for the same reason.
const XATTRS_COST: usize = 400;

/// The index of a node in its tree; several names may lead to one node (hard links).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct NodeId(u32);

impl NodeId {
    /// The root directory of every tree.
    pub(crate) const ROOT: NodeId = NodeId(0);

    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

/// What an inode has beside its content.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Attributes {
    /// The twelve permission bits.
    pub(crate) mode: u16,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mtime: Timestamp,
    /// Full names (`user.note`) to values.
    pub(crate) xattrs: BTreeMap<Bytes, Bytes>,
}

impl Attributes {
    /// Attributes of a directory that no entry names.
    pub(crate) fn implicit() -> Self {
        Self { mode: IMPLICIT_MODE, ..Self::default() }
    }

    /// Memory that the extended attributes take, in bytes.
    pub(crate) fn cost(&self) -> usize {
        let table = if self.xattrs.is_empty() { 0 } else { XATTRS_COST };
        table + self.xattrs.iter().map(|(name, value)| name.len() + value.len() + 64).sum::<usize>()
    }
}

/// A run of equal-sized chunks of a file with holes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ChunkRun {
    /// Number of chunks.
    pub(crate) chunks: u32,
    /// First block of the first chunk, inside the layer's file; `None` for a hole.
    pub(crate) block: Option<u32>,
}

/// Where the blocks of a file lie inside its layer's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Blocks {
    /// One run from this block on.
    Contiguous(u32),
    /// Chunks of 2^`bits` blocks.
    Chunked { bits: u8, runs: Box<[ChunkRun]> },
}

/// The data of a regular file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileData {
    /// Logical size in bytes.
    pub(crate) size: u64,
    /// Which of an image's layers holds the blocks; 0 in a layer's own tree.
    pub(crate) layer: u16,
    pub(crate) blocks: Blocks,
}

/// The children of a directory and its place in the tree.
#[derive(Clone, Debug)]
pub(crate) struct Directory {
    /// The root is its own parent.
    pub(crate) parent: NodeId,
    /// Number of steps from the root.
    pub(crate) depth: usize,
    pub(crate) children: BTreeMap<Bytes, NodeId>,
    /// No entry names it: it lends its attributes to what a lower layer has there.
    pub(crate) implicit: bool,
    /// Hides what lower layers have in it.
    pub(crate) opaque: bool,
}

/// What a node is.
#[derive(Clone, Debug)]
pub(crate) enum Content {
    Directory(Directory),
    File(FileData),
    Symlink(Bytes),
    Device {
        block: bool,
        major: u32,
        minor: u32,
    },
    Fifo,
    Socket,
    /// Hides the name in lower layers; only in a layer's tree.
    Whiteout,
    /// A hard link to this cleaned path of a lower layer; only in a layer's tree.
    LowerLink(Bytes),
}

/// An inode.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) attributes: Attributes,
    pub(crate) content: Content,
}

/// A file system tree with its bounds.
#[derive(Debug)]
pub(crate) struct Tree {
    nodes: Vec<Node>,
    cost: u64,
    limits: Limits,
}

impl Tree {
    /// An empty tree: an implicit root.
    pub(crate) fn new(limits: &Limits) -> Self {
        let root = Directory {
            parent: NodeId::ROOT,
            depth: 0,
            children: BTreeMap::new(),
            implicit: true,
            opaque: false,
        };
        let root = Node { attributes: Attributes::implicit(), content: Content::Directory(root) };
        Self { nodes: vec![root], cost: NODE_COST as u64, limits: *limits }
    }

    /// Number of nodes ever made, replaced ones included: a bound on every [`NodeId::index`].
    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    pub(crate) fn limits(&self) -> Limits {
        self.limits
    }

    pub(crate) fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.index()]
    }

    pub(crate) fn node_mut(&mut self, id: NodeId) -> &mut Node {
        &mut self.nodes[id.index()]
    }

    pub(crate) fn directory(&self, id: NodeId) -> Option<&Directory> {
        match &self.node(id).content {
            Content::Directory(directory) => Some(directory),
            _ => None,
        }
    }

    pub(crate) fn directory_mut(&mut self, id: NodeId) -> Option<&mut Directory> {
        match &mut self.node_mut(id).content {
            Content::Directory(directory) => Some(directory),
            _ => None,
        }
    }

    /// The node that `name` has in `directory`.
    pub(crate) fn child(&self, directory: NodeId, name: &[u8]) -> Option<NodeId> {
        self.directory(directory)?.children.get(name).copied()
    }

    /// Every node that names lead to, directories before what is in them; files with several names more than once.
    pub(crate) fn reachable(&self) -> impl Iterator<Item = NodeId> + '_ {
        let mut stack = vec![NodeId::ROOT];
        std::iter::from_fn(move || {
            let id = stack.pop()?;
            stack.extend(self.directory(id).into_iter().flat_map(|directory| directory.children.values()));
            Some(id)
        })
    }

    /// Counts memory that the tree is about to hold.
    pub(crate) fn charge(&mut self, bytes: usize) -> Result<(), TreeError> {
        self.cost = self.cost.saturating_add(bytes as u64);
        if self.cost > self.limits.metadata_bytes {
            return Err(TreeError::TooMuchMetadata(self.limits.metadata_bytes));
        }
        Ok(())
    }

    /// Adds a node that no name leads to yet.
    pub(crate) fn add(&mut self, node: Node) -> Result<NodeId, TreeError> {
        let too_many = TreeError::TooManyEntries(self.limits.entries);
        let Ok(index) = u32::try_from(self.nodes.len()) else { return Err(too_many) };
        if u64::from(index) >= self.limits.entries {
            return Err(too_many);
        }
        let content = match &node.content {
            Content::Directory(_) => DIRECTORY_COST,
            Content::Symlink(bytes) | Content::LowerLink(bytes) => bytes.len(),
            // A few bytes of an archive can ask for a large map.
            Content::File(FileData { blocks: Blocks::Chunked { runs, .. }, .. }) => {
                runs.iter().map(|run| run.chunks as usize * 4).sum()
            }
            _ => 0,
        };
        self.charge(content + node.attributes.cost() + NODE_COST)?;
        self.nodes.push(node);
        Ok(NodeId(index))
    }

    /// Adds an empty directory below `parent`.
    pub(crate) fn add_directory(
        &mut self,
        parent: NodeId,
        name: &[u8],
        attributes: Attributes,
        implicit: bool,
    ) -> Result<NodeId, TreeError> {
        let depth = self.directory(parent).map_or(0, |directory| directory.depth) + 1;
        if depth > self.limits.depth {
            return Err(TreeError::TooDeep { path: path::show(name), limit: self.limits.depth });
        }
        let directory = Directory { parent, depth, children: BTreeMap::new(), implicit, opaque: false };
        let id = self.add(Node { attributes, content: Content::Directory(directory) })?;
        self.bind(parent, name, id)?;
        Ok(id)
    }

    /// Makes `name` in `directory` lead to `id`, whatever it led to before.
    pub(crate) fn bind(&mut self, directory: NodeId, name: &[u8], id: NodeId) -> Result<(), TreeError> {
        self.charge(name.len() + 48)?;
        if let Some(directory) = self.directory_mut(directory) {
            directory.children.insert(name.into(), id);
        }
        Ok(())
    }
}
