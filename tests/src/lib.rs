//! What the end-to-end tests share: the test images, a registry on loopback, the real `kcradle` and a terminal.
//!
//! A test that needs something the machine lacks fails and names it; none is skipped.
#![forbid(unsafe_code)]
#![expect(clippy::missing_panics_doc, clippy::unwrap_used, reason = "a panic is how a test fails")]

pub mod daemon;
pub mod docker;
pub mod host;
pub mod images;
pub mod log_writes;
pub mod pod;
pub mod registry;
pub mod terminal;

pub use daemon::Daemon;
pub use docker::Docker;
pub use host::Host;
pub use pod::{Ended, Pod, Running};
pub use registry::Registry;
pub use terminal::Terminal;

use std::path::PathBuf;

/// The root of the work tree.
#[must_use]
pub fn work_tree() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Where `tests/install` has put a tool that Debian does not have.
#[must_use]
pub fn tool(name: &str) -> PathBuf {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.unwrap_or_else(|| PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cache"));
    let path = cache.join("cradle/tools").join(name);
    assert!(path.exists(), "no {name} at {}: run tests/install", path.display());
    path
}
