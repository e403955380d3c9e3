//! The crate `igvm`, which computes the digest of the files that firmware comes in. It knows no pages of zeros.

use ::igvm::measurement::generate_snp_measurement;
use ::igvm::snp_defs::SevVmsa;
use ::igvm::{IgvmDirectiveHeader, IgvmInitializationHeader};
use fuzz::Random;
use igvm_defs::{IgvmPageDataFlags, IgvmPageDataType};
use snp_layout::digest::VMSA_GPA;
use snp_layout::{LaunchDigest, Layout, Page, PageKind, Vcpu};
use zerocopy::FromBytes as _;

use crate::random::{self, Pod};

const MASK: u32 = 1;

fn directive(page: &Page) -> IgvmDirectiveHeader {
    let (data_type, data) = match &page.kind {
        PageKind::Normal(bytes) => (IgvmPageDataType::NORMAL, bytes.to_vec()),
        PageKind::Unmeasured => (IgvmPageDataType::NORMAL, Vec::new()),
        PageKind::Secrets => (IgvmPageDataType::SECRETS, Vec::new()),
        PageKind::Cpuid => (IgvmPageDataType::CPUID_DATA, Vec::new()),
        PageKind::Zero => panic!("igvm has no such page"),
    };
    let flags = IgvmPageDataFlags::new().with_unmeasured(page.kind == PageKind::Unmeasured);
    IgvmDirectiveHeader::PageData { gpa: page.gpa, compatibility_mask: MASK, flags, data_type, data }
}

fn measure(pages: &[Page], vcpus: &[Vcpu]) -> [u8; 48] {
    let policy = IgvmInitializationHeader::GuestPolicy { policy: 0x3_0000, compatibility_mask: MASK };
    let mut headers: Vec<_> = pages.iter().map(directive).collect();
    for (index, vcpu) in (0..).zip(vcpus) {
        let (vmsa, rest) =
            SevVmsa::read_from_prefix(&vcpu.vmsa()[..]).map(|(vmsa, rest)| (vmsa, rest.to_vec())).unwrap();
        assert!(rest.iter().all(|byte| *byte == 0));
        headers.push(IgvmDirectiveHeader::SnpVpContext {
            gpa: VMSA_GPA,
            compatibility_mask: MASK,
            vp_index: index,
            vmsa: Box::new(vmsa),
        });
    }
    generate_snp_measurement(&[policy], &headers, MASK).unwrap()
}

#[test]
fn random_lists_of_pages_have_its_digest() {
    let seed = 0x5eed_0003;
    println!("seed {seed:#x}");
    let mut random = Random::new(seed);
    for _ in 0..60 {
        let pages = random::pages(&mut random, 6);
        assert_eq!(*LaunchDigest::of(&pages).bytes(), measure(&pages, &[]));
    }
}

/// Pages of zeros are taken out on both sides: what is left is the whole rest of the layout.
#[test]
fn random_layouts_without_their_pages_of_zeros_have_its_digest() {
    for seed in 0x1a70_0100..0x1a70_0118 {
        println!("seed {seed:#x}");
        let pod = Pod::new(&mut Random::new(seed));
        let mut layout = Layout::new(&pod.inputs()).unwrap();
        let all = layout.pages.len();
        layout.pages.retain(|page| page.kind != PageKind::Zero);
        assert_eq!(layout.pages.len(), all - 5);
        assert_eq!(*layout.digest().bytes(), measure(&layout.pages, &layout.vcpus));
    }
}

#[test]
fn registers_are_where_its_save_area_has_them() {
    let vcpu = random::vcpu(&mut Random::new(0x5eed_0004));
    let vmsa = SevVmsa::read_from_prefix(&vcpu.vmsa()[..]).unwrap().0;
    assert_eq!((vmsa.rip, vmsa.rsp, vmsa.cr3), (vcpu.rip, vcpu.rsp, vcpu.cr3));
    assert_eq!((vmsa.efer, vmsa.cr0, vmsa.cr4, vmsa.xcr0), (0x1500, 0x8000_0011, 0x60, 1));
    assert_eq!((vmsa.pat, vmsa.rflags, vmsa.dr6, vmsa.dr7), (0x0007_0406_0007_0406, 2, 0xffff_0ff0, 0x400));
    assert_eq!((vmsa.cs.base, vmsa.ds.limit), (vcpu.code.base, vcpu.data.limit));
}
