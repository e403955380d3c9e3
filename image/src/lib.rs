//! From an image reference to the disks of a pod.
#![forbid(unsafe_code)]

mod archive;
mod bundle;
pub mod changes;
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
mod load;
mod make;
mod manifest;
pub mod merge;
mod parallel;
pub mod progress;
mod push;
mod reference;
mod registry;
mod resolve;
mod save;
mod source;
mod store;
mod tree;
pub mod verity;

pub use archive::ArchiveError;
pub use config::ImageConfig;
pub use container::{ContainerError, ContainerOverrides, container_spec};
pub use daemon::DaemonError;
pub use digest::{Digest, DigestError};
pub use handle::{Extent, ImageHandle};
pub use layer::LayerError;
pub use limits::Limits;
pub use load::{Loaded, load};
pub use make::{MakeError, NewImage, make};
pub use manifest::ManifestError;
pub use progress::{Event, Progress, Silent};
pub use push::{PushError, PushEvent, Pushed, push};
pub use reference::{Reference, ReferenceError};
pub use registry::{
    Credentials, CredentialsError, HostError, Insecure, Login, Mirror, Patience, Registries, RegistryError,
    Remote, RemotePlatform, check_login, remote_image, remote_tags,
};
pub use resolve::{PullPolicy, ResolveError, ResolveOptions, Resolved, resolve};
pub use save::{Archive, SaveError};
pub use source::{Origin, Source, SourceError};
pub use store::{
    CatalogError, ImageSummary, Lease, ManifestInfo, Pruned, Removed, Store, StoreError, StoredImage, Use,
};
pub use verity::{Verity, VerityError};
