//! The launch of an SNP guest, step by step (docs/snp.md, "The launcher"): from a [`VmConfig`] to a [`Vm`] whose memory and
//! registers the processor's firmware has measured. Reads top to bottom in [`build`]. Nothing of the guest runs here.

use std::fs::File;
use std::io::{self, Read as _, Seek as _};

use kvm_bindings::{
    KVM_CAP_EXIT_HYPERCALL, KVM_X86_SNP_VM, KVM_X86_SW_PROTECTED_VM, kvm_cpuid_entry2, kvm_enable_cap,
};
use kvm_ioctls::{Kvm, VmFd};
use snp_layout::layout::{C_BIT, MEMORY_MIB};
use snp_layout::{Inputs, Layout, LayoutError, PageKind, map};
use vm_memory::{Bytes, GuestAddress};

use super::firmware::Firmware;
use super::host::{self, MAP_GPA_RANGE};
use super::{Isolation, PrivateMemory, SnpConfig, SnpError, cpuid, registers};
use crate::boot::initrd::InitrdPart;
use crate::builder::{BuildError, Finish, attach_devices};
use crate::config::VmConfig;
use crate::cpu::cpuid as plain;
use crate::kvm;
use crate::memory::{self, GuestMemory};
use crate::seccomp::{Filters, Role};
use crate::timeline::{Phase, Timeline};
use crate::vcpu::Vcpu;
use crate::virtio::feature;
use crate::vm::Vm;

const PAGE: u64 = 4096;

/// Launches the guest that `config.snp` asks for.
pub(crate) fn build(mut config: VmConfig, snp: &SnpConfig) -> Result<Vm, BuildError> {
    let kvm = host::open(snp.isolation)?;
    if !snp.has_good_policy() {
        return Err(SnpError::Policy { policy: snp.policy }.into());
    }
    let timeline = Timeline::new(config.origin);
    let filters = Filters::compile(config.seccomp, &[Role::Stdio, Role::Vcpu])?;
    let kernel = read("kernel", &config.kernel)?;
    let initramfs = initramfs(&config.initrd)?;
    let inputs = Inputs {
        kernel: &kernel,
        initramfs: &initramfs,
        command_line: &snp.command_line,
        launch: &snp.launch,
        memory_mib: config.memory_mib,
        vcpus: config.vcpus,
        stub: &snp.stub,
        c_bit: c_bit(snp.isolation),
    };
    let layout = Layout::new(&inputs).map_err(SnpError::from)?;

    let vm = create_vm(&kvm, config.vcpus, snp.isolation)?;
    let firmware = match snp.isolation {
        Isolation::Processor => Some(Firmware::open(&vm)?),
        Isolation::Software => None,
    };
    firmware.as_ref().map_or(Ok(()), Firmware::init)?;
    let memory = allocate(&layout, config.memory_mib)?;
    let private = PrivateMemory::give(&kvm, &vm, &memory, map::STAGING, firmware.is_some())?;
    timeline.phase(Phase::Created);
    let devices = attach_devices(&vm, &memory, &mut config, feature::ACCESS_PLATFORM)?;
    timeline.phase(Phase::Attached);

    let (vcpus, table) = create_vcpus(&kvm, &vm, &layout, snp.isolation)?;
    match &firmware {
        Some(firmware) => {
            firmware.start(snp.policy)?;
            firmware.update(&layout.pages, &*cpuid::page(&table)?)?;
        }
        None => copy_pages(&memory, &layout)?,
    }
    verify_registers(&vcpus, &layout)?;
    if let Some(firmware) = &firmware {
        firmware.finish(layout.host_data, snp.id_block.as_ref())?;
    }
    timeline.phase(Phase::Kernel);
    stage(&memory, &layout)?;
    timeline.phase(Phase::Initramfs);

    drop(firmware);
    let private = Some(private);
    Finish { vcpus, devices, private, timeline, filters, vm, memory }.vm(config.early_console)
}

fn read(what: &'static str, mut file: &File) -> Result<Vec<u8>, SnpError> {
    let mut bytes = Vec::new();
    // More than can be staged is refused by the layout, by its length.
    let mut limited = |bytes: &mut Vec<u8>| -> io::Result<usize> {
        file.rewind()?;
        file.take(map::STAGING_SIZE + 1).read_to_end(bytes)
    };
    limited(&mut bytes).map_err(|source| SnpError::Read { what, source })?;
    Ok(bytes)
}

/// launch.json is not among its parts: the layout puts it behind the file.
fn initramfs(parts: &[InitrdPart]) -> Result<Vec<u8>, SnpError> {
    match parts {
        [InitrdPart::File(file)] => read("initramfs", file),
        _ => Err(SnpError::Initramfs),
    }
}

