//! A container's processes: how they are made, what they see, what they may do.

pub(crate) mod cgroup;
mod enter;
mod environment;
pub(crate) mod etc;
pub(crate) mod failure;
mod filesystems;
pub(crate) mod privileges;
pub(crate) mod process;
mod program;
mod root;
pub(crate) mod spawn;
pub(crate) mod terminal;
mod user;
mod volume;

use failure::plain;
