//! The virtual machine: memory full of what a host may leave there, the layout's pages and registers, and a handler of the
//! exception that stands for what the processor would do.
#![expect(unsafe_code, reason = "memory is handed to KVM")]

use kvm_bindings::{
    KVM_CAP_X86_USER_SPACE_MSR, Msrs, kvm_enable_cap, kvm_msr_entry, kvm_regs, kvm_segment,
    kvm_userspace_memory_region,
};
use kvm_ioctls::{
    Kvm, MsrExitReason, MsrFilterDefaultAction, MsrFilterRange, MsrFilterRangeFlags, VcpuExit, VcpuFd, VmFd,
};
use snp_layout::vcpu::Segment;
use snp_layout::{Layout, PageKind, Vcpu, map};
use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryMmap, GuestMemoryRegion};

use crate::guest::KERNEL_PORT;

/// Pages that the layout leaves alone: the table of exceptions, and the code behind it.
const TABLE: u64 = 0x3_8000;
const UNKNOWN_INSTRUCTION: u64 = 0x3_9000;

/// Where the handler asks.
const VALIDATE_PORT: u16 = 0x510;

/// The register that requests to the host are written to.
const GHCB: u32 = 0xc001_0130;

type Memory = GuestMemoryMmap<()>;

/// What the processor says of a page.
#[derive(Clone, Copy)]
pub(crate) enum Answer {
    Validated,
    /// CF is set.
    Unchanged,
    /// FAIL_SIZEMISMATCH in EAX.
    SizeMismatch,
}

/// How a run ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum End {
    Kernel { boot_params: u64 },
    Terminated { code: u8 },
}

pub(crate) struct Machine {
    vcpu: VcpuFd,
    // KVM has addresses of this memory for as long as there is the machine.
    _vm: VmFd,
    memory: Memory,
    /// The last staged file, which the machine has no memory for: the test is asked for its bytes, and so knows when the stub
    /// has come so far.
    last: (u64, Vec<u8>),
    /// Whether the files before it change when it is read.
    changes: bool,
}

impl Machine {
    pub(crate) fn new(layout: &Layout<'_>) -> Self {
        let kvm = Kvm::new().unwrap();
        let vm = kvm.create_vm().unwrap();
        let memory = memory(layout);
        for (slot, region) in (0..).zip(memory.iter()) {
            let region = kvm_userspace_memory_region {
                slot,
                guest_phys_addr: region.start_addr().0,
                memory_size: region.len(),
                userspace_addr: region.get_host_address(vm_memory::MemoryRegionAddress(0)).unwrap() as u64,
                flags: 0,
            };
            // SAFETY: the memory is kept until the machine has gone.
            unsafe { vm.set_user_memory_region(region) }.unwrap();
        }
        tell_of_requests(&vm);
        let vcpu = vm.create_vcpu(0).unwrap();
        vcpu.set_cpuid2(&kvm.get_supported_cpuid(kvm_bindings::KVM_MAX_CPUID_ENTRIES).unwrap()).unwrap();
        set_registers(&vcpu, &layout.vcpus[0]);
        let last = layout.staged[2];
        Self { vcpu, _vm: vm, memory, last: (last.gpa, last.bytes.to_vec()), changes: false }
    }

    /// Has the files that were copied change before the last one is.
    pub(crate) fn change_what_was_copied(&mut self) {
        self.changes = true;
    }

    /// Has the last file be another one.
    pub(crate) fn change_last(&mut self) {
        self.last.1[0] ^= 1;
    }

    pub(crate) fn read(&self, address: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.memory.read_slice(&mut bytes, GuestAddress(address)).unwrap();
        bytes
    }

    pub(crate) fn write(&mut self, address: u64, bytes: &[u8]) {
        self.memory.write_slice(bytes, GuestAddress(address)).unwrap();
    }

