//! Something that happens once, and tasks of this thread that wait for it.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::task::{Context, Poll, Waker};

/// Set once; whoever waits goes on then, and whoever comes later does not wait.
#[derive(Debug, Default)]
pub(crate) struct Latch {
    set: Cell<bool>,
    waiting: RefCell<Vec<Waker>>,
}

impl Latch {
    /// It has happened.
    pub(crate) fn set(&self) {
        self.set.set(true);
        for waker in self.waiting.take() {
            waker.wake();
        }
    }

    /// Whether it has happened.
    pub(crate) fn is_set(&self) -> bool {
        self.set.get()
    }

    /// Whether it has happened; if not, the task is woken when it does.
    pub(crate) fn poll_set(&self, context: &mut Context<'_>) -> Poll<()> {
        if self.set.get() {
            return Poll::Ready(());
        }
        let mut waiting = self.waiting.borrow_mut();
        if !waiting.iter().any(|waker| waker.will_wake(context.waker())) {
            waiting.push(context.waker().clone());
        }
        Poll::Pending
    }

    /// Waits until it has happened.
    pub(crate) async fn wait(&self) {
        poll_fn(|context| self.poll_set(context)).await;
    }
}
