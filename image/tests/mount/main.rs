//! Layers and merged images through the kernel's mount, compared with what GNU tar makes of the same archives.
//!
//! These tests need root, a kernel that mounts EROFS, util-linux, GNU tar and erofs-utils; without them they fail.
#![expect(clippy::unwrap_used, reason = "helpers of tests end them")]
#![expect(unreachable_pub, reason = "modules of a test")]

mod edge;
mod full;
mod layering;
mod oracle;
mod random;
mod scratch;
mod snapshot;
mod sparse;
mod tarball;
mod variants;
