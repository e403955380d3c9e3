//! The switchboard of a vsock device: takes packets of the guest and events of sockets to their connections, and
//! says what the guest is to get next. Knows no virtqueues.

use std::collections::{HashMap, VecDeque};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{SocketFlags, accept_with};
use vmm_sys_util::epoll::EventSet;

use super::connection::{Connection, Fate, Key};
use super::header::{Header, STREAM, op};
use super::table::{TOKEN_LIMIT, Table};
use crate::event_loop::Sources;
use crate::virtio::{Buffers, DeviceError};

/// RSTs that may wait for a buffer of the guest before its packets are left in the queue.
const MAX_RESETS: usize = 256;
/// The first host port of connections that the host opens; below are the ports that the guest may connect to.
const FIRST_PORT: u32 = 1 << 30;

/// The event token of a listener is this and its index; those of connections are less.
pub(super) const LISTENER: u32 = TOKEN_LIMIT;

/// Connections, listeners and what is owed to the guest.
pub(super) struct Muxer {
    listeners: Vec<(UnixListener, u32)>,
    host_ports: HashMap<u32, UnixStream>,
    hold: Duration,
    table: Table,
    /// Slots of connections that may have a packet for the guest, in turn.
    listed: VecDeque<usize>,
    resets: VecDeque<Key>,
    next_port: u32,
    /// Connections may wait for the guest to accept them; found out at each [`Self::tick`].
    connecting: bool,
    /// Connections may wait in a listener's backlog, because the table was full.
    accept_later: bool,
    sources: Option<Sources>,
}

impl Muxer {
    pub(super) fn new(
        listeners: Vec<(UnixListener, u32)>,
        host_ports: HashMap<u32, UnixStream>,
        hold: Duration,
    ) -> Self {
        Self {
            listeners,
            host_ports,
            hold,
            table: Table::default(),
            listed: VecDeque::new(),
            resets: VecDeque::new(),
            next_port: FIRST_PORT,
            connecting: false,
            accept_later: false,
            sources: None,
        }
    }

    /// Begins to listen: the guest's driver is there.
    pub(super) fn start(&mut self, sources: Sources) -> Result<(), DeviceError> {
        let sources = self.sources.insert(sources);
        for ((listener, _), token) in self.listeners.iter().zip(LISTENER..) {
            sources
                .add(listener, EventSet::IN | EventSet::EDGE_TRIGGERED, token)
                .map_err(|source| DeviceError::Wait { what: "a listening socket", source })?;
        }
        Ok(())
    }

    /// Drops all connections and stops listening.
    pub(super) fn stop(&mut self) {
        if let Some(sources) = self.sources.take() {
            self.listeners.iter().for_each(|(listener, _)| sources.remove(listener));
        }
        self.table.clear();
        self.listed.clear();
        self.resets.clear();
        self.connecting = false;
    }

