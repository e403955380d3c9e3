//! Records as they were pushed: what attach gives out.

use std::io;
use std::rc::Rc;

use super::cursor::{Cursor, Place};
use super::ring::Entry;
use super::{From, Record, Shared};

/// A reader of records. It holds no memory but a block of the disk while it is behind.
#[derive(Debug)]
pub struct Records {
    cursor: Cursor,
    /// Whether the end of a run is the end.
    one_run: bool,
    is_over: bool,
}

impl Records {
    pub(super) fn new(shared: &Rc<Shared>, from: From) -> Self {
        let place = match from {
            From::Start => Place::Start,
            From::End => Place::Ring(shared.state.borrow().ring.next()),
            From::Run(run) => Place::Ring(run.first),
        };
        Self { cursor: Cursor::new(shared, place), one_run: matches!(from, From::Run(_)), is_over: false }
    }

    /// Whether there is no other record, ever: the run is over that was to be read. One that has written nothing leaves
    /// no end either.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.is_over
    }

    /// Waits for the next record; for ever where there is none. A call that is dropped loses nothing.
    ///
    /// # Errors
    /// Those of reading a file.
    pub async fn next(&mut self) -> io::Result<Record> {
        loop {
            match self.step(true).await? {
                Some(record) => return Ok(record),
                None if self.is_over => std::future::pending().await,
                None => {}
            }
        }
    }

    /// The next record, `None` if there is none now. It may have to wait for the disk.
    ///
    /// # Errors
    /// Those of reading a file.
    pub async fn try_next(&mut self) -> io::Result<Option<Record>> {
        self.step(false).await
    }

    async fn step(&mut self, follow: bool) -> io::Result<Option<Record>> {
        while !self.is_over {
            match self.cursor.next(follow).await? {
                Some(Entry::Record { record, .. }) => return Ok(Some(record)),
                Some(Entry::End { .. }) => self.is_over = self.one_run,
                None => return Ok(None),
            }
        }
        Ok(None)
    }

    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.cursor.held()
    }
}
