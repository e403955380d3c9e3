//! One vsock connection and its Unix socket (virtio 1.3, section 5.10.6): phases, credit and shutdown both ways.
//!
//! Bytes from the guest go to the socket or, while it takes none, to a backlog no longer than the credit that
//! the guest was given; bytes from the socket are read only into buffers and credit that the guest has given.

use std::io;
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::Instant;

use super::backlog::Backlog;
use super::credit::{BUF_ALLOC, Credit};
use super::header::{Header, SHUTDOWN_BOTH, SHUTDOWN_RCV, SHUTDOWN_SEND, STREAM, op};
use crate::virtio::Buffers;

/// The most data in a packet to the guest.
pub(super) const MAX_PACKET: usize = 64 * 1024;

/// The two ends of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) host_port: u32,
    pub(super) guest_port: u32,
}

/// Where a connection is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Waits for its next try: the guest did not listen at the last one.
    Held { until: Instant },
    /// The guest is to be asked, or was and has not answered.
    Requested { until: Instant },
    /// Both ends know each other.
    Open,
    /// The guest has forgotten it; the backlog is still to be written.
    Draining,
}

/// What becomes of a connection after an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It goes on.
    Keep,
    /// It ends, and the guest is told by RST.
    Reset,
    /// It ends, and the guest knows.
    Gone,
}

/// Packets that are owed to the guest besides data.
#[derive(Default)]
struct Owed {
    request: bool,
    response: bool,
    credit: bool,
}

/// A connection.
pub(super) struct Connection {
    pub(super) key: Key,
    /// Whether it stands in the list of connections that have something for the guest.
    pub(super) listed: bool,
    stream: UnixStream,
    phase: Phase,
    owed: Owed,
    /// The socket may have bytes; cleared when it says it has none.
    readable: bool,
    /// The socket may take bytes; cleared when it says it does not.
    writable: bool,
    /// No more bytes come from the socket.
    ended: bool,
    /// The socket takes no more bytes, ever.
    refused: bool,
    /// The guest's end of data was passed on to the socket.
    finished: bool,
    /// Shutdown flags that the guest was told.
    told: u32,
    /// Shutdown flags that the guest has sent.
    guest_shutdown: u32,
    backlog: Backlog,
    credit: Credit,
}

impl Connection {
    /// A connection that the host opens: the guest is asked until `until`.
    pub(super) fn to_guest(key: Key, stream: UnixStream, until: Instant) -> Self {
        let owed = Owed { request: true, ..Owed::default() };
        Self::new(key, stream, Phase::Requested { until }, owed)
    }

    /// A connection that the guest opened with `request`.
    pub(super) fn from_guest(key: Key, stream: UnixStream, request: &Header) -> Self {
        let owed = Owed { response: true, ..Owed::default() };
        let mut connection = Self::new(key, stream, Phase::Open, owed);
        connection.credit.learn(request);
        connection
    }

    fn new(key: Key, stream: UnixStream, phase: Phase, owed: Owed) -> Self {
        Self {
            key,
            listed: false,
            stream,
            phase,
            owed,
            readable: true,
            writable: true,
            ended: false,
            refused: false,
            finished: false,
            told: 0,
            guest_shutdown: 0,
            backlog: Backlog::default(),
            credit: Credit::default(),
        }
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }

    /// Whether it waits for the guest to accept it.
    pub(super) fn is_connecting(&self) -> bool {
        matches!(self.phase, Phase::Held { .. } | Phase::Requested { .. })
    }

    /// A retry is due: asks the guest again, or gives up where the time is over.
    pub(super) fn retry(&mut self, now: Instant) -> Fate {
        match self.phase {
            Phase::Held { until } | Phase::Requested { until } if until <= now => {
                // An asked guest may still answer; the RST tells it that nobody is there.
                if self.owed.request || matches!(self.phase, Phase::Held { .. }) {
                    Fate::Gone
                } else {
                    Fate::Reset
                }
            }
            Phase::Held { until } => {
                self.phase = Phase::Requested { until };
                self.owed.request = true;
                Fate::Keep
            }
            _ => Fate::Keep,
        }
    }

    /// The socket's state has changed.
    pub(super) fn socket_ready(&mut self, readable: bool, writable: bool, hung_up: bool) -> Fate {
        self.readable |= readable || hung_up;
        self.writable |= writable;
        if hung_up {
            self.refuse();
            if matches!(self.phase, Phase::Held { .. }) {
                return Fate::Gone;
            }
        }
        self.flush()
    }

    /// A packet came from the guest; `data` are the bytes behind its header, `header.len` of them.
    pub(super) fn receive(&mut self, header: &Header, data: Buffers<'_>) -> Fate {
        self.credit.learn(header);
        match (self.phase, header.op) {
            // Nobody waits for it any more.
            (Phase::Requested { .. }, op::RST) if self.refused => Fate::Gone,
            (Phase::Requested { until }, op::RST) => {
                self.phase = Phase::Held { until };
                Fate::Keep
            }
            (Phase::Requested { .. }, op::RESPONSE) if !self.owed.request => {
                self.phase = Phase::Open;
                Fate::Keep
            }
            (Phase::Open, op::RW) => self.receive_data(data),
            (Phase::Open, op::SHUTDOWN) => self.receive_shutdown(header.flags),
            (Phase::Open, op::CREDIT_UPDATE) => Fate::Keep,
            (Phase::Open, op::CREDIT_REQUEST) => {
                self.owed.credit = true;
                Fate::Keep
            }
            (Phase::Open, op::RST) => {
                self.phase = Phase::Draining;
                self.flush()
            }
            (Phase::Held { .. }, op::RST) => Fate::Keep,
            _ => Fate::Reset,
        }
    }

