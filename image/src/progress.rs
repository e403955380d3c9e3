//! What happens while an image is resolved, for a front end to show.

use crate::digest::Digest;
use crate::source::Origin;

/// Receives events, from several threads at once.
pub trait Progress: Sync {
    /// Takes one event; must return soon.
    fn event(&self, event: Event<'_>);
}

/// Shows nothing.
pub struct Silent;

impl Progress for Silent {
    fn event(&self, _: Event<'_>) {}
}

/// Something that happened. A layer is named by its diff_id.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// The search for an image begins.
    Resolving {
        /// As the user wrote it.
        source: &'a str,
    },
    /// The image was found; its layers follow unless it came from the store.
    Found {
        /// Where.
        origin: Origin,
        /// How many layers it has.
        layers: usize,
    },
    /// A layer is needed and will be brought in its turn.
    Planned {
        /// The layer.
        layer: Digest,
        /// Its size in bytes as it is transferred, where the source says.
        size: Option<u64>,
    },
    /// A layer's turn has come; bytes will follow.
    Layer {
        /// The layer.
        layer: Digest,
        /// Its size in bytes as it is transferred, where the source says.
        size: Option<u64>,
    },
    /// The layer is in the store already.
    Cached {
        /// The layer.
        layer: Digest,
    },
    /// Another process is at work on this layer; this one waits.
    Waiting {
        /// The layer.
        layer: Digest,
    },
    /// Bytes of the layer were read and converted.
    Bytes {
        /// The layer.
        layer: Digest,
        /// Bytes transferred so far, from the layer's beginning.
        done: u64,
    },
    /// A transfer broke and is tried again.
    Retry {
        /// The layer; `None` for a manifest or configuration.
        layer: Option<Digest>,
        /// What happened.
        cause: &'a str,
    },
    /// The layer is whole, verified and in the store.
    Done {
        /// The layer.
        layer: Digest,
        /// Its size in the store in bytes.
        size: u64,
    },
    /// The layers' file trees are being merged.
    Merging,
    /// The image's disk is being hashed for the guest's checks.
    Hashing {
        /// Bytes so far.
        done: u64,
        /// Bytes of the disk.
        size: u64,
    },
    /// The image is ready.
    Ready,
}