const fn c_bit(isolation: Isolation) -> u32 {
    match isolation {
        Isolation::Processor => C_BIT,
        Isolation::Software => 0,
    }
}

fn create_vm(kvm: &Kvm, vcpus: u8, isolation: Isolation) -> Result<VmFd, BuildError> {
    let kind = match isolation {
        Isolation::Processor => KVM_X86_SNP_VM,
        Isolation::Software => KVM_X86_SW_PROTECTED_VM,
    };
    kvm::check_vcpus(kvm, vcpus)?;
    let vm = loop {
        match kvm.create_vm_with_type(u64::from(kind)) {
            Err(error) if error.errno() == libc::EINTR => {}
            result => break result.map_err(SnpError::CreateVm)?,
        }
    };
    let mut cap = kvm_enable_cap { cap: KVM_CAP_EXIT_HYPERCALL, ..Default::default() };
    cap.args[0] = 1 << MAP_GPA_RANGE;
    vm.enable_cap(&cap).map_err(SnpError::PassHypercalls)?;
    kvm::prepare_vm(&vm)?;
    Ok(vm)
}

/// RAM, and the files that are staged between its two parts.
fn allocate(layout: &Layout<'_>, mib: u64) -> Result<GuestMemory, SnpError> {
    if !MEMORY_MIB.contains(&mib) {
        return Err(LayoutError::Memory { mib }.into());
    }
    let staged = layout.staged.iter().map(|file| file.gpa + file.bytes.len() as u64).max();
    let end = staged.unwrap_or(map::STAGING).next_multiple_of(PAGE).max(map::STAGING + PAGE);
    let mut ranges = memory::ranges(mib)?;
    ranges.insert(1, (map::STAGING, end - map::STAGING));
    Ok(memory::allocate_ranges(ranges)?)
}

/// All vCPUs, with the registers of the layout; and the first one's CPUID.
fn create_vcpus(
    kvm: &Kvm,
    vm: &VmFd,
    layout: &Layout<'_>,
    isolation: Isolation,
) -> Result<(Vec<Vcpu>, Vec<kvm_cpuid_entry2>), BuildError> {
    let vcpus = crate::builder::create_vcpus(vm, u8::try_from(layout.vcpus.len()).unwrap_or(u8::MAX))?;
    let tsc_khz = vcpus[0].tsc_khz().map_err(BuildError::TscFrequency)?;
    let supported = kvm::supported_cpuid(kvm)?;
    let mut shared = plain::for_guest(&supported, layout.vcpus.len().try_into().unwrap_or(u8::MAX), tsc_khz);
    if isolation == Isolation::Processor {
        cpuid::add_encryption(&mut shared, &supported, C_BIT)?;
    }
    for (vcpu, wanted) in vcpus.iter().zip(&layout.vcpus) {
        let failed = |source| BuildError::Vcpu { vcpu: vcpu.id(), source };
        vcpu.set_up(&plain::for_vcpu(&shared, vcpu.id())?).map_err(failed)?;
        registers::set(vcpu.fd(), wanted)
            .map_err(|source| failed(crate::vcpu::VcpuError::Registers(source)))?;
    }
    let first = plain::for_vcpu(&shared, 0)?;
    Ok((vcpus, first.as_slice().to_vec()))
}

/// Nothing is launched whose registers would be measured as others than were predicted.
fn verify_registers(vcpus: &[Vcpu], layout: &Layout<'_>) -> Result<(), SnpError> {
    for (vcpu, wanted) in vcpus.iter().zip(&layout.vcpus) {
        let id = vcpu.id();
        let mismatch = registers::mismatch(vcpu.fd(), wanted).map_err(|source| SnpError::Vcpu {
            vcpu: id,
            source: crate::vcpu::VcpuError::Registers(source),
        })?;
        if let Some(registers::Mismatch { register, found, expected }) = mismatch {
            return Err(SnpError::Register { vcpu: id, register, found, expected });
        }
    }
    Ok(())
}

/// Pages of a guest that nobody measures.
fn copy_pages(memory: &GuestMemory, layout: &Layout<'_>) -> Result<(), SnpError> {
    for page in &layout.pages {
        if let PageKind::Normal(bytes) = &page.kind {
            write(memory, page.gpa, &bytes[..])?;
        }
    }
    Ok(())
}

/// The files that the stub takes from shared memory.
fn stage(memory: &GuestMemory, layout: &Layout<'_>) -> Result<(), SnpError> {
    layout.staged.iter().try_for_each(|file| write(memory, file.gpa, file.bytes))
}

fn write(memory: &GuestMemory, gpa: u64, bytes: &[u8]) -> Result<(), SnpError> {
    memory.write_slice(bytes, GuestAddress(gpa)).map_err(|source| SnpError::Write { gpa, source })
}
