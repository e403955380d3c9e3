//! The vhost-user front end: what is agreed with a backend before the guest runs, and the queues that it is given then.
//!
//! Only requests without an answer are sent while the guest runs, but for the one that ends a queue: a backend that
//! hangs cannot hold its device's event loop for longer than [`PATIENCE`].

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use vhost::vhost_user::message::VhostUserProtocolFeatures;
use vhost::vhost_user::{Frontend, VhostUserFrontend as _, VhostUserVirtioFeatures};
use vhost::{VhostBackend as _, VhostUserMemoryRegionInfo, VringConfigData};
use vm_memory::{GuestAddress, GuestMemoryBackend as _};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use crate::memory::{GuestMemory, MemoryError};
use crate::virtio::{DeviceError, Rings, feature};

use super::arena::BLOCKS;

/// How long a backend may take to start and to make acquaintance.
const START: Duration = Duration::from_secs(60);

/// How long a backend may take to let go of a queue.
const PATIENCE: Duration = Duration::from_secs(5);

/// What of virtio's features every backend must have, and gets.
const NEEDED: u64 = feature::VERSION_1;

/// A backend cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// The tag is empty, too long or has a NUL.
    #[error("{tag:?} is no tag of a file system: 1 to {} bytes", super::MAX_TAG)]
    Tag {
        /// The tag.
        tag: String,
    },
    /// The socket's time limits cannot be set.
    #[error("cannot set the time limit of the process that serves the files")]
    TimeLimit(#[source] io::Error),
    /// It does not answer, or not as the protocol has it.
    #[error("the process that serves the files fails at {request}")]
    Request {
        /// What it was asked.
        request: &'static str,
        /// Why.
        #[source]
        source: vhost::Error,
    },
    /// It lacks what the device needs.
    #[error("the process that serves the files lacks {lacking}")]
    Lacking {
        /// What.
        lacking: &'static str,
    },
    /// The memory for requests.
    #[error("cannot make the memory that the process which serves the files has too")]
    Arena(#[source] MemoryError),
    /// It cannot be passed on.
    #[error("cannot pass on the memory for the process that serves the files")]
    PassMemory(#[source] vhost::Error),
    /// An eventfd.
    #[error("cannot make the events of the process that serves the files")]
    Events(#[source] io::Error),
}

/// The events of a queue.
pub(super) struct Doors {
    /// To the backend: there are requests.
    pub(super) kick: EventFd,
    /// From it: there are answers.
    pub(super) call: EventFd,
}

impl Doors {
    pub(super) fn new() -> Result<Self, BackendError> {
        let event = || EventFd::new(EFD_NONBLOCK).map_err(BackendError::Events);
        Ok(Self { kick: event()?, call: event()? })
    }
}

/// A vhost-user backend.
pub(super) struct Backend {
    frontend: Frontend,
    queues: usize,
}

impl Backend {
    /// Agrees on features and gives it `memory`. It may take its time to start: requests wait in the socket.
    pub(super) fn connect(
        stream: UnixStream,
        memory: &GuestMemory,
        queues: usize,
    ) -> Result<Self, BackendError> {
        let limits = stream.try_clone().map_err(BackendError::TimeLimit)?;
        let limit =
            |time| limits.set_read_timeout(Some(time)).and_then(|()| limits.set_write_timeout(Some(time)));
        limit(START).map_err(BackendError::TimeLimit)?;
        let failed = |request| move |source| BackendError::Request { request, source };
        let mut frontend = Frontend::from_stream(stream, queues as u64);
        let features = frontend.get_features().map_err(failed("GET_FEATURES"))?;
        let protocol = VhostUserVirtioFeatures::PROTOCOL_FEATURES.bits();
        if features & NEEDED != NEEDED {
            return Err(BackendError::Lacking { lacking: "features of virtio 1" });
        }
        if features & protocol == 0 {
            return Err(BackendError::Lacking { lacking: "protocol features" });
        }
        let offered = frontend.get_protocol_features().map_err(failed("GET_PROTOCOL_FEATURES"))?;
        if !offered.contains(VhostUserProtocolFeatures::MQ) {
            return Err(BackendError::Lacking { lacking: "several queues" });
        }
        frontend
            .set_protocol_features(VhostUserProtocolFeatures::MQ)
            .map_err(failed("SET_PROTOCOL_FEATURES"))?;
        if frontend.get_queue_num().map_err(failed("GET_QUEUE_NUM"))? < queues as u64 {
            return Err(BackendError::Lacking { lacking: "several queues" });
        }
        frontend.set_owner().map_err(failed("SET_OWNER"))?;
        let regions: Vec<_> = memory
            .iter()
            .map(VhostUserMemoryRegionInfo::from_guest_region)
            .collect::<Result<_, _>>()
            .map_err(BackendError::PassMemory)?;
        frontend.set_mem_table(&regions).map_err(failed("SET_MEM_TABLE"))?;
        limit(PATIENCE).map_err(BackendError::TimeLimit)?;
        Ok(Self { frontend, queues })
    }

    /// Has it serve the queues with these rings in `memory`, which have [`BLOCKS`] descriptors.
    pub(super) fn start(
        &mut self,
        memory: &GuestMemory,
        rings: &[Rings],
        doors: &[Doors],
    ) -> Result<(), DeviceError> {
        let features = NEEDED | VhostUserVirtioFeatures::PROTOCOL_FEATURES.bits();
        self.frontend.set_features(features).map_err(DeviceError::Backend)?;
        for (index, (rings, doors)) in rings.iter().zip(doors).enumerate().take(self.queues) {
            self.start_queue(memory, index, *rings, doors).map_err(DeviceError::Backend)?;
        }
        Ok(())
    }

    fn start_queue(
        &mut self,
        memory: &GuestMemory,
        index: usize,
        rings: Rings,
        doors: &Doors,
    ) -> Result<(), vhost::Error> {
        // The protocol has rings at addresses of this process, which the backend finds in its own by the memory table.
        let host = |address| {
            let found = memory.get_host_address(GuestAddress(address));
            found.map(|address| address as u64).map_err(|_| vhost::Error::InvalidGuestMemory)
        };
        let config = VringConfigData {
            queue_max_size: BLOCKS,
            queue_size: BLOCKS,
            flags: 0,
            desc_table_addr: host(rings.descriptors)?,
            used_ring_addr: host(rings.used)?,
            avail_ring_addr: host(rings.available)?,
            log_addr: None,
        };
        let frontend = &mut self.frontend;
        frontend.set_vring_num(index, BLOCKS)?;
        frontend.set_vring_base(index, 0)?;
        frontend.set_vring_addr(index, &config)?;
        frontend.set_vring_call(index, &doors.call)?;
        frontend.set_vring_kick(index, &doors.kick)?;
        frontend.set_vring_enable(index, true)
    }

    /// Takes the queues back: after the backend's answers it touches no ring. One that has gone has let go of them.
    pub(super) fn stop(&mut self) {
        for index in 0..self.queues {
            if let Err(error) = self.frontend.get_vring_base(index) {
                log::debug!("cannot take queue {index} back: {error}");
                return;
            }
        }
    }
}

impl AsRawFd for Backend {
    fn as_raw_fd(&self) -> RawFd {
        self.frontend.as_raw_fd()
    }
}
