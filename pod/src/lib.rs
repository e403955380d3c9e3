//! A pod on the host, below whoever wants one: the directory that it is ([`PodDir`]), how that is made of images
//! ([`make`]), read and removed, and the ways to reach the process that runs it ([`socket`], [`control`]).
//!
//! A pod is one virtual machine. What the guest is told is [`spec::LaunchSpec`]; this crate knows nothing of
//! KVM. Used by the command line and by the API frontend.
#![forbid(unsafe_code)]

pub mod atomic_file;
pub mod bind;
pub mod control;
pub mod dir;
pub mod end;
pub mod home;
pub mod limits;
pub mod link;
pub mod lock;
pub mod make;
pub mod mount;
pub mod network;
pub mod package;
pub mod process;
pub mod record;
pub mod remove;
pub mod share;
pub mod size;
pub mod socket;
pub mod staging;
pub mod start;
pub mod state;
pub mod volume;

pub use bind::{Bind, BindError};
pub use dir::{PodDir, PodError, read_bounded};
pub use end::{End, Ended};
pub use home::Home;
pub use link::LinkError;
pub use lock::{LockError, PodLock};
pub use make::{Blueprint, MakeError};
pub use mount::{MountError, VolumeWish, Wish};
pub use network::{Attached, Attachment, Networking, PodNetworks};
pub use package::{Package, PackageError};
pub use process::{PodProcess, ProcessError};
pub use record::{DiskRecord, Extent, ImageRecord, PodRecord, RestartPolicy};
pub use remove::{RemoveError, Removed};
pub use share::{ShareError, ShareRecord, Shares};
pub use socket::SocketDir;
pub use staging::{Staging, StagingError};
pub use start::{StartError, Starting};
pub use state::{PodState, StateFile, Status};
pub use volume::{Volume, VolumeError, Volumes};
