//! The networks of pods, on the host's side (docs/network.md): what one is ([`Definition`]), where it lies ([`NetworkDir`]),
//! what a pod asks of it ([`Request`]) and gets ([`Endpoint`]).
//!
//! A network that is used is a bridge, its rules, a resolver and the proxies of published ports, held by one process.
#![forbid(unsafe_code)]

mod attach;
mod definition;
mod dir;
mod host_routes;
pub mod keeper;
mod lock;
mod message;
mod port;
mod socket;
mod subnet;
mod wire;

pub use attach::{AttachError, attach, change, check};
pub use definition::{Definition, DefinitionError, Pool};
pub use dir::{NetworkDir, NetworkDirError};
pub use host_routes::host_routes;
pub use message::{Answer, Change, Endpoint, Request};
pub use port::{Port, PortError, PortWish, Protocol};
pub use subnet::{Subnet, SubnetError};
