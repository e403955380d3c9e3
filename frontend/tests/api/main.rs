//! The daemon in this process, driven by the real docker client of tests/tools.lock; no pods, so no KVM.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod host;
mod hostile;
mod images;
mod names;
mod networks;
mod slow_registry;
mod system;
mod volumes;