    /// Runs until the kernel or the end, and asks at each `PVALIDATE`.
    pub(crate) fn run(&mut self, mut validate: impl FnMut(u64) -> Answer) -> End {
        let mut answer = Answer::Validated;
        loop {
            match self.vcpu.run().unwrap() {
                VcpuExit::IoOut(VALIDATE_PORT, page) => {
                    let page = u32::from_le_bytes(page.try_into().unwrap());
                    answer = validate(u64::from(page));
                    self.assert_one_small_page();
                }
                VcpuExit::IoIn(VALIDATE_PORT, data) => data.copy_from_slice(&answer.word().to_le_bytes()),
                VcpuExit::MmioRead(address, data) => {
                    let (start, bytes) = &self.last;
                    let at = usize::try_from(address - start).unwrap();
                    data.copy_from_slice(&bytes[at..at + data.len()]);
                    if self.changes {
                        let staged = GuestAddress(map::STAGING);
                        self.memory
                            .write_slice(&vec![0xee; usize::try_from(start - map::STAGING).unwrap()], staged)
                            .unwrap();
                    }
                }
                VcpuExit::X86Wrmsr(write) => {
                    assert_eq!((write.index, write.data & 0xffff), (GHCB, 0xc100));
                    return End::Terminated { code: u8::try_from(write.data >> 16).unwrap() };
                }
                VcpuExit::IoOut(KERNEL_PORT, address) => {
                    let boot_params = u32::from_le_bytes(address.try_into().unwrap());
                    return End::Kernel { boot_params: u64::from(boot_params) };
                }
                exit => {
                    let exit = format!("{exit:?}");
                    panic!("{exit} with {:x?}", self.vcpu.get_regs());
                }
            }
        }
    }

    /// RCX asks for a page of 4 KiB, and RDX, which the handler has saved, that it is to be valid.
    fn assert_one_small_page(&self) {
        let regs = self.vcpu.get_regs().unwrap();
        let saved: u64 = self.memory.read_obj(GuestAddress(regs.rsp + 8)).unwrap();
        assert_eq!((regs.rcx, saved), (0, 1));
    }

    /// What the launcher does not set has to be what the VMSA of the layout says.
    pub(crate) fn assert_reset_state(&self) {
        let vmsa = Vcpu::new(0).vmsa();
        let word = |offset: usize| u64::from_le_bytes(vmsa[offset..offset + 8].try_into().unwrap());
        let sregs = self.vcpu.get_sregs().unwrap();
        assert_eq!((sregs.efer | 1 << 12, sregs.cr4 | 1 << 6), (word(0xd0), word(0x148)));
        assert_eq!((sregs.cr3, sregs.cr0), (word(0x150), word(0x158)));
        let regs = self.vcpu.get_regs().unwrap();
        assert_eq!(
            (regs.rflags, regs.rip, regs.rsp, regs.rdx),
            (word(0x170), word(0x178), word(0x1d8), word(0x310))
        );
        let debug = self.vcpu.get_debug_regs().unwrap();
        assert_eq!((debug.dr7, debug.dr6), (word(0x160), word(0x168)));
        let mut pat = Msrs::from_entries(&[kvm_msr_entry { index: 0x277, ..Default::default() }]).unwrap();
        assert_eq!(self.vcpu.get_msrs(&mut pat).unwrap(), 1);
        assert_eq!(pat.as_slice()[0].data, word(0x268));
        assert_eq!(self.vcpu.get_xcrs().unwrap().xcrs[0].value, word(0x3e8));
        // As FXSAVE has them: the x87 control word first, MXCSR at byte 24.
        let state = self.vcpu.get_xsave().unwrap().region;
        let expected = (word(0x408) & 0xffff_ffff, word(0x410) & 0xffff);
        assert_eq!((u64::from(state[6]), u64::from(state[0] & 0xffff)), expected);
    }
}

impl Answer {
    /// EAX in the low half, CF above.
    fn word(self) -> u32 {
        match self {
            Self::Validated => 0,
            Self::Unchanged => 1 << 16,
            Self::SizeMismatch => 6,
        }
    }
}

/// Noise in all of RAM, and over it what is launched and staged.
fn memory(layout: &Layout<'_>) -> Memory {
    let low = layout.ram[1].end;
    let regions = [
        (GuestAddress(0), usize::try_from(low).unwrap()),
        (GuestAddress(map::STAGING), usize::try_from(layout.staged[2].gpa - map::STAGING).unwrap()),
    ];
    let memory = Memory::from_ranges(&regions).unwrap();
    let noise = vec![0xa5; 1 << 20];
    (0..low).step_by(1 << 20).for_each(|at| memory.write_slice(&noise, GuestAddress(at)).unwrap());
    for page in &layout.pages {
        let bytes = if let PageKind::Normal(bytes) = &page.kind { **bytes } else { [0; 4096] };
        memory.write_slice(&bytes, GuestAddress(page.gpa)).unwrap();
    }
    for staged in &layout.staged[..2] {
        memory.write_slice(staged.bytes, GuestAddress(staged.gpa)).unwrap();
    }
    write_handlers(&memory);
    memory
}

