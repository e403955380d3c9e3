//! The latest entries of a log in memory, numbered from the start of this process.

use std::collections::VecDeque;
use std::time::SystemTime;

use super::Record;

/// What a log consists of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// Something was written.
    Record {
        /// What.
        record: Record,
        /// Whether the stream's record before was cut within a line, which goes on here.
        continues: bool,
    },
    /// The process ended: no line goes on beyond.
    End {
        /// When.
        time: SystemTime,
        /// By stream: whether it left a line without an end.
        cut: [bool; 2],
    },
}

impl Entry {
    /// Bytes of memory it is counted for.
    pub(super) fn weight(&self) -> usize {
        /// An entry, and the allocator's block that its bytes are in.
        const FIXED: usize = size_of::<Entry>() + 32;
        FIXED + if let Self::Record { record, .. } = self { record.bytes.len() } else { 0 }
    }
}

#[derive(Debug, Default)]
pub(super) struct Ring {
    entries: VecDeque<Entry>,
    /// The number of the first entry.
    first: u64,
    /// Of all entries.
    weight: usize,
}

impl Ring {
    /// The number of the oldest entry, or of the next one.
    pub(super) fn first(&self) -> u64 {
        self.first
    }

    /// The number that the next entry gets.
    pub(super) fn next(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    /// The entries from a number on, as far as they are still there.
    pub(super) fn from(&self, number: u64) -> impl DoubleEndedIterator<Item = &Entry> {
        let skipped = usize::try_from(number.saturating_sub(self.first)).unwrap_or(usize::MAX);
        self.entries.range(skipped.min(self.entries.len())..)
    }

    pub(super) fn push(&mut self, entry: Entry) {
        self.weight += entry.weight();
        self.entries.push_back(entry);
    }

    /// Drops the oldest entries until the rest weighs at most `weight`, but none from number `kept` on.
    pub(super) fn evict(&mut self, weight: usize, kept: u64) {
        while self.weight > weight && self.first < kept {
            let Some(entry) = self.entries.pop_front() else { return };
            self.weight -= entry.weight();
            self.first += 1;
        }
    }

    #[cfg(test)]
    pub(super) fn weight(&self) -> usize {
        self.weight
    }
}
