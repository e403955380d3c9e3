//! Tasks of the one thread.
//!
//! They are futures in boxes, so all of one type: each other type that is spawned takes 4 KiB of the guest.

use std::future::Future;
use std::pin::Pin;

/// What can be spawned.
pub type Task = Pin<Box<dyn Future<Output = ()>>>;

/// Puts a future into its box.
pub fn boxed(future: impl Future<Output = ()> + 'static) -> Task {
    Box::pin(future)
}

/// Has a future done beside its caller, to its end.
pub fn spawn(future: impl Future<Output = ()> + 'static) {
    tokio::task::spawn_local(boxed(future));
}
