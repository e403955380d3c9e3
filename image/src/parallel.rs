//! Work on several layers at one time.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

/// Layers that are moved at one time.
pub(crate) const WORKERS: usize = 3;

/// Does some work on each of `todo`, some at a time. Once one has failed, `stop` is set and nothing new begins; the first
/// failure is answered. `None` where a worker panicked.
pub(crate) fn side_by_side<E: Send>(
    workers: usize,
    todo: &[usize],
    stop: &AtomicBool,
    work: impl Fn(usize) -> Result<(), E> + Sync,
) -> Option<Result<(), E>> {
    let queue = Mutex::new(todo.iter());
    let failed: Mutex<Option<E>> = Mutex::new(None);
    let run = || {
        while let Some(&index) = queue.lock().ok().and_then(|mut queue| queue.next()) {
            if stop.load(Ordering::Relaxed) {
                return;
            }
            if let Err(error) = work(index) {
                if let Ok(mut failed) = failed.lock() {
                    failed.get_or_insert(error);
                }
                // Only now: the others fail because of this, and must not be first with it.
                stop.store(true, Ordering::Relaxed);
                return;
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..workers.min(todo.len()) {
            scope.spawn(run);
        }
    });
    Some(failed.into_inner().ok()?.map_or(Ok(()), Err))
}
