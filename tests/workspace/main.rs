//! Rules of the workspace, checked on what `cargo metadata` says: which crate may use which, the licences of
//! what we link, and no dependency in two versions. Runs anywhere, without a network.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod dependencies;
mod edges;
mod graph;
mod licences;
mod versions;
