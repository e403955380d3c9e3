//! The requests of a launch: their order, and each byte of them as the structures of kvm-bindings have it.

use kvm_bindings::{
    KVM_CAP_EXIT_HYPERCALL, KVM_MEM_GUEST_MEMFD, KVM_MEMORY_ATTRIBUTE_PRIVATE, kvm_create_guest_memfd,
    kvm_enable_cap, kvm_memory_attributes, kvm_sev_cmd, kvm_sev_init, kvm_sev_snp_launch_finish,
    kvm_sev_snp_launch_start, kvm_sev_snp_launch_update, kvm_userspace_memory_region2,
};
use sha2::{Digest, Sha256};
use snp_layout::{PageKind, map};

use crate::pod::Pod;
use crate::record::{
    CREATE_GUEST_MEMFD, CREATE_VCPU, CREATE_VM, Call, ENABLE_CAP, GET_REGS, Run, SET_ATTRIBUTES, SET_CPUID,
    SET_MEMORY, SET_REGS, SET_SREGS, SEV,
};
use crate::structures::{Plain, bytes, parse};

fn assert_bytes<T: Plain>(call: &Call, expected: &T) {
    assert_eq!(call.input, bytes(expected), "{} {:#x}", call.name, call.request);
}

#[test]
fn steps_come_in_the_order_of_a_launch() {
    let run = Run::with(&[]);
    assert_eq!(run.ended, "PowerOff");
    let capability = (1_u64 << 12).to_le_bytes();
    let step = |call: &Call| -> Option<String> {
        let word = |at: usize| u32::from_le_bytes(call.input[at..at + 4].try_into().unwrap());
        Some(match (call.name.as_str(), call.request) {
            ("kvm", CREATE_VM) => format!("vm {}", word(0)),
            ("vm", ENABLE_CAP) if call.input[8..16] == capability => "hypercalls".to_owned(),
            ("vm", SEV) => format!("sev {}", word(0)),
            ("vm", CREATE_GUEST_MEMFD) => "memfd".to_owned(),
            ("vm", SET_MEMORY) => "slot".to_owned(),
            ("vm", SET_ATTRIBUTES) => "attributes".to_owned(),
            ("vm", CREATE_VCPU) => format!("vcpu {}", word(0)),
            (name, SET_CPUID) => format!("{name} cpuid"),
            (name, SET_SREGS) => format!("{name} sregs"),
            (name, SET_REGS) => format!("{name} regs"),
            (name, GET_REGS) => format!("{name} read"),
            ("staged", _) => "run".to_owned(),
            _ => return None,
        })
    };
    let mut steps: Vec<_> = run.calls.iter().filter_map(step).collect();
    steps.truncate(steps.iter().position(|step| step == "run").unwrap() + 1);
    steps.dedup();
    let expected = [
        "vm 4",
        "hypercalls",
        "sev 22",
        "memfd",
        "slot",
        "attributes",
        "slot",
        "vcpu 0",
        "vcpu 1",
        "vcpu0 cpuid",
        "vcpu0 sregs",
        "vcpu0 regs",
        "vcpu1 cpuid",
        "vcpu1 sregs",
        "vcpu1 regs",
        "sev 100",
        "sev 101",
        "vcpu0 read",
        "vcpu1 read",
        "sev 102",
        "run",
    ];
    assert_eq!(steps, expected);
}

#[test]
fn memory_is_private_but_for_the_staged_files() {
    let run = Run::with(&[]);
    let size = 64 << 20;
    let memfds: Vec<_> = run.of("vm", CREATE_GUEST_MEMFD).collect();
    assert_eq!(memfds.len(), 1);
    assert_bytes(memfds[0], &kvm_create_guest_memfd { size, ..Default::default() });
    let slots: Vec<_> = run.of("vm", SET_MEMORY).collect();
    assert_eq!(slots.len(), 2);
    let found: Vec<kvm_userspace_memory_region2> = slots.iter().map(|slot| parse(&slot.input)).collect();
    assert_ne!(found[0].userspace_addr, 0);
    let ram = kvm_userspace_memory_region2 {
        flags: KVM_MEM_GUEST_MEMFD,
        memory_size: size,
        userspace_addr: found[0].userspace_addr,
        guest_memfd: u32::try_from(memfds[0].result).unwrap(),
        ..Default::default()
    };
    assert_bytes(slots[0], &ram);
    let pod = Pod::default();
    let files = [&pod.kernel, &pod.initramfs, &pod.launch];
    let staged = kvm_userspace_memory_region2 {
        slot: 1,
        guest_phys_addr: map::STAGING,
        memory_size: files.iter().map(|file| (file.len() as u64).next_multiple_of(4096)).sum(),
        userspace_addr: found[1].userspace_addr,
        ..Default::default()
    };
    assert_bytes(slots[1], &staged);
    let attributes = u64::from(KVM_MEMORY_ATTRIBUTE_PRIVATE);
    let all = kvm_memory_attributes { size, attributes, ..Default::default() };
    assert_bytes(run.of("vm", SET_ATTRIBUTES).next().unwrap(), &all);

    let content = run.calls.iter().find(|call| call.name == "staged").unwrap();
    for file in pod.layout().staged {
        let start = usize::try_from(file.gpa - map::STAGING).unwrap();
        assert_eq!(content.extra[start..start + file.bytes.len()], *file.bytes);
    }
}

