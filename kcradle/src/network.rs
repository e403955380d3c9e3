//! Networks: `kcradle network`, what `summon` and `run` say of them, and the hidden verb that is the process of one.

pub(crate) mod addresses;
mod commands;
mod keeper;
mod store;
pub(crate) mod wishes;

pub(crate) use commands::run;
pub(crate) use keeper::keep;
pub(crate) use store::Networks;