fn write_handlers(memory: &Memory) {
    let write = |bytes: &[u8], at: u64| memory.write_slice(bytes, GuestAddress(at)).unwrap();
    write(&[0; 4096], TABLE);
    // A gate of 64 bits: low half of the offset, code selector, present interrupt gate.
    let low = (UNKNOWN_INSTRUCTION & 0xffff)
        | 0x10 << 16
        | 0x8e00 << 32
        | (UNKNOWN_INSTRUCTION >> 16 & 0xffff) << 48;
    write(&low.to_le_bytes(), TABLE + 6 * 16);
    let validate = VALIDATE_PORT.to_le_bytes();
    let unknown = [
        // push rdx; push rbx; mov rbx, [rsp+16]; cmp dword [rbx], PVALIDATE; jne to hlt
        &[0x52, 0x53, 0x48, 0x8b, 0x5c, 0x24, 0x10, 0x81, 0x3b, 0xf2, 0x0f, 0x01, 0xff, 0x75, 0x2b][..],
        // mov edx, port; out dx, eax; in eax, dx
        &[0xba, validate[0], validate[1], 0, 0, 0xef, 0xed],
        // mov ebx, eax; shr ebx, 16; and dword [rsp+32], ~1; or [rsp+32], rbx; movzx eax, ax
        &[
            0x89, 0xc3, 0xc1, 0xeb, 0x10, 0x83, 0x64, 0x24, 0x20, 0xfe, 0x48, 0x09, 0x5c, 0x24, 0x20, 0x0f,
            0xb7, 0xc0,
        ],
        // add qword [rsp+16], 4; pop rbx; pop rdx; iretq; padding
        &[0x48, 0x83, 0x44, 0x24, 0x10, 0x04, 0x5b, 0x5a, 0x48, 0xcf],
        &[0x90; 8],
        // hlt
        &[0xf4],
    ]
    .concat();
    write(&unknown, UNKNOWN_INSTRUCTION);
}

/// Has KVM come back where a request is written, whatever the processor does with the register.
fn tell_of_requests(vm: &VmFd) {
    let mut exits = kvm_enable_cap { cap: KVM_CAP_X86_USER_SPACE_MSR, ..Default::default() };
    exits.args[0] = u64::from(MsrExitReason::Filter.bits());
    vm.enable_cap(&exits).unwrap();
    let denied = MsrFilterRange { flags: MsrFilterRangeFlags::WRITE, base: GHCB, msr_count: 1, bitmap: &[0] };
    vm.set_msr_filter(MsrFilterDefaultAction::ALLOW, &[denied]).unwrap();
}

/// The registers of the layout, and the table of exceptions.
fn set_registers(vcpu: &VcpuFd, wanted: &Vcpu) {
    let mut sregs = vcpu.get_sregs().unwrap();
    sregs.cs = segment(wanted.code);
    for register in [&mut sregs.ds, &mut sregs.es, &mut sregs.fs, &mut sregs.gs, &mut sregs.ss] {
        *register = segment(wanted.data);
    }
    (sregs.tr, sregs.ldt) = (segment(wanted.task), segment(wanted.local));
    (sregs.gdt.base, sregs.gdt.limit) = (wanted.gdt.base, u16::try_from(wanted.gdt.limit).unwrap());
    (sregs.idt.base, sregs.idt.limit) = (TABLE, 0xfff);
    (sregs.efer, sregs.cr0, sregs.cr3, sregs.cr4) = (wanted.efer, wanted.cr0, wanted.cr3, wanted.cr4);
    vcpu.set_sregs(&sregs).unwrap();
    let regs = kvm_regs { rip: wanted.rip, rsp: wanted.rsp, rflags: 2, ..Default::default() };
    vcpu.set_regs(&regs).unwrap();
    assert_eq!(vcpu.get_regs().unwrap(), regs);
    let kept = vcpu.get_sregs().unwrap();
    assert_eq!((kept.cs, kept.ss, kept.tr, kept.ldt), (sregs.cs, sregs.ss, sregs.tr, sregs.ldt));
}

/// KVM's form of a segment register, from the twelve bits of a save area.
fn segment(segment: Segment) -> kvm_segment {
    let bit = |number: u32| u8::from(segment.attributes >> number & 1 == 1);
    kvm_segment {
        base: segment.base,
        limit: segment.limit,
        selector: segment.selector,
        type_: u8::try_from(segment.attributes & 0xf).unwrap(),
        s: bit(4),
        dpl: u8::try_from(segment.attributes >> 5 & 3).unwrap(),
        present: bit(7),
        avl: bit(8),
        l: bit(9),
        db: bit(10),
        g: bit(11),
        ..Default::default()
    }
}
