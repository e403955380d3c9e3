//! The socket device (virtio 1.3, section 5.10), in user space: every vsock connection is a Unix stream socket on
//! the host, so that file permissions guard it.
//!
//! A connection to one of the listeners goes to its guest port; the guest may connect only to the host ports that
//! were handed in, once each. What the host has connected before the guest listened is asked for again when the guest
//! connects, and from time to time.

mod backlog;
mod connection;
mod credit;
mod header;
mod muxer;
mod table;

use std::collections::HashMap;
use std::io;
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::{Duration, Instant};

use vmm_sys_util::epoll::EventSet;
use vmm_sys_util::timerfd::TimerFd;

use crate::event_loop::Sources;
use crate::memory::GuestMemory;
use crate::virtio::{ActivationContext, Buffers, Chain, DeviceError, VirtioDevice, Virtqueue};
use header::Header;
use muxer::{LISTENER, Muxer};

/// Queue indices (virtio 1.3, section 5.10.2). The event queue stays empty: no transport reset ever happens.
const RX: usize = 0;
const TX: usize = 1;

/// The event token of the retry timer.
const TIMER: u32 = 1 << 21;
/// Time between two tries to connect to a guest that does not listen yet.
const RETRY: Duration = Duration::from_millis(10);

/// How long a connection to a guest port waits for the guest to listen.
const HOLD: Duration = Duration::from_secs(60);

/// What a vsock device connects.
pub struct VsockConfig {
    listeners: Vec<(UnixListener, u32)>,
    host_ports: HashMap<u32, UnixStream>,
    hold: Duration,
    timer: TimerFd,
}

impl VsockConfig {
    /// `listeners` are sockets on the host, each with the guest port that its connections go to. `host_ports` are
    /// the only ports that the guest may connect to, once each, with the socket it gets. All are put into
    /// non-blocking mode.
    ///
    /// # Errors
    /// A descriptor refuses non-blocking mode, or the kernel a timer.
    pub fn new(listeners: Vec<(UnixListener, u32)>, host_ports: Vec<(u32, UnixStream)>) -> io::Result<Self> {
        listeners.iter().try_for_each(|(listener, _)| listener.set_nonblocking(true))?;
        host_ports.iter().try_for_each(|(_, stream)| stream.set_nonblocking(true))?;
        let timer = TimerFd::new()?;
        Ok(Self { listeners, host_ports: host_ports.into_iter().collect(), hold: HOLD, timer })
    }
}

/// A vsock device.
pub struct Vsock {
    muxer: Muxer,
    timer: TimerFd,
    timer_runs: bool,
    active: Option<Active>,
}

struct Active {
    memory: GuestMemory,
    queues: Vec<Virtqueue>,
    sources: Sources,
}

impl Vsock {
    /// A device that connects what `config` says.
    #[must_use]
    pub fn new(config: VsockConfig) -> Self {
        let VsockConfig { listeners, host_ports, hold, timer } = config;
        Self { muxer: Muxer::new(listeners, host_ports, hold), timer, timer_runs: false, active: None }
    }

    /// Gives the guest what is there for it, into the buffers it has given, and keeps the timer in step.
    fn pump(&mut self) -> Result<(), DeviceError> {
        let Some(active) = &mut self.active else { return Ok(()) };
        let stuck = !self.muxer.can_receive();
        active.send(&mut self.muxer)?;
        if stuck && self.muxer.can_receive() {
            active.queues[TX].kick_again()?;
        }
        self.set_timer(self.muxer.is_connecting())
    }

    fn set_timer(&mut self, wanted: bool) -> Result<(), DeviceError> {
        if wanted == self.timer_runs {
            return Ok(());
        }
        self.timer_runs = wanted;
        let result = if wanted { self.timer.reset(RETRY, None) } else { self.timer.clear() };
        result.map_err(|error| DeviceError::Wait { what: "the retry timer", source: error.into() })
    }
}

