//! Times of unpacked directories, set when nothing comes into them any more; of very many, the oldest at once.

use std::collections::VecDeque;
use tar::Timestamp;

/// Bytes of paths that are kept.
const MAX_BYTES: usize = 2 << 20;
/// What one costs beside its path.
const COST: usize = 64;

/// The parent, the name, the time.
type Due = (Vec<u8>, Vec<u8>, Timestamp);

/// Directories whose time is to be set.
#[derive(Debug, Default)]
pub(super) struct Times {
    due: VecDeque<Due>,
    bytes: usize,
}

impl Times {
    /// Adds one; returns another that has to be set now, where there are too many.
    pub(super) fn push(&mut self, parent: Vec<u8>, name: Vec<u8>, time: Timestamp) -> Option<Due> {
        self.bytes += cost(&parent, &name);
        self.due.push_back((parent, name, time));
        if self.bytes > MAX_BYTES { self.pop() } else { None }
    }

    /// The oldest.
    pub(super) fn pop(&mut self) -> Option<Due> {
        let due = self.due.pop_front()?;
        self.bytes -= cost(&due.0, &due.1);
        Some(due)
    }
}

fn cost(parent: &[u8], name: &[u8]) -> usize {
    parent.len() + name.len() + COST
}
