//! The Docker Engine API of one pod (docs/vdocker.md): HTTP, hijacked streams and JSON over a [`Engine`] that has
//! the containers.
//!
//! Served by guest-init on vsock port 1, and by tests over an engine on the host. Knows no Linux calls. Everything
//! runs on one thread: the types are not `Send`, and a server lives in a [`tokio::task::LocalSet`].
#![forbid(unsafe_code)]

pub mod api;
pub mod archive;
mod attach;
pub mod body;
pub mod container;
mod context;
pub mod detach;
pub mod encoding;
pub mod engine;
pub mod events;
pub mod exec;
pub mod filters;
#[cfg(test)]
mod fixture;
mod flow;
pub mod frame;
pub mod health;
pub mod hijack;
pub mod log;
pub mod pattern;
pub mod period;
mod pod;
pub mod query;
mod request_body;
mod resolve;
pub mod response;
mod router;
mod routes;
pub mod server;
pub mod signal;
pub mod stats;
pub mod stdcopy;
pub mod task;
pub mod time;
pub mod top;
pub mod version;
pub mod websocket;

pub use container::{Container, ContainerState, Health, HealthStatus, Status};
pub use engine::{Engine, EngineError, Verb};
pub use log::Log;
pub use pod::Pod;
pub use request_body::RequestBody;
pub use server::{Request, Server, Service};
