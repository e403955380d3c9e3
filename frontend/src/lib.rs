//! The Docker Engine API of a host (docs/frontend.md): images, containers, volumes and networks by name, each container in a
//! microVM of its own, whose own Docker API answers what happens inside it.
//!
//! Everything runs on one thread, in a [`tokio::task::LocalSet`]; work that blocks goes to other threads.
#![forbid(unsafe_code)]

mod container;
mod context;
pub mod daemon;
mod db;
mod events;
mod failure;
mod id;
mod images;
mod json;
pub mod metrics;
mod network;
mod patterns;
mod pods;
mod proxy;
mod router;
mod routes;
mod system;
mod volume;

pub use daemon::{Config, Daemon, StartError};
pub use db::DbError;