#[test]
fn commands_have_each_byte_where_the_firmwares_structures_have_it() {
    let run = Run::with(&[("SNP_ID_BLOCK", "1")]);
    let hypercalls = run.of("vm", ENABLE_CAP).next().unwrap();
    let mut cap = kvm_enable_cap { cap: KVM_CAP_EXIT_HYPERCALL, ..Default::default() };
    cap.args[0] = 1 << 12;
    assert_bytes(hypercalls, &cap);
    for command in run.of("vm", SEV) {
        let found: kvm_sev_cmd = parse(&command.input);
        let kvm_sev_cmd { id, data, sev_fd, .. } = found;
        assert!(data != 0 && sev_fd != 0 && command.result == 0);
        assert_bytes(command, &kvm_sev_cmd { id, data, sev_fd, ..Default::default() });
    }
    let [init, start, finish] = [22, 100, 102].map(|id| {
        let calls = run.firmware(id);
        assert_eq!(calls.len(), 1, "{id}");
        calls[0]
    });
    assert_bytes(init, &kvm_sev_init::default());
    assert_bytes(start, &kvm_sev_snp_launch_start { policy: 0x3_0000, ..Default::default() });
    let pod = Pod::default();
    let pointers: kvm_sev_snp_launch_finish = parse(&finish.input);
    let expected = kvm_sev_snp_launch_finish {
        id_block_uaddr: pointers.id_block_uaddr,
        id_auth_uaddr: pointers.id_auth_uaddr,
        id_block_en: 1,
        auth_key_en: 1,
        vcek_disabled: 0,
        host_data: Sha256::digest(&pod.launch).into(),
        ..Default::default()
    };
    assert_bytes(finish, &expected);
    assert_eq!(finish.input[19..51], *Sha256::digest(&pod.launch));
    assert_eq!((&finish.extra[..96], &finish.extra[96..]), (&[0x1d; 96][..], &[0xa7; 4096][..]));
    let plain = Run::with(&[]);
    let host_data = Sha256::digest(&pod.launch).into();
    assert_bytes(plain.firmware(102)[0], &kvm_sev_snp_launch_finish { host_data, ..Default::default() });
}

#[test]
fn pages_go_in_ranges_of_one_kind() {
    let run = Run::with(&[]);
    let pod = Pod::default();
    let layout = pod.layout();
    let mut pages = layout.pages.iter();
    for update in run.firmware(101) {
        let found: kvm_sev_snp_launch_update = parse(&update.input);
        let kvm_sev_snp_launch_update { gfn_start, uaddr, len, type_, .. } = found;
        let same = kvm_sev_snp_launch_update { gfn_start, uaddr, len, type_, ..Default::default() };
        assert_bytes(update, &same);
        assert_eq!(uaddr == 0, type_ == 3, "{type_}");
        for (index, gfn) in (gfn_start..gfn_start + len / 4096).enumerate() {
            let page = pages.next().unwrap();
            assert_eq!((page.gpa, page.kind.code()), (gfn * 4096, type_));
            if let PageKind::Normal(bytes) = &page.kind {
                assert_eq!(update.extra[index * 4096..(index + 1) * 4096], bytes[..]);
            }
        }
    }
    assert!(pages.next().is_none());
    assert!(run.firmware(101).len() < layout.pages.len() / 2);
}

/// What the firmware and Linux need of it; the rest is `snp_layout`'s own test.
#[test]
fn the_cpuid_page_is_the_first_vcpus_cpuid() {
    let run = Run::with(&[]);
    let page = run.firmware(101).into_iter().find(|update| update.input[24] == 6).unwrap();
    let words: Vec<u32> =
        page.extra.as_chunks::<4>().0.iter().map(|word| u32::from_le_bytes(*word)).collect();
    let count = words[0] as usize;
    assert!((8..=64).contains(&count) && words[1..4] == [0; 3]);
    let leaf = |function: u32, index: u32| {
        let entries = words[4..4 + 12 * count].as_chunks::<12>().0;
        entries.iter().find(|entry| (entry[0], entry[1]) == (function, index)).copied()
    };
    assert_eq!(leaf(0x8000_001f, 0).unwrap()[6..8], [0x1a, 0x3b3]);
    assert_eq!(leaf(0xd, 1).unwrap()[2..8], [1, 0, 0, 0, 0xf, 0x240]);
    assert_eq!(leaf(1, 0).unwrap()[8] & (1 << 24), 0, "the deadline timer");
    assert!(leaf(0x4000_0001, 0).is_some() && leaf(2, 0).is_none());
    let set = run.of("vcpu0", SET_CPUID).next().unwrap();
    let function =
        |leaf: &[u32; 12]| set.input[8..].chunks(40).any(|entry| entry[..4] == leaf[0].to_le_bytes());
    assert!(words[4..4 + 12 * count].as_chunks::<12>().0.iter().all(function));
}
