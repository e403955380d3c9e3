//! A container's processes: how they are made, what they see, what they may do.

pub(crate) mod cgroup;
mod enter;
mod environment;
pub(crate) mod etc;
pub(crate) mod failure;
pub(crate) mod filesystems;
pub(crate) mod init;
mod join;
pub(crate) mod privileges;
pub(crate) mod process;
mod program;
pub(crate) mod root;
pub(crate) mod spawn;
mod stdio;
pub(crate) mod terminal;
pub(crate) mod user;
pub(crate) mod volume;

use failure::plain;
