//! The loop that a thread runs for its devices: waits for kicks of virtqueues, for the devices' own descriptors
//! and for commands of the transports, and calls the devices' handlers.
//!
//! Made by `builder`: one for all devices and one a disk, whose handlers block on the disk. Devices live in
//! their loop, so they need no lock; a transport reaches its device only by [`DeviceHandle`].

use std::error::Error;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;

use vmm_sys_util::epoll::{ControlOperation, Epoll, EpollEvent, EventSet};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use crate::memory::GuestMemory;
use crate::virtio::config_space::ConfigSpace;
use crate::virtio::{ActivationContext, DeviceError, Interrupt, VirtioDevice, Virtqueue};

/// Events taken from the kernel at once.
const BATCH: usize = 64;
/// The epoll data of the command event.
const COMMANDS: u64 = u64::MAX;
/// Set in the low half of epoll data for the kick of a virtqueue; the high half is the device.
const KICK: u32 = 1 << 31;

/// An event loop and the devices that live in it.
pub struct EventLoop {
    epoll: Arc<Epoll>,
    slots: Vec<Slot>,
    commands: Receiver<Command>,
    remote: Remote,
}

struct Slot {
    device: Box<dyn VirtioDevice>,
    interrupt: Interrupt,
    config: ConfigSpace,
    active: bool,
}

enum Command {
    Activate { device: usize, memory: GuestMemory, queues: Vec<Virtqueue>, features: u64 },
    Reset { device: usize, done: Sender<()> },
    Measure { device: usize, done: Sender<io::Result<u64>> },
    Stop,
}

impl EventLoop {
    /// A loop without devices.
    ///
    /// # Errors
    /// The kernel refuses an epoll instance or an eventfd.
    pub fn new() -> io::Result<Self> {
        let (sender, commands) = mpsc::channel();
        let epoll = Epoll::new()?;
        let wake = EventFd::new(EFD_NONBLOCK)?;
        epoll.ctl(ControlOperation::Add, wake.as_raw_fd(), EpollEvent::new(EventSet::IN, COMMANDS))?;
        let remote = Remote { sender, wake: Arc::new(wake) };
        Ok(Self { epoll: Arc::new(epoll), slots: Vec::new(), commands, remote })
    }

    /// Adds a device, inactive at first. `kicks` are the notification events of its queues, which stay open elsewhere.
    ///
    /// # Errors
    /// A notification event cannot be waited for.
    pub fn add(
        &mut self,
        device: Box<dyn VirtioDevice>,
        kicks: &[EventFd],
        interrupt: Interrupt,
    ) -> io::Result<DeviceHandle> {
        let index = self.slots.len();
        let sources = Sources { epoll: Arc::clone(&self.epoll), device: index };
        for (queue, kick) in (0u32..).zip(kicks) {
            // Each write is told once, so that its count need not be read.
            let events = EventSet::IN | EventSet::EDGE_TRIGGERED;
            sources.control(ControlOperation::Add, kick, events, KICK | queue)?;
        }
        let config = ConfigSpace::of(device.as_ref());
        self.slots.push(Slot { device, interrupt, config: config.clone(), active: false });
        Ok(DeviceHandle { device: index, remote: self.remote.clone(), config })
    }

