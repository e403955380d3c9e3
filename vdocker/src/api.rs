//! The JSON answers of the Docker Engine API (v1.50): field names, order, nulls and types as its clients expect
//! them, also strict ones. Fields that no pod can fill have the value that Docker gives them when unused.

pub mod container;
pub mod event;
pub mod host_config;
pub mod image;
pub mod list;
pub mod network;
pub mod stats;
pub mod system;
pub mod wait;

use serde::Serialize;

/// A field that is always `null`.
pub type Null = ();

/// A list that is always empty: `[]`.
pub type NoItems = [(); 0];

/// An object that is always empty: `{}`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct NoEntries {}
