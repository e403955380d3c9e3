//! All connections of a vsock device: by event token, which is what the event loop carries, and by their two ports,
//! which is what packets carry.

use std::collections::HashMap;

use super::connection::{Connection, Key};

/// The most connections at one time.
pub(super) const MAX_CONNECTIONS: usize = 1 << SLOT_BITS;
/// Bits of an event token that are the slot. Those above differ from one connection of a slot to its next: an event
/// that was fetched before its connection ended must not meet the one that has the slot since.
const SLOT_BITS: u32 = 10;
/// All event tokens of connections are less than this.
pub(super) const TOKEN_LIMIT: u32 = 1 << 20;

/// The connections.
#[derive(Default)]
pub(super) struct Table {
    slots: Vec<Slot>,
    free: Vec<usize>,
    /// The slots of connections that packets still find.
    by_key: HashMap<Key, usize>,
}

struct Slot {
    /// The event token of its last connection.
    token: u32,
    connection: Option<Connection>,
}

impl Table {
    pub(super) fn is_full(&self) -> bool {
        self.slots.len() - self.free.len() >= MAX_CONNECTIONS
    }

    pub(super) fn find(&self, key: Key) -> Option<usize> {
        self.by_key.get(&key).copied()
    }

    /// The slot of the connection with an event token; none where that connection has ended.
    pub(super) fn find_token(&self, token: u32) -> Option<usize> {
        let index = token as usize % MAX_CONNECTIONS;
        self.slots.get(index).filter(|slot| slot.token == token && slot.connection.is_some()).map(|_| index)
    }

    pub(super) fn get_mut(&mut self, slot: usize) -> Option<&mut Connection> {
        self.slots.get_mut(slot)?.connection.as_mut()
    }

    /// Adds a connection, whose key must be free, to a table that is not full; answers its slot and event token.
    pub(super) fn insert(&mut self, connection: Connection) -> (usize, u32) {
        let index = self.free.pop().unwrap_or_else(|| {
            let token = u32::try_from(self.slots.len()).unwrap_or(0);
            self.slots.push(Slot { token, connection: None });
            self.slots.len() - 1
        });
        self.by_key.insert(connection.key, index);
        let slot = &mut self.slots[index];
        slot.token = (slot.token + (1 << SLOT_BITS)) % TOKEN_LIMIT;
        slot.connection = Some(connection);
        (index, slot.token)
    }

    /// Packets find the connection no more: the guest may use its ports again.
    pub(super) fn forget_key(&mut self, slot: usize) {
        if let Some(Slot { connection: Some(connection), .. }) = self.slots.get(slot)
            && self.by_key.get(&connection.key) == Some(&slot)
        {
            self.by_key.remove(&connection.key);
        }
    }

    pub(super) fn remove(&mut self, slot: usize) -> Option<Connection> {
        self.forget_key(slot);
        let connection = self.slots.get_mut(slot)?.connection.take()?;
        self.free.push(slot);
        Some(connection)
    }

    /// Drops all connections; their event tokens stay taken for a while.
    pub(super) fn clear(&mut self) {
        (0..self.slots.len()).for_each(|slot| drop(self.remove(slot)));
    }

    /// The slots in use by connections that still wait for the guest.
    pub(super) fn connecting(&self) -> Vec<usize> {
        let waits = |slot: &Slot| slot.connection.as_ref().is_some_and(Connection::is_connecting);
        self.slots.iter().enumerate().filter(|(_, slot)| waits(slot)).map(|(index, _)| index).collect()
    }
}