impl VirtioDevice for Vsock {
    fn device_type(&self) -> u32 {
        19
    }

    fn features(&self) -> u64 {
        0
    }

    fn config(&self) -> Vec<u8> {
        spec::vsock::GUEST_CID.to_le_bytes().to_vec()
    }

    fn queue_sizes(&self) -> &'static [u16] {
        &[256, 256, 16]
    }

    fn activate(&mut self, context: ActivationContext) -> Result<(), DeviceError> {
        let ActivationContext { memory, queues, sources, .. } = context;
        if queues.len() != self.queue_sizes().len() {
            return Err(DeviceError::QueueMissing(queues.len()));
        }
        sources
            .add(&self.timer, EventSet::IN | EventSet::EDGE_TRIGGERED, TIMER)
            .map_err(|source| DeviceError::Wait { what: "the retry timer", source })?;
        self.active = Some(Active { memory, queues, sources: sources.clone() });
        self.muxer.start(sources)
    }

    fn kicked(&mut self, queue: usize) -> Result<(), DeviceError> {
        if let (Some(Active { memory, queues, .. }), TX) = (&mut self.active, queue) {
            let queue = &mut queues[TX];
            let max_len = queue.size();
            let muxer = &mut self.muxer;
            queue.drain(memory, |descriptors| {
                if !muxer.can_receive() {
                    return None;
                }
                if let Ok(Chain { mut readable, .. }) = Chain::parse(memory, descriptors, max_len)
                    && let Some(header) = readable.read_array()
                {
                    muxer.receive(&Header::decode(&header), readable);
                }
                Some(0)
            })?;
        }
        self.pump()
    }

    fn ready(&mut self, token: u32, events: EventSet) -> Result<(), DeviceError> {
        if token == TIMER {
            // Not read but armed anew: a read would block where the timer was stopped meanwhile.
            self.timer_runs = false;
            self.muxer.tick(Instant::now());
        } else if token >= LISTENER {
            self.muxer.accept((token - LISTENER) as usize);
        } else {
            self.muxer.socket_ready(token, events);
        }
        self.pump()
    }

    fn reset(&mut self) {
        self.muxer.stop();
        if let Some(active) = self.active.take() {
            active.sources.remove(&self.timer);
        }
        self.timer_runs = false;
    }
}

impl Active {
    /// Fills receive buffers with packets, at most as many as the queue holds.
    fn send(&mut self, muxer: &mut Muxer) -> Result<(), DeviceError> {
        let queue = &mut self.queues[RX];
        let memory = &self.memory;
        let max_len = queue.size();
        let mut turns = 0;
        let mut used = false;
        while muxer.has_packet() {
            if turns == max_len {
                queue.kick_again()?;
                break;
            }
            turns += 1;
            let Some(descriptors) = queue.pop(memory)? else {
                if queue.enable_kicks(memory)? {
                    continue;
                }
                break;
            };
            let head = descriptors.head_index();
            let buffer = Chain::parse(memory, descriptors, max_len).ok().and_then(split_buffer);
            let Some((mut header_part, mut data)) = buffer else {
                queue.push_used(memory, head, 0)?;
                used = true;
                continue;
            };
            match muxer.next_packet(&mut data) {
                Some(header) => {
                    header_part.write(&header.encode());
                    let header_len = u32::try_from(header::LEN).unwrap_or(0);
                    queue.push_used(memory, head, header_len + header.len)?;
                    used = true;
                }
                None => queue.unpop(),
            }
        }
        if used { queue.notify(memory) } else { Ok(()) }
    }
}

/// The header's and the data's part of a receive buffer, which must have both.
fn split_buffer(mut chain: Chain<'_>) -> Option<(Buffers<'_>, Buffers<'_>)> {
    let header = chain.writable.take_front(header::LEN);
    (chain.readable.is_empty() && !chain.writable.is_empty()).then_some((header, chain.writable))
}

#[cfg(test)]
mod tests;
