//! A virtual machine that is ready to run, and the threads it runs on: one a vCPU, one for devices, one a disk.
//!
//! `kcradle run` builds one and calls [`Vm::run`], which returns when the guest has ended.

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use kvm_ioctls::VmFd;
use vmm_sys_util::signal::Killable;

use crate::devices::net::{Cable, NetConfig};
use crate::disposal::Disposal;
use crate::event_loop::{DeviceHandle, EventLoop, Stopper};
use crate::exit::{End, RunError, VmExit};
use crate::memory::GuestMemory;
use crate::program_pages::ProgramPages;
use crate::sandbox;
use crate::seccomp::{Filter, Filters, Role};
use crate::timeline::{Phase, Timeline};
use crate::vcpu::{self, Machine, Vcpu};

/// A machine that has run for so long has started, and the pages that starting took are given back.
const STARTED: Duration = Duration::from_secs(1);

/// The longest that a disk's requests are waited for.
const PATIENCE: Duration = Duration::from_secs(2);

/// A built virtual machine. Fields drop in this order, where it never runs: vCPUs and the machine before its memory.
pub struct Vm {
    pub(crate) vcpus: Vec<Vcpu>,
    pub(crate) loops: Vec<LoopThread>,
    pub(crate) disks: Arc<[DeviceHandle]>,
    pub(crate) machine: Arc<Machine>,
    pub(crate) end: Arc<End>,
    pub(crate) timeline: Arc<Timeline>,
    pub(crate) filters: Filters,
    pub(crate) vm: VmFd,
    pub(crate) disposal: Disposal,
    pub(crate) nets: Arc<[NetPort]>,
    pub(crate) memory: GuestMemory,
}

/// A network device and what it is connected to.
pub(crate) struct NetPort {
    /// Its position on the bus.
    pub(crate) slot: u32,
    pub(crate) device: DeviceHandle,
    pub(crate) cable: Cable,
}

/// An event loop and the thread it will have.
pub(crate) struct LoopThread {
    pub(crate) name: String,
    pub(crate) role: Role,
    pub(crate) events: EventLoop,
}

/// A virtual machine from outside: ends it, and tells its timeline. Clones speak of the same machine.
#[derive(Clone)]
pub struct VmHandle {
    end: Arc<End>,
    timeline: Arc<Timeline>,
    disks: Arc<[DeviceHandle]>,
    nets: Arc<[NetPort]>,
}

impl VmHandle {
    /// Ends the virtual machine at once, as if its power were cut; [`Vm::run`] returns [`VmExit::Killed`]. May be
    /// called at any time from any thread but not from a signal handler.
    pub fn kill(&self) {
        self.end.reach(Ok(VmExit::Killed));
    }

    /// Looks whether the file of the disk with that index has become longer, and has the guest told; answers its bytes. A disk
    /// never gets shorter.
    ///
    /// # Errors
    /// There is no such writable disk, its file cannot be measured, or it is busy for seconds.
    pub fn measure_disk(&self, index: usize) -> io::Result<u64> {
        self.disks.get(index).ok_or(io::ErrorKind::NotFound)?.measure(PATIENCE)
    }

    /// The positions on the bus of all network devices: those that were connected to something at the start come first.
    #[must_use]
    pub fn net_slots(&self) -> Vec<u32> {
        self.nets.iter().map(|net| net.slot).collect()
    }

    /// Connects the network device with that index to a tap. A driver finds it when it looks for it.
    ///
    /// # Errors
    /// There is no such device, it is connected, or the tap is none that it can have: it is as it was then.
    pub fn plug_net(&self, index: usize, config: NetConfig) -> io::Result<()> {
        let net = self.nets.get(index).ok_or(io::ErrorKind::NotFound)?;
        net.cable.plug(config)?;
        net.device.measure(PATIENCE).map(drop).inspect_err(|_| drop(net.cable.pull()))
    }

    /// Takes the tap from the network device with that index, and closes it. A driver that has not let go of the device is
    /// told to reset it, and finds none then.
    ///
    /// # Errors
    /// There is no such device, or it is busy for seconds: it loses its tap afterwards.
    pub fn unplug_net(&self, index: usize) -> io::Result<()> {
        let net = self.nets.get(index).ok_or(io::ErrorKind::NotFound)?;
        let taps = net.cable.pull();
        let done = net.device.measure(PATIENCE);
        // The last descriptors: with them goes the interface.
        drop(taps);
        done.map(drop)
    }

    /// The marks of the boot so far.
    #[must_use]
    pub fn timeline(&self) -> &Timeline {
        &self.timeline
    }
}

impl Vm {
    /// A handle for other threads.
    #[must_use]
    pub fn handle(&self) -> VmHandle {
        VmHandle {
            end: Arc::clone(&self.end),
            timeline: Arc::clone(&self.timeline),
            disks: Arc::clone(&self.disks),
            nets: Arc::clone(&self.nets),
        }
    }

