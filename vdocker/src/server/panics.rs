//! A panic in one connection's future ends that future, not the thread that serves them all.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;

/// Runs a future to its end or its panic. The panic's message has gone where panics report.
pub(super) async fn contained(future: impl Future<Output = ()>) {
    let mut future = pin!(future);
    // Nothing looks at the future after a panic; what it shares with others are cells that are consistent between
    // any two statements.
    poll_fn(|context| {
        catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))).unwrap_or(Poll::Ready(()))
    })
    .await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_ends_its_future_only() {
        contained(async {
            tokio::task::yield_now().await;
            panic!("wanted by the test");
        })
        .await;
    }
}
