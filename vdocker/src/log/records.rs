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
}

impl Records {
    pub(super) fn new(shared: &Rc<Shared>, from: From) -> Self {
        let place = match from {
            From::Start => Place::Start,
            From::End => Place::Ring(shared.state.borrow().ring.next()),
        };
        Self { cursor: Cursor::new(shared, place) }
    }

    /// Waits for the next record. A call that is dropped loses nothing.
    ///
    /// # Errors
    /// Those of reading a file.
    pub async fn next(&mut self) -> io::Result<Record> {
        loop {
            if let Some(record) = self.step(true).await? {
                return Ok(record);
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
        loop {
            match self.cursor.next(follow).await? {
                Some(Entry::Record { record, .. }) => return Ok(Some(record)),
                Some(Entry::End { .. }) => {}
                None => return Ok(None),
            }
        }
    }

    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.cursor.held()
    }
}