    /// Runs the guest to its end.
    ///
    /// First gives up, for good, all capabilities of the calling thread and puts each thread, the calling one
    /// last, under its system call filter ([`Role::Main`]). What is to be opened must be open before. Guest memory stays
    /// mapped until the process ends.
    ///
    /// # Errors
    /// Where the guest did not end by itself or by [`VmHandle::kill`]; see [`RunError`].
    pub fn run(self) -> Result<VmExit, RunError> {
        let Self { vcpus, loops, machine, end, timeline, filters, vm, disposal, nets, memory, .. } = self;
        vcpu::install_stop_handler().map_err(RunError::SignalHandler)?;
        sandbox::drop_privileges()
            .map_err(|source| RunError::Sandbox { thread: "main".to_owned(), source })?;

        let mut threads = Threads::default();
        let started = threads.start(vcpus, loops, &machine, &filters, &timeline);
        let confined = started.and_then(|()| confine("main", &filters.of(Role::Main)));
        if let Err(error) = confined {
            end.reach(Err(error));
        }
        let outcome = end.wait_at_most(STARTED).unwrap_or_else(|| {
            ProgramPages::find().release();
            end.wait()
        });
        timeline.phase(Phase::Ended);
        threads.stop();
        machine.ports.flush();
        drop(machine);
        disposal.dispose(vm, nets.iter().flat_map(|net| net.cable.pull()).collect());
        // Unmapped here, each page would be taken from KVM first and from the process then; at its end both are one sweep.
        std::mem::forget(memory);
        timeline.phase(Phase::Joined);
        outcome
    }
}

/// The running threads.
#[derive(Default)]
struct Threads {
    vcpus: Vec<JoinHandle<()>>,
    loops: Vec<(Stopper, JoinHandle<()>)>,
}

impl Threads {
    fn start(
        &mut self,
        vcpus: Vec<Vcpu>,
        loops: Vec<LoopThread>,
        machine: &Arc<Machine>,
        filters: &Filters,
        timeline: &Arc<Timeline>,
    ) -> Result<(), RunError> {
        for LoopThread { name, role, events } in loops {
            let stopper = events.stopper();
            let run = move |name: &str| {
                events.run().map_err(|source| RunError::EventLoop { thread: name.to_owned(), source })
            };
            self.loops.push((stopper, spawn(name, filters.of(role), &machine.end, run)?));
        }
        timeline.phase(Phase::Started);
        let role = if machine.private.is_some() { Role::PrivateVcpu } else { Role::Vcpu };
        for vcpu in vcpus {
            let name = format!("vcpu{}", vcpu.id());
            let machine = Arc::clone(machine);
            let (end, timeline) = (Arc::clone(&machine.end), Arc::clone(timeline));
            let run = move |_: &str| {
                timeline.phase(Phase::Entered);
                vcpu.run(&machine);
                Ok(())
            };
            self.vcpus.push(spawn(name, filters.of(role), &end, run)?);
        }
        Ok(())
    }

    /// Ends all threads: the loops first, so that no vCPU waits for a device.
    fn stop(self) {
        for (stopper, _) in &self.loops {
            stopper.stop();
        }
        for vcpu in &self.vcpus {
            // A thread that has ended by itself needs no signal.
            let _ = vcpu.kill(vcpu::stop_signal());
        }
        for thread in self.vcpus.into_iter().chain(self.loops.into_iter().map(|(_, thread)| thread)) {
            // A panic was told to `End` already.
            let _ = thread.join();
        }
    }
}

/// Starts a thread that confines itself, then does its work; whatever goes wrong in it ends the machine.
fn spawn(
    name: String,
    filter: Filter,
    end: &Arc<End>,
    work: impl FnOnce(&str) -> Result<(), RunError> + Send + 'static,
) -> Result<JoinHandle<()>, RunError> {
    let guard = PanicGuard { thread: name.clone(), end: Arc::clone(end) };
    let body = move || {
        if let Err(error) = confine(&guard.thread, &filter).and_then(|()| work(&guard.thread)) {
            guard.end.reach(Err(error));
        }
    };
    thread::Builder::new()
        .name(name.clone())
        .spawn(body)
        .map_err(|source| RunError::Spawn { thread: name, source })
}

fn confine(thread: &str, filter: &Filter) -> Result<(), RunError> {
    filter.apply().map_err(|source| RunError::Sandbox { thread: thread.to_owned(), source: source.into() })
}

/// Tells the end of the machine where its thread panics.
struct PanicGuard {
    thread: String,
    end: Arc<End>,
}

impl Drop for PanicGuard {
    fn drop(&mut self) {
        if thread::panicking() {
            self.end.reach(Err(RunError::Panicked { thread: self.thread.clone() }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_panics_or_fails_ends_the_machine() {
        let end = Arc::new(End::default());
        let thread = spawn("bug".to_owned(), Filter::default(), &end, |_| panic!("on purpose")).unwrap();
        assert!(matches!(end.wait(), Err(RunError::Panicked { thread }) if thread == "bug"));
        assert!(thread.join().is_err());

        let end = Arc::new(End::default());
        let fail = |name: &str| {
            let source = std::io::ErrorKind::OutOfMemory.into();
            Err(RunError::EventLoop { thread: name.to_owned(), source })
        };
        spawn("disk0".to_owned(), Filter::default(), &end, fail).unwrap().join().unwrap();
        assert!(matches!(end.wait(), Err(RunError::EventLoop { thread, .. }) if thread == "disk0"));
    }
}
