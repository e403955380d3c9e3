//! From an image reference to the disks of a pod.
#![forbid(unsafe_code)]

pub mod config;
pub mod container;
mod digest;
pub mod erofs;
pub mod ext4;
mod extents;
mod handle;
pub mod limits;
mod manifest;
pub mod merge;
pub mod progress;
mod reference;
mod resolve;
mod source;
mod store;
mod tar;
mod tree;

pub use config::ImageConfig;
pub use container::{ContainerError, ContainerOverrides, container_spec};
pub use digest::{Digest, DigestError};
pub use handle::{Extent, ImageHandle};
pub use limits::Limits;
pub use progress::{Event, Progress, Silent};
pub use reference::{Reference, ReferenceError};
pub use resolve::{PullPolicy, ResolveError, ResolveOptions, Resolved, resolve};
pub use source::{Origin, Source, SourceError};
pub use store::{ImageSummary, Lease, Pruned, Store, StoreError};
