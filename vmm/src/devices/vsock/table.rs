//! All connections of a vsock device: by slot, which is what events carry, and by their two ports, which is what
//! packets carry.

use std::collections::HashMap;

use super::connection::{Connection, Key};

/// The most connections at one time.
pub(super) const MAX_CONNECTIONS: usize = 1024;

/// A connection and whether packets still find it.
#[derive(Default)]
pub(super) struct Table {
    slots: Vec<Option<Connection>>,
    free: Vec<usize>,
    by_key: HashMap<Key, usize>,
}

impl Table {
    pub(super) fn is_full(&self) -> bool {
        self.slots.len() - self.free.len() >= MAX_CONNECTIONS
    }

    pub(super) fn find(&self, key: Key) -> Option<usize> {
        self.by_key.get(&key).copied()
    }

    pub(super) fn get_mut(&mut self, slot: usize) -> Option<&mut Connection> {
        self.slots.get_mut(slot)?.as_mut()
    }

    /// Adds a connection, whose key must be free, and answers its slot.
    pub(super) fn insert(&mut self, connection: Connection) -> usize {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        self.by_key.insert(connection.key, slot);
        self.slots[slot] = Some(connection);
        slot
    }

    /// Packets find the connection no more: the guest may use its ports again.
    pub(super) fn forget_key(&mut self, slot: usize) {
        if let Some(Some(connection)) = self.slots.get(slot)
            && self.by_key.get(&connection.key) == Some(&slot)
        {
            self.by_key.remove(&connection.key);
        }
    }

    pub(super) fn remove(&mut self, slot: usize) -> Option<Connection> {
        self.forget_key(slot);
        let connection = self.slots.get_mut(slot)?.take()?;
        self.free.push(slot);
        Some(connection)
    }

    /// The slots in use by connections that still wait for the guest.
    pub(super) fn connecting(&self) -> Vec<usize> {
        let waits = |slot: &Option<Connection>| slot.as_ref().is_some_and(Connection::is_connecting);
        self.slots.iter().enumerate().filter(|(_, slot)| waits(slot)).map(|(index, _)| index).collect()
    }
}
