//! From a source to a handle: registries that behave and registries that do not, archives, layouts, bundles, a
//! Docker daemon, and the store they fill. Everything is made here and served on loopback.

#![expect(clippy::unwrap_used, reason = "helpers of tests end them")]

mod archives;
mod catalog;
mod docker;
mod hostile;
mod limits;
mod push;
mod registry;
mod sample;
mod server;
mod store;
mod tls;
mod verity;