    /// A handle that ends [`Self::run`] from another thread.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        Stopper(self.remote.clone())
    }

    /// Runs until stopped.
    ///
    /// # Errors
    /// Waiting failed.
    pub fn run(mut self) -> io::Result<()> {
        while self.turn(-1)?.is_some() {}
        Ok(())
    }

    /// Waits up to `timeout` milliseconds, for ever where it is negative, and handles what came: answers how
    /// many events, or `None` when the loop was stopped.
    ///
    /// # Errors
    /// Waiting failed.
    pub fn turn(&mut self, timeout: i32) -> io::Result<Option<usize>> {
        let mut events = [EpollEvent::default(); BATCH];
        let count = match self.epoll.wait(timeout, &mut events) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
            result => result?,
        };
        for event in &events[..count] {
            if event.data() == COMMANDS {
                if !self.obey() {
                    return Ok(None);
                }
            } else {
                self.dispatch(event.data(), event.event_set());
            }
        }
        Ok(Some(count))
    }

    /// Handles the commands that wait; false on the command to stop.
    fn obey(&mut self) -> bool {
        let _ = self.remote.wake.read();
        while let Ok(command) = self.commands.try_recv() {
            match command {
                Command::Activate { device, memory, queues, features } => {
                    self.activate(device, memory, queues, features);
                }
                Command::Reset { device, done } => {
                    if let Some(slot) = self.slots.get_mut(device) {
                        slot.device.reset();
                        slot.active = false;
                    }
                    let _ = done.send(());
                }
                Command::Measure { device, done } => {
                    let slot = self.slots.get_mut(device);
                    let measured = slot.map_or_else(|| Err(io::ErrorKind::NotFound.into()), Slot::measure);
                    let _ = done.send(measured);
                }
                Command::Stop => return false,
            }
        }
        true
    }

    fn activate(&mut self, device: usize, memory: GuestMemory, queues: Vec<Virtqueue>, features: u64) {
        let sources = Sources { epoll: Arc::clone(&self.epoll), device };
        let Some(slot) = self.slots.get_mut(device) else { return };
        let interrupt = slot.interrupt.clone();
        let count = queues.len();
        slot.active = true;
        slot.handle(|device| {
            device.activate(ActivationContext { memory, queues, interrupt, sources, features })?;
            // A kick may have come, and been dropped, before the device was active.
            (0..count).try_for_each(|queue| device.kicked(queue))
        });
        // What the driver had read by then may have been other.
        if slot.active
            && slot.config.generation() != 0
            && let Err(error) = slot.interrupt.config_changed()
        {
            log::warn!("cannot signal the interrupt: {error}");
        }
    }

    fn dispatch(&mut self, data: u64, events: EventSet) {
        let [.., a, b, c, d] = data.to_be_bytes();
        let token = u32::from_be_bytes([a, b, c, d]);
        let Some(slot) = usize::try_from(data >> 32).ok().and_then(|index| self.slots.get_mut(index)) else {
            return;
        };
        if token & KICK != 0 {
            slot.handle(|device| device.kicked((token & !KICK) as usize));
        } else {
            slot.handle(|device| device.ready(token, events));
        }
    }
}

impl Slot {
    /// Has the device measure itself, and tells its driver where that came to something else.
    fn measure(&mut self) -> io::Result<u64> {
        let bytes = self.device.measure()?;
        let was = self.config.device_type();
        if self.config.refresh(self.device.as_ref()) && self.active {
            if self.config.device_type() == was && was != 0 {
                self.interrupt.config_changed()?;
            } else {
                // It is gone, under a driver that has not let go of it.
                self.device.reset();
                self.active = false;
                self.interrupt.device_needs_reset()?;
            }
        }
        Ok(bytes)
    }

    /// Calls an active device; one that fails waits for the driver's reset.
    fn handle(&mut self, call: impl FnOnce(&mut dyn VirtioDevice) -> Result<(), DeviceError>) {
        if !self.active {
            return;
        }
        if let Err(error) = call(self.device.as_mut()) {
            log::warn!("virtio device {} needs a reset: {}", self.device.device_type(), causes(&error));
            self.device.reset();
            self.active = false;
            if let Err(error) = self.interrupt.device_needs_reset() {
                log::warn!("cannot signal the interrupt: {error}");
            }
        }
    }
}

fn causes(error: &DeviceError) -> String {
    std::iter::successors(Some(error as &dyn Error), |error| (*error).source())
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}

/// Where a device adds descriptors to be told when they are ready.
#[derive(Clone)]
pub struct Sources {
    epoll: Arc<Epoll>,
    device: usize,
}

impl Sources {
    /// Waits for `events` of `fd`; the device is called with `token`, which is below 2^31.
    ///
    /// # Errors
    /// The descriptor cannot be waited for: `EPERM` for a regular file.
    pub fn add(&self, fd: &impl AsRawFd, events: EventSet, token: u32) -> io::Result<()> {
        self.control(ControlOperation::Add, fd, events, token & !KICK)
    }

