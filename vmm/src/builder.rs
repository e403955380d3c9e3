//! The boot recipe: from a [`VmConfig`] to a [`Vm`] whose first vCPU stands at the kernel's entry point.
//!
//! Reads top to bottom in [`Vm::build`]. Nothing of the guest runs here.

use std::fs::File;
use std::sync::Arc;
use std::{io, mem};

use kvm_ioctls::VmFd;
use vm_memory::GuestMemoryError;
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use crate::boot::cmdline::{self, CommandLineError};
use crate::boot::initrd::{self, InitrdError};
use crate::boot::kernel::{self, KernelError, low_memory_end};
use crate::boot::mp_table::CpuIdentity;
use crate::boot::{long_mode, mp_table, params};
use crate::bus::{MmioBus, Slot};
use crate::config::{MAX_VCPUS, VmConfig};
use crate::cpu::cpuid::{self, CpuidError};
use crate::devices::block::{Block, DiskConfig};
use crate::devices::console::{Console, ConsoleConfig};
use crate::devices::fs::{BackendError, Fs, FsConfig};
use crate::devices::net::{Cable, Net, NetConfig, TapError};
use crate::devices::rng::Rng;
use crate::devices::vsock::{Vsock, VsockConfig};
use crate::disposal::Disposal;
use crate::early_console::EarlyConsole;
use crate::event_loop::{DeviceHandle, EventLoop};
use crate::exit::End;
use crate::host::{self, HostError};
use crate::kvm::{self, KvmError};
use crate::memory::{self, GuestMemory, MemoryError};
use crate::ports::Ports;
use crate::seccomp::{Filters, Role, SeccompError};
use crate::snp::{self, PrivateMemory, SnpError};
use crate::timeline::{Phase, Timeline};
use crate::vcpu::{Machine, Vcpu, VcpuError};
use crate::virtio::{MmioTransport, TransportError, VirtioDevice};
use crate::vm::{LoopThread, NetPort, Vm};

