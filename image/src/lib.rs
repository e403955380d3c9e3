//! From an image reference to the disks of a pod.
#![forbid(unsafe_code)]

pub mod erofs;
pub mod ext4;
pub mod limits;
pub mod merge;

pub use limits::Limits;
