//! From an image reference to the disks of a pod.
#![forbid(unsafe_code)]

mod archive;
mod bundle;
pub mod config;
pub mod container;
mod daemon;
mod decompress;
mod digest;
mod docker_archive;
pub mod erofs;
pub mod ext4;
mod extents;
mod handle;
mod install;
mod layer;
mod layout;
pub mod limits;
mod manifest;
pub mod merge;
pub mod progress;
mod reference;
mod registry;
mod resolve;
mod source;
mod store;
mod tree;

pub use archive::ArchiveError;
pub use config::ImageConfig;
pub use container::{ContainerError, ContainerOverrides, container_spec};
pub use daemon::DaemonError;
pub use digest::{Digest, DigestError};
pub use handle::{Extent, ImageHandle};
pub use layer::LayerError;
pub use limits::Limits;
pub use manifest::ManifestError;
pub use progress::{Event, Progress, Silent};
pub use reference::{Reference, ReferenceError};
pub use registry::{CredentialsError, Patience, RegistryError};
pub use resolve::{PullPolicy, ResolveError, ResolveOptions, Resolved, resolve};
pub use source::{Origin, Source, SourceError};
pub use store::{CatalogError, ImageSummary, Lease, Pruned, Removed, Store, StoreError, StoredImage, Use};