    /// Waits for other events of a descriptor that was added, or again for one that was asked for one event.
    ///
    /// # Errors
    /// The descriptor was not added.
    pub fn change(&self, fd: &impl AsRawFd, events: EventSet, token: u32) -> io::Result<()> {
        self.control(ControlOperation::Modify, fd, events, token & !KICK)
    }

    /// Waits for it no more. One that is not waited for is left alone.
    pub fn remove(&self, fd: &impl AsRawFd) {
        let _ = self.control(ControlOperation::Delete, fd, EventSet::empty(), 0);
    }

    fn control(
        &self,
        operation: ControlOperation,
        fd: &impl AsRawFd,
        events: EventSet,
        token: u32,
    ) -> io::Result<()> {
        let data = (self.device as u64) << 32 | u64::from(token);
        self.epoll.ctl(operation, fd.as_raw_fd(), EpollEvent::new(events, data))
    }
}

#[derive(Clone)]
struct Remote {
    sender: Sender<Command>,
    wake: Arc<EventFd>,
}

impl Remote {
    /// Commands to a loop that has ended go nowhere: nothing runs that could obey.
    fn send(&self, command: Command) {
        if self.sender.send(command).is_ok() {
            let _ = self.wake.write(1);
        }
    }
}

/// Ends an event loop.
pub struct Stopper(Remote);

impl Stopper {
    /// Ends [`EventLoop::run`] soon; the devices are dropped with it.
    pub fn stop(&self) {
        self.0.send(Command::Stop);
    }
}

/// A way to a device: a transport's, and that of whoever changes what is behind it.
#[derive(Clone)]
pub struct DeviceHandle {
    device: usize,
    remote: Remote,
    config: ConfigSpace,
}

impl DeviceHandle {
    /// Hands the queues to the device, which starts soon after.
    pub fn activate(&self, memory: GuestMemory, queues: Vec<Virtqueue>, features: u64) {
        self.remote.send(Command::Activate { device: self.device, memory, queues, features });
    }

    /// The device's configuration space.
    pub(crate) fn config(&self) -> &ConfigSpace {
        &self.config
    }

    /// Has the device look at its disk's length, tells the driver where it changed, and answers it in bytes.
    ///
    /// # Errors
    /// `TimedOut` where the device is busy for longer than `patience`: it is done afterwards. `NotConnected` where the machine
    /// has ended. What the device says.
    pub fn measure(&self, patience: Duration) -> io::Result<u64> {
        let (done, wait) = mpsc::channel();
        self.remote.send(Command::Measure { device: self.device, done });
        wait.recv_timeout(patience).unwrap_or_else(|error| match error {
            mpsc::RecvTimeoutError::Timeout => Err(io::ErrorKind::TimedOut.into()),
            mpsc::RecvTimeoutError::Disconnected => Err(io::ErrorKind::NotConnected.into()),
        })
    }

    /// Resets the device and returns when it has let go of the queues.
    pub fn reset(&self) {
        let (done, wait) = mpsc::channel();
        self.remote.send(Command::Reset { device: self.device, done });
        // An error means that the loop has ended and the device with it.
        let _ = wait.recv();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::devices::rng::Rng;

    #[test]
    fn a_loop_serves_its_transports_until_it_is_stopped() {
        let mut event_loop = EventLoop::new().unwrap();
        let interrupt = Interrupt::new(EventFd::new(EFD_NONBLOCK).unwrap());
        let handle = event_loop.add(Box::new(Rng::new()), &[], interrupt).unwrap();
        let stopper = event_loop.stopper();
        let thread = std::thread::spawn(move || event_loop.run());
        handle.reset();
        stopper.stop();
        thread.join().unwrap().unwrap();
        // A vCPU that resets a device of a loop that has ended does not wait for ever.
        handle.reset();
        stopper.stop();
    }
}
