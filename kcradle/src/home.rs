//! The state directory of the commands, and what to do where there is none.

use anyhow::Context as _;
use image::Store;
use pod::Home;

use crate::failure::Failure;

/// The state directory that the environment names; it need not exist yet.
pub(crate) fn find() -> Result<Home, Failure> {
    Home::from_environment().ok_or_else(|| {
        Failure::new("cannot find a directory for images")
            .hint("set CRADLE_HOME, or HOME, to an absolute path")
    })
}

/// Opens the image store, which is made where it is missing.
pub(crate) fn store(home: &Home) -> Result<Store, Failure> {
    Ok(home.store().with_context(|| format!("cannot use {}", home.path().display()))?)
}
