//! The task that writes behind: it lives while something waits for the disk, and costs nothing else.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::writer::{Batch, Writer, Written};
use super::{Shared, notice};
use crate::task;

/// How long the first entry of a batch waits for more of them.
const LINGER: Duration = Duration::from_millis(100);

/// Bytes that are written without waiting for more.
const BATCH: usize = 256 << 10;

impl Shared {
    /// After something was pushed: wakes readers, and sees that it is written.
    pub(super) fn tend(self: &Rc<Self>) {
        self.pushed.notify_waiters();
        self.start_writing(false);
        if self.state.borrow().pending() >= BATCH {
            self.hurry.notify_one();
        }
    }

    /// Whether all entries before a number are on disk, or never will be for want of one.
    pub(super) fn has_written(&self, seq: u64) -> bool {
        self.state.borrow().disk.as_ref().is_none_or(|disk| disk.written().seq >= seq)
    }

    /// Whether the task lives.
    pub(super) fn is_writing(&self) -> bool {
        self.state.borrow().disk.as_ref().is_some_and(|disk| disk.writing)
    }

    /// Starts the task where there is none. `now`: also where the disk has just failed.
    pub(super) fn start_writing(self: &Rc<Self>, now: bool) {
        let mut state = self.state.borrow_mut();
        let Some(disk) = &mut state.disk else { return };
        if !disk.writing && (now || disk.is_due()) {
            disk.writing = true;
            task::spawn(write_behind(Rc::clone(self)));
        }
    }

    /// The entries that wait, with the writer; `None` without any.
    fn batch(&self) -> Option<(Writer, Batch)> {
        let mut state = self.state.borrow_mut();
        let state = &mut *state;
        let disk = state.disk.as_mut()?;
        let mark = disk.written();
        let first = mark.seq.max(state.ring.first());
        let entries: Vec<_> = state.ring.from(first).cloned().collect();
        if entries.is_empty() {
            return None;
        }
        Some((disk.take_writer()?, Batch { lost: first - mark.seq, first, entries }))
    }

    fn commit(&self, writer: Writer, written: Written) -> io::Result<()> {
        let mut state = self.state.borrow_mut();
        let state = &mut *state;
        let Some(disk) = &mut state.disk else { return Ok(()) };
        let error = disk.commit(writer, written);
        disk.pending = state.ring.from(disk.written().seq).map(super::Entry::weight).sum();
        state.evict();
        error.map_or(Ok(()), Err)
    }

    fn fail(&self, error: &io::Error) {
        let mut state = self.state.borrow_mut();
        if state.disk.as_mut().is_some_and(super::Disk::fail) {
            state.append(notice(&format!("cannot be written, only the latest of it is kept: {error}")));
            drop(state);
            self.pushed.notify_waiters();
        }
    }
}

async fn write_behind(shared: Rc<Shared>) {
    if let Err(error) = write_all(&shared).await {
        shared.fail(&error);
    }
    if let Some(disk) = &mut shared.state.borrow_mut().disk {
        disk.writing = false;
    }
    shared.written.notify_waiters();
}

/// Writes until nothing waits.
async fn write_all(shared: &Shared) -> io::Result<()> {
    open(shared).await?;
    loop {
        if shared.state.borrow().pending() < BATCH {
            tokio::select! {
                () = sleep(LINGER) => {}
                () = shared.hurry.notified() => {}
            }
        }
        let Some((mut writer, batch)) = shared.batch() else { return Ok(()) };
        let done = spawn_blocking(move || {
            let written = writer.write(batch);
            (writer, written)
        });
        let (writer, written) = done.await.map_err(io::Error::other)?;
        shared.commit(writer, written)?;
        shared.written.notify_waiters();
    }
}

/// Looks at what the files hold, at the first use and after a failure that took the writer.
async fn open(shared: &Shared) -> io::Result<()> {
    let (path, limits) = {
        let mut state = shared.state.borrow_mut();
        let Some(disk) = state.disk.as_mut().filter(|disk| !disk.has_writer()) else { return Ok(()) };
        (disk.path().to_owned(), disk.limits())
    };
    let writer = spawn_blocking(move || Writer::open(path, limits)).await.map_err(io::Error::other)??;
    if let Some(disk) = &mut shared.state.borrow_mut().disk {
        disk.open(writer);
    }
    shared.written.notify_waiters();
    Ok(())
}
