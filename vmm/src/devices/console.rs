//! The console device (virtio 1.3, section 5.3) with one port, which Linux shows as `/dev/hvc0`.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use vmm_sys_util::epoll::EventSet;

use crate::event_loop::Sources;
use crate::memory::GuestMemory;
use crate::virtio::{ActivationContext, Chain, DeviceError, VirtioDevice, Virtqueue};

/// Queue indices (virtio 1.3, section 5.3.2).
const RX: usize = 0;
const TX: usize = 1;

/// Event tokens.
const INPUT: u32 = 0;
const OUTPUT: u32 = 1;

/// The most bytes of output in a turn of the event loop, which other devices share.
const MAX_OUTPUT: usize = 1 << 20;

/// What a console is connected to.
#[derive(Debug)]
pub struct ConsoleConfig {
    /// Where the guest's input comes from; read only when it has something. Linux loses what comes while its driver
    /// starts: speak after the guest has spoken.
    pub input: Option<OwnedFd>,
    /// Where the guest's output goes: a file, or a pipe, socket or terminal in non-blocking mode. While it takes
    /// nothing, the guest waits.
    pub output: OwnedFd,
}

/// A console.
pub struct Console {
    config: ConsoleConfig,
    /// The input has ended.
    ended: bool,
    active: Option<Active>,
}

struct Active {
    memory: GuestMemory,
    queues: Vec<Virtqueue>,
    sources: Sources,
    /// The input has something, or can never be waited for, as a regular file.
    input_ready: bool,
    input_waits: bool,
    /// Bytes of the first chain of the transmit queue that are written already.
    written: usize,
}

impl Console {
    /// A console between the guest and the descriptors of `config`.
    #[must_use]
    pub fn new(config: ConsoleConfig) -> Self {
        Self { config, ended: false, active: None }
    }

    fn transmit(&mut self) -> Result<(), DeviceError> {
        let Some(Active { memory, queues, written, .. }) = &mut self.active else { return Ok(()) };
        let queue = &mut queues[TX];
        let max_len = queue.size();
        let output = self.config.output.as_fd();
        let mut left = MAX_OUTPUT;
        queue.drain(memory, |descriptors| {
            let Ok(mut chain) = Chain::parse(memory, descriptors, max_len) else { return Some(0) };
            let _ = chain.readable.take_front(*written);
            let mut part = chain.readable.take_front(left);
            while !part.is_empty() {
                match part.write_to_stream(output) {
                    Ok(count) if count > 0 => (*written, left) = (*written + count, left - count),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
                    // Nobody reads: the output is dropped, so that the guest does not wait for ever.
                    _ => {
                        *written = 0;
                        return Some(0);
                    }
                }
            }
            if !chain.readable.is_empty() {
                return None;
            }
            *written = 0;
            Some(0)
        })?;
        if left == 0 { queue.kick_again() } else { Ok(()) }
    }

    fn receive(&mut self) -> Result<(), DeviceError> {
        let (Some(active), Some(input)) = (&mut self.active, &self.config.input) else { return Ok(()) };
        let Active { memory, queues, input_ready, .. } = active;
        let queue = &mut queues[RX];
        let max_len = queue.size();
        let ended = &mut self.ended;
        queue.drain(memory, |descriptors| {
            if !*input_ready || *ended {
                return None;
            }
            let Ok(mut chain) = Chain::parse(memory, descriptors, max_len) else { return Some(0) };
            if chain.writable.is_empty() {
                return Some(0);
            }
            // One read an event: the descriptor may be in blocking mode.
            *input_ready = false;
            match chain.writable.read_from_stream(input.as_fd()) {
                Ok(0) => *ended = true,
                Ok(count) => return u32::try_from(count).ok(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => {
                    log::warn!("cannot read the console's input: {error}");
                    *ended = true;
                }
            }
            None
        })?;
        self.wait_for_input()
    }

    /// Waits for the next input where none is known to be there; one event, so that a guest without buffers does
    /// not keep the loop busy.
    fn wait_for_input(&mut self) -> Result<(), DeviceError> {
        let (Some(active), Some(input)) = (&mut self.active, &self.config.input) else { return Ok(()) };
        if active.input_ready || self.ended {
            return Ok(());
        }
        let events = EventSet::IN | EventSet::ONE_SHOT;
        let result = if active.input_waits {
            active.sources.change(input, events, INPUT)
        } else {
            active.sources.add(input, events, INPUT)
        };
        match result {
            Ok(()) => active.input_waits = true,
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                active.input_ready = true;
                active.queues[RX].kick_again()?;
            }
            Err(source) => return Err(DeviceError::Wait { what: "the console's input", source }),
        }
        Ok(())
    }
}

impl VirtioDevice for Console {
    fn device_type(&self) -> u32 {
        3
    }

    fn features(&self) -> u64 {
        0
    }

    /// `struct virtio_console_config` (virtio 1.3, section 5.3.4), none of whose fields is negotiated.
    fn config(&self) -> Vec<u8> {
        vec![0; 12]
    }

    fn queue_sizes(&self) -> &'static [u16] {
        &[64, 64]
    }

    fn activate(&mut self, context: ActivationContext) -> Result<(), DeviceError> {
        let ActivationContext { memory, queues, sources, .. } = context;
        if queues.len() != self.queue_sizes().len() {
            return Err(DeviceError::QueueMissing(queues.len()));
        }
        match sources.add(&self.config.output, EventSet::OUT | EventSet::EDGE_TRIGGERED, OUTPUT) {
            Err(error) if error.kind() != io::ErrorKind::PermissionDenied => {
                return Err(DeviceError::Wait { what: "the console's output", source: error });
            }
            _ => {}
        }
        self.active =
            Some(Active { memory, queues, sources, input_ready: false, input_waits: false, written: 0 });
        self.wait_for_input()
    }

    fn kicked(&mut self, queue: usize) -> Result<(), DeviceError> {
        if queue == TX { self.transmit() } else { self.receive() }
    }

    fn ready(&mut self, token: u32, _events: EventSet) -> Result<(), DeviceError> {
        if token == OUTPUT {
            return self.transmit();
        }
        if let Some(active) = &mut self.active {
            active.input_ready = true;
        }
        self.receive()
    }

    fn reset(&mut self) {
        if let Some(active) = self.active.take() {
            active.sources.remove(&self.config.output);
            if let Some(input) = &self.config.input {
                active.sources.remove(input);
            }
        }
    }
}

#[cfg(test)]
mod tests;