    /// Takes all connections that wait at a listener, as far as the table has room.
    pub(super) fn accept(&mut self, index: usize) {
        loop {
            if self.table.is_full() {
                self.accept_later = true;
                return;
            }
            let Some((listener, guest_port)) = self.listeners.get(index) else { return };
            let guest_port = *guest_port;
            match accept_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
                Ok(socket) => {
                    let stream = UnixStream::from(socket);
                    let key = Key { host_port: self.free_port(guest_port), guest_port };
                    self.connecting = true;
                    self.add(Connection::to_guest(key, stream, Instant::now() + self.hold));
                }
                Err(Errno::AGAIN) => return,
                Err(Errno::CONNABORTED | Errno::INTR) => {}
                Err(error) => {
                    log::warn!("cannot accept a connection to guest port {guest_port}: {error}");
                    self.accept_later = true;
                    return;
                }
            }
        }
    }

    /// The state of the socket of the connection with this event token has changed.
    pub(super) fn socket_ready(&mut self, token: u32, events: EventSet) {
        let Some(slot) = self.table.find_token(token) else { return };
        let Some(connection) = self.table.get_mut(slot) else { return };
        let hung_up = events.intersects(EventSet::HANG_UP | EventSet::ERROR);
        let readable = events.intersects(EventSet::IN | EventSet::READ_HANG_UP);
        let fate = connection.socket_ready(readable, events.contains(EventSet::OUT), hung_up);
        self.settle(slot, fate);
    }

    /// Whether connections wait for the guest to accept them, so that [`Self::tick`] is due from time to time.
    pub(super) fn is_connecting(&self) -> bool {
        self.connecting
    }

    /// Tries again what the guest did not accept.
    pub(super) fn tick(&mut self, now: Instant) {
        let slots = self.table.connecting();
        self.connecting = !slots.is_empty();
        for slot in slots {
            if let Some(connection) = self.table.get_mut(slot) {
                let fate = connection.retry(now);
                self.settle(slot, fate);
            }
        }
    }

    /// Whether [`Self::receive`] may be called: an answer to the packet would find room.
    pub(super) fn can_receive(&self) -> bool {
        self.resets.len() < MAX_RESETS
    }

    /// A packet of the guest; `data` is everything behind the header.
    pub(super) fn receive(&mut self, header: &Header, mut data: Buffers<'_>) {
        if header.src_cid != spec::vsock::GUEST_CID || header.dst_cid != spec::vsock::HOST_CID {
            return;
        }
        let key = Key { host_port: header.dst_port, guest_port: header.src_port };
        let len = header.len as usize;
        let sound = header.kind == STREAM && len <= data.len() && (len == 0 || header.op == op::RW);
        let data = data.take_front(len);
        match (self.table.find(key), header.op) {
            (Some(slot), _) => {
                let Some(connection) = self.table.get_mut(slot) else { return };
                let fate = if sound { connection.receive(header, data) } else { Fate::Reset };
                if header.op == op::RST && !connection.is_connecting() {
                    self.table.forget_key(slot);
                }
                self.settle(slot, fate);
            }
            (None, op::RST) => {}
            (None, op::REQUEST) if sound && !self.table.is_full() => {
                match self.host_ports.remove(&key.host_port) {
                    Some(stream) => {
                        // A guest listens before it connects: what was held gets to it before the answer does.
                        self.tick(Instant::now());
                        self.add(Connection::from_guest(key, stream, header));
                    }
                    None => self.resets.push_back(key),
                }
            }
            (None, _) => self.resets.push_back(key),
        }
    }

    /// Whether [`Self::next_packet`] may have a packet.
    pub(super) fn has_packet(&self) -> bool {
        !self.resets.is_empty() || !self.listed.is_empty()
    }

    /// The next packet for the guest, with its data in the front of `data`; the connections take turns. `None`
    /// where the connection whose turn it was had nothing after all.
    pub(super) fn next_packet(&mut self, data: &mut Buffers<'_>) -> Option<Header> {
        if let Some(key) = self.resets.pop_front() {
            return Some(Header {
                src_cid: spec::vsock::HOST_CID,
                dst_cid: spec::vsock::GUEST_CID,
                src_port: key.host_port,
                dst_port: key.guest_port,
                kind: STREAM,
                op: op::RST,
                ..Header::default()
            });
        }
        let slot = self.listed.pop_front()?;
        let connection = self.table.get_mut(slot)?;
        connection.listed = false;
        let packet = connection.next_packet(data);
        if packet.is_some() {
            self.list(slot);
        }
        packet
    }

    fn add(&mut self, connection: Connection) {
        let (slot, token) = self.table.insert(connection);
        let (Some(connection), Some(sources)) = (self.table.get_mut(slot), &self.sources) else { return };
        let events = EventSet::IN | EventSet::OUT | EventSet::READ_HANG_UP | EventSet::EDGE_TRIGGERED;
        if let Err(error) = sources.add(&connection.fd(), events, token) {
            log::warn!("cannot wait for a connection's socket: {error}");
            self.settle(slot, Fate::Reset);
            return;
        }
        self.list(slot);
    }

    /// Does what an event made of a connection.
    fn settle(&mut self, slot: usize, fate: Fate) {
        if fate == Fate::Keep {
            return self.list(slot);
        }
        let Some(connection) = self.table.remove(slot) else { return };
        self.listed.retain(|listed| *listed != slot);
        if fate == Fate::Reset {
            self.resets.push_back(connection.key);
        }
        if let Some(sources) = &self.sources {
            sources.remove(&connection.fd());
        }
        drop(connection);
        if std::mem::take(&mut self.accept_later) {
            (0..self.listeners.len()).for_each(|index| self.accept(index));
        }
    }

    fn list(&mut self, slot: usize) {
        if let Some(connection) = self.table.get_mut(slot)
            && !connection.listed
            && connection.has_packet()
        {
            connection.listed = true;
            self.listed.push_back(slot);
        }
    }

    /// A host port that has no connection to that guest port. The table has fewer connections than ports.
    fn free_port(&mut self, guest_port: u32) -> u32 {
        loop {
            let host_port = self.next_port;
            self.next_port = host_port.checked_add(1).unwrap_or(FIRST_PORT);
            if self.table.find(Key { host_port, guest_port }).is_none() {
                return host_port;
            }
        }
    }
}