/// A virtual machine cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The host cannot run any.
    #[error("this host cannot run virtual machines")]
    Host(#[from] HostError),
    /// Too many vCPUs, or none.
    #[error("{vcpus} vCPUs are not within 1 to {MAX_VCPUS}")]
    Vcpus {
        /// vCPUs asked for.
        vcpus: u8,
    },
    /// Guest memory.
    #[error("cannot make guest memory")]
    Memory(#[from] MemoryError),
    /// KVM.
    #[error("cannot set up KVM")]
    Kvm(#[from] KvmError),
    /// The kernel.
    #[error("cannot load the kernel")]
    Kernel(#[from] KernelError),
    /// The initramfs.
    #[error("cannot load the initramfs")]
    Initrd(#[from] InitrdError),
    /// The command line.
    #[error("cannot make the kernel command line")]
    CommandLine(#[from] CommandLineError),
    /// Page tables, boot parameters or MP table.
    #[error("cannot write {what} to guest memory")]
    Write {
        /// The structure.
        what: &'static str,
        /// Why.
        #[source]
        source: GuestMemoryError,
    },
    /// CPUID.
    #[error("cannot describe the vCPUs")]
    Cpuid(#[from] CpuidError),
    /// A vCPU.
    #[error("cannot set up vCPU {vcpu}")]
    Vcpu {
        /// The local APIC id.
        vcpu: u8,
        /// Why.
        #[source]
        source: VcpuError,
    },
    /// The frequency of the TSC.
    #[error("cannot get the frequency of the guest's clock")]
    TscFrequency(#[source] kvm_ioctls::Error),
    /// The interrupt lines are used up.
    #[error("no interrupt line is left for another device")]
    TooManyDevices,
    /// An event loop or an eventfd.
    #[error("cannot make an event loop or its events")]
    Events(#[source] io::Error),
    /// A device's transport.
    #[error("cannot attach a device")]
    Transport(#[from] TransportError),
    /// A share.
    #[error("cannot attach the share {tag}")]
    Share {
        /// Its tag.
        tag: String,
        /// Why.
        #[source]
        source: BackendError,
    },
    /// A tap.
    #[error("cannot use the tap of network device {index}")]
    Tap {
        /// The device's index.
        index: usize,
        /// Why.
        #[source]
        source: TapError,
    },
    /// What the machine is let go of with.
    #[error("cannot prepare the end of the virtual machine")]
    Disposal(#[source] io::Error),
    /// System call filters.
    #[error("cannot make the system call filters")]
    Seccomp(#[from] SeccompError),
    /// A step of an SNP guest's launch.
    #[error("cannot launch the SNP guest")]
    Snp(#[from] SnpError),
}

impl Vm {
    /// Builds a virtual machine; [`Vm::run`] starts it.
    ///
    /// # Errors
    /// See [`BuildError`]; nothing is left behind. On a host whose KVM is kvm_pvm: [`HostError::Pvm`].
    pub fn build(mut config: VmConfig) -> Result<Self, BuildError> {
        if !(1..=MAX_VCPUS).contains(&config.vcpus) {
            return Err(BuildError::Vcpus { vcpus: config.vcpus });
        }
        if let Some(snp) = config.snp.take() {
            return snp::build(config, &snp);
        }
        let timeline = Timeline::new(config.origin);
        let ranges = memory::ranges(config.memory_mib)?;
        // The thread of stdio is the caller's.
        let has_nets = !config.nets.is_empty() || config.spare_nets > 0;
        let unused = [Role::Stdio, Role::PrivateVcpu, Role::Net];
        let filters = Filters::compile(config.seccomp, if has_nets { &unused[..2] } else { &unused })?;

        let kvm = host::check()?;
        let vm = kvm::create_vm(&kvm, config.vcpus)?;
        let memory = memory::allocate(config.memory_mib)?;
        kvm::set_memory(&vm, &memory)?;
        timeline.phase(Phase::Created);

        let mut devices = Devices::new(&vm, &memory);
        devices.attach_disks(config.disks)?;
        devices.attach_nets(config.nets)?;
        devices.attach_vsock(config.vsock)?;
        devices.attach_console(config.console)?;
        devices.attach_rng(config.rng)?;
        timeline.phase(Phase::Attached);

        let kernel = kernel::load(&memory, &config.kernel)?;
        timeline.phase(Phase::Kernel);
        let initrd = initrd::load(&memory, kernel.end, &config.initrd)?;
        memory::huge_pages::allow(&memory, initrd.map_or(low_memory_end(&memory), |initrd| initrd.address));
        timeline.phase(Phase::Initramfs);
        timeline.placed(kernel.placed, initrd.map(|initrd| initrd.placed).unwrap_or_default());
        // Last, because their processes start meanwhile.
        devices.attach_shares(config.shares)?;
        devices.attach_spare_nets(config.spare_nets, config.spare_queues)?;
        let line = cmdline::compose(config.log_level, &devices.slots, &config.cmdline_extra)?;
        cmdline::write(&memory, &line)?;
        let write = |what| move |source| BuildError::Write { what, source };
        params::write(&memory, &ranges, &line, initrd).map_err(write("boot parameters"))?;
        long_mode::write_tables(&memory).map_err(write("page tables"))?;

        let vcpus = create_vcpus(&vm, config.vcpus)?;
        let tsc_khz = vcpus[0].tsc_khz().map_err(BuildError::TscFrequency)?;
        let cpuid = cpuid::for_guest(&kvm::supported_cpuid(&kvm)?, config.vcpus, tsc_khz);
        let identity = cpuid::find(&cpuid, 1).map_or(CpuIdentity { signature: 0, features: 0 }, |leaf| {
            CpuIdentity { signature: leaf.eax, features: leaf.edx }
        });
        mp_table::write(&memory, config.vcpus, identity).map_err(write("the MP table"))?;
        for vcpu in &vcpus {
            let table = cpuid::for_vcpu(&cpuid, vcpu.id())?;
            vcpu.set_up(&table).map_err(|source| BuildError::Vcpu { vcpu: vcpu.id(), source })?;
        }
        vcpus[0].set_boot_registers(kernel.entry).map_err(|source| BuildError::Vcpu { vcpu: 0, source })?;

        let devices = devices.attached();
        Finish { vcpus, devices, private: None, timeline, filters, vm, memory }.vm(config.early_console)
    }
}

/// What a machine is made of when all of it is there.
pub(crate) struct Finish {
    pub(crate) vcpus: Vec<Vcpu>,
    pub(crate) devices: Attached,
    pub(crate) private: Option<PrivateMemory>,
    pub(crate) timeline: Timeline,
    pub(crate) filters: Filters,
    pub(crate) vm: VmFd,
    pub(crate) memory: GuestMemory,
}

impl Finish {
    /// The machine. `console` is where the early console's output goes.
    pub(crate) fn vm(self, console: Option<File>) -> Result<Vm, BuildError> {
        let Self { vcpus, devices, private, timeline, filters, vm, memory } = self;
        let timeline = Arc::new(timeline);
        let ports = Ports::new(EarlyConsole::new(console), Arc::clone(&timeline));
        let end = Arc::new(End::default());
        let disposal = Disposal::new().map_err(BuildError::Disposal)?;
        let Attached { bus, loops, disks, nets } = devices;
        let machine = Arc::new(Machine { bus, ports, end: Arc::clone(&end), private });
        timeline.phase(Phase::Built);
        Ok(Vm {
            vcpus,
            loops,
            disks: disks.into(),
            machine,
            end,
            timeline,
            filters,
            vm,
            disposal,
            nets: nets.into(),
            memory,
        })
    }
}

pub(crate) fn create_vcpus(vm: &VmFd, count: u8) -> Result<Vec<Vcpu>, BuildError> {
    let create = |id| Vcpu::create(vm, id).map_err(|source| BuildError::Vcpu { vcpu: id, source });
    (0..count).map(create).collect()
}

/// Attaches all devices of a configuration, which offer `features` too.
pub(crate) fn attach_devices(
    vm: &VmFd,
    memory: &GuestMemory,
    config: &mut VmConfig,
    features: u64,
) -> Result<Attached, BuildError> {
    let mut devices = Devices { features, ..Devices::new(vm, memory) };
    devices.attach_disks(mem::take(&mut config.disks))?;
    devices.attach_nets(mem::take(&mut config.nets))?;
    devices.attach_vsock(config.vsock.take())?;
    devices.attach_console(config.console.take())?;
    devices.attach_rng(config.rng)?;
    devices.attach_shares(mem::take(&mut config.shares))?;
    devices.attach_spare_nets(config.spare_nets, config.spare_queues)?;
    Ok(devices.attached())
}

/// The devices when they are attached.
pub(crate) struct Attached {
    bus: MmioBus,
    loops: Vec<LoopThread>,
    disks: Vec<DeviceHandle>,
    nets: Vec<NetPort>,
}

/// The devices while they are attached.
struct Devices<'a> {
    vm: &'a VmFd,
    memory: &'a GuestMemory,
    /// What each offers beside its own features.
    features: u64,
    bus: MmioBus,
    slots: Vec<Slot>,
    loops: Vec<LoopThread>,
    /// The ways to the disks, in their order.
    disks: Vec<DeviceHandle>,
    /// The network devices.
    nets: Vec<NetPort>,
}

impl<'a> Devices<'a> {
    fn new(vm: &'a VmFd, memory: &'a GuestMemory) -> Self {
        Self {
            vm,
            memory,
            features: 0,
            bus: MmioBus::default(),
            slots: Vec::new(),
            loops: Vec::new(),
            disks: Vec::new(),
            nets: Vec::new(),
        }
    }

    fn attached(self) -> Attached {
        Attached { bus: self.bus, loops: self.loops, disks: self.disks, nets: self.nets }
    }

    /// Each disk blocks in its requests, so each has a thread.
    fn attach_disks(&mut self, disks: Vec<DiskConfig>) -> Result<(), BuildError> {
        for (index, disk) in disks.into_iter().enumerate() {
            let mut events = EventLoop::new().map_err(BuildError::Events)?;
            let device = Block::new(disk).map_err(BuildError::Events)?;
            let handle = self.attach(Box::new(device), &mut events)?;
            self.disks.push(handle);
            self.loops.push(LoopThread { name: format!("disk{index}"), role: Role::Disk, events });
        }
        Ok(())
    }

    /// They copy for their processes, and wait for them when they are reset: one thread for all.
    fn attach_shares(&mut self, shares: Vec<FsConfig>) -> Result<(), BuildError> {
        if shares.is_empty() {
            return Ok(());
        }
        let mut events = EventLoop::new().map_err(BuildError::Events)?;
        for share in shares {
            let tag = share.tag.clone();
            let device = Fs::connect(share);
            let device = device.map_err(|source| BuildError::Share { tag, source })?;
            self.attach(Box::new(device), &mut events)?;
        }
        self.loops.push(LoopThread { name: "shares".to_owned(), role: Role::EventLoop, events });
        Ok(())
    }

    /// Each has a thread, so that the guest's traffic does not hold up its standard output.
    fn attach_nets(&mut self, nets: Vec<NetConfig>) -> Result<(), BuildError> {
        for (index, net) in nets.into_iter().enumerate() {
            let cable = Cable::of(&net).map_err(BuildError::Events)?;
            let net = Net::new(net, cable.clone()).map_err(|source| BuildError::Tap { index, source })?;
            let mut events = EventLoop::new().map_err(BuildError::Events)?;
            self.attach_net(net, cable, &mut events)?;
            self.loops.push(LoopThread { name: format!("net{index}"), role: Role::Net, events });
        }
        Ok(())
    }

    /// They share the thread of the last one that is connected: most are never used. Last of all, where there is place.
    fn attach_spare_nets(&mut self, count: usize, queues: usize) -> Result<(), BuildError> {
        if count == 0 {
            return Ok(());
        }
        let mut thread = match self.loops.iter().rposition(|thread| thread.role == Role::Net) {
            Some(index) => self.loops.swap_remove(index),
            None => LoopThread {
                name: "net".to_owned(),
                role: Role::Net,
                events: EventLoop::new().map_err(BuildError::Events)?,
            },
        };
        for _ in 0..count {
            if self.bus.next_slot().is_none() {
                break;
            }
            let cable = Cable::default();
            self.attach_net(Net::unplugged(queues, cable.clone()), cable, &mut thread.events)?;
        }
        self.loops.push(thread);
        Ok(())
    }

    fn attach_net(&mut self, net: Net, cable: Cable, events: &mut EventLoop) -> Result<(), BuildError> {
        let slot = u32::try_from(self.slots.len()).unwrap_or(u32::MAX);
        let device = self.attach(Box::new(net), events)?;
        self.nets.push(NetPort { slot, device, cable });
        Ok(())
    }

    fn attach_vsock(&mut self, vsock: Option<VsockConfig>) -> Result<(), BuildError> {
        match vsock {
            Some(config) => self.attach_shared(Box::new(Vsock::new(config))),
            None => Ok(()),
        }
    }

    fn attach_console(&mut self, console: Option<ConsoleConfig>) -> Result<(), BuildError> {
        match console {
            Some(config) => self.attach_shared(Box::new(Console::new(config))),
            None => Ok(()),
        }
    }

    fn attach_rng(&mut self, rng: bool) -> Result<(), BuildError> {
        if rng { self.attach_shared(Box::new(Rng::default())) } else { Ok(()) }
    }

    /// Attaches a device that never blocks to the one loop of all such devices.
    fn attach_shared(&mut self, device: Box<dyn VirtioDevice>) -> Result<(), BuildError> {
        let mut shared = match self.loops.iter().position(|thread| thread.name == "devices") {
            Some(index) => self.loops.swap_remove(index),
            None => LoopThread {
                name: "devices".to_owned(),
                role: Role::EventLoop,
                events: EventLoop::new().map_err(BuildError::Events)?,
            },
        };
        self.attach(device, &mut shared.events)?;
        self.loops.push(shared);
        Ok(())
    }

    fn attach(
        &mut self,
        device: Box<dyn VirtioDevice>,
        events: &mut EventLoop,
    ) -> Result<DeviceHandle, BuildError> {
        let slot = self.bus.next_slot().ok_or(BuildError::TooManyDevices)?;
        let interrupt = EventFd::new(EFD_NONBLOCK).map_err(BuildError::Events)?;
        let line = interrupt.try_clone().map_err(BuildError::Events)?;
        let transport =
            MmioTransport::new(device, self.memory.clone(), line, events)?.offering(self.features);
        kvm::connect(self.vm, slot, &interrupt, transport.queue_events())?;
        let handle = transport.device().clone();
        self.bus.attach(Box::new(transport));
        self.slots.push(slot);
        Ok(handle)
    }
}