    fn receive_data(&mut self, mut data: Buffers<'_>) -> Fate {
        if self.guest_shutdown & SHUTDOWN_SEND != 0 || !self.credit.received(data.len()) {
            return Fate::Reset;
        }
        if self.refused {
            self.credit.forwarded_all();
        } else if self.backlog.is_empty() && self.writable {
            while !data.is_empty() && self.writable && !self.refused {
                let result = data.write_to_stream(self.stream.as_fd());
                self.took(result);
            }
        }
        if !self.refused && !data.is_empty() {
            self.backlog.push(&mut data);
        }
        Fate::Keep
    }

    fn receive_shutdown(&mut self, flags: u32) -> Fate {
        self.guest_shutdown |= flags & SHUTDOWN_BOTH;
        if self.guest_shutdown & SHUTDOWN_RCV != 0 && !self.ended {
            // The guest reads no more: the host's writers see a broken pipe. The guest needs no word of it.
            let _ = self.stream.shutdown(Shutdown::Read);
            self.ended = true;
            self.told |= SHUTDOWN_SEND;
        }
        self.flush()
    }

    /// Writes as much of the backlog as the socket takes, then passes the guest's end of data on.
    fn flush(&mut self) -> Fate {
        while !self.backlog.is_empty() && self.writable {
            let result = self.backlog.write_to(&self.stream);
            self.took(result);
        }
        if !self.backlog.is_empty() {
            return Fate::Keep;
        }
        if self.phase == Phase::Draining {
            return Fate::Gone;
        }
        if self.guest_shutdown == SHUTDOWN_BOTH {
            return Fate::Reset;
        }
        // Once: the socket reports each call as a change of its state.
        if self.guest_shutdown & SHUTDOWN_SEND != 0 && !self.finished {
            self.finished = true;
            let _ = self.stream.shutdown(Shutdown::Write);
        }
        Fate::Keep
    }

    /// Notes what the socket did with bytes of the guest.
    fn took(&mut self, result: io::Result<usize>) {
        match result {
            Ok(count) => self.credit.forwarded(count),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.writable = false,
            Err(_) => self.refuse(),
        }
    }

    /// Nobody reads what the guest sends: its bytes are dropped, so that it never waits for credit.
    fn refuse(&mut self) {
        self.refused = true;
        self.backlog.clear();
        self.credit.forwarded_all();
    }

    fn owes_credit(&self) -> bool {
        self.owed.credit || self.credit.is_due()
    }

    /// Shutdown flags that the guest has not been told.
    fn untold(&self) -> u32 {
        let send = if self.ended { SHUTDOWN_SEND } else { 0 };
        let receive = if self.refused { SHUTDOWN_RCV } else { 0 };
        (send | receive) & !self.told
    }

    /// Whether [`Self::next_packet`] may have a packet.
    pub(super) fn has_packet(&self) -> bool {
        match self.phase {
            Phase::Requested { .. } => self.owed.request,
            Phase::Open => {
                let data = self.readable && !self.ended && self.credit.to_guest() > 0;
                self.owed.response || self.owes_credit() || data || self.untold() != 0
            }
            Phase::Held { .. } | Phase::Draining => false,
        }
    }

    /// The next packet for the guest, its data written to the front of `data`.
    pub(super) fn next_packet(&mut self, data: &mut Buffers<'_>) -> Option<Header> {
        match self.phase {
            Phase::Requested { .. } if self.owed.request => {
                self.owed.request = false;
                return Some(self.header(op::REQUEST, 0, 0));
            }
            Phase::Open => {}
            _ => return None,
        }
        if self.owed.response {
            self.owed.response = false;
            return Some(self.header(op::RESPONSE, 0, 0));
        }
        if let Some(len) = self.read(data) {
            self.credit.sent(len);
            return Some(self.header(op::RW, 0, len));
        }
        let untold = self.untold();
        if untold != 0 {
            self.told |= untold;
            return Some(self.header(op::SHUTDOWN, self.told, 0));
        }
        self.owes_credit().then(|| self.header(op::CREDIT_UPDATE, 0, 0))
    }

    /// Reads from the socket what buffers and credit allow; `None` where nothing came.
    fn read(&mut self, data: &mut Buffers<'_>) -> Option<u32> {
        let limit = self.credit.to_guest().min(MAX_PACKET).min(data.len());
        while self.readable && !self.ended && limit > 0 {
            match data.take_front(limit).read_from_stream(self.stream.as_fd()) {
                Ok(0) => self.ended = true,
                Ok(count) => return u32::try_from(count).ok(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.readable = false,
                Err(_) => self.ended = true,
            }
        }
        None
    }

    fn header(&mut self, op: u16, flags: u32, len: u32) -> Header {
        self.owed.credit = false;
        Header {
            src_cid: spec::vsock::HOST_CID,
            dst_cid: spec::vsock::GUEST_CID,
            src_port: self.key.host_port,
            dst_port: self.key.guest_port,
            len,
            kind: STREAM,
            op,
            flags,
            buf_alloc: BUF_ALLOC,
            fwd_cnt: self.credit.advertise(),
        }
    }
}
