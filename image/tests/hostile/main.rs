//! Archives and layer files that want to do harm: errors, never panics, hangs or growth.
#![expect(clippy::unwrap_used, reason = "helpers of tests end them")]
#![expect(unreachable_pub, reason = "modules of a test")]

mod archives;
mod mutations;
#[path = "../mount/tarball.rs"]
#[expect(dead_code, reason = "the mount tests use the rest")]
mod tarball;
