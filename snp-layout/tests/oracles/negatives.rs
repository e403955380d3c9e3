//! What has to change the digest, and what a layout is refused for.

use ::fuzz::Random;
use snp_layout::bzimage::{BzImage, BzImageError};
use snp_layout::layout::{LayoutError, MAX_VCPUS};
use snp_layout::{Inputs, LaunchDigest, Layout, PageKind, map};
use snp_stub::HashPage;

use crate::random::Pod;

fn pod() -> Pod {
    Pod::new(&mut Random::new(0x5eed_0005))
}

fn digest(pod: &Pod) -> LaunchDigest {
    Layout::new(&pod.inputs()).unwrap().digest()
}

#[test]
fn a_flipped_bit_of_each_input_changes_the_digest() {
    let sound = digest(&pod());
    assert_eq!(sound, digest(&pod()));
    let mut random = Random::new(0x5eed_0006);
    let mut seen = vec![sound];
    for _ in 0..20 {
        let bit = 1 << random.below(8);
        for input in 0..4 {
            let mut changed = pod();
            let bytes = match input {
                // Behind the header, whose damage is refused.
                0 => &mut changed.kernel[0x1000..],
                1 => &mut changed.initramfs[..],
                2 => &mut changed.launch[..],
                _ => &mut changed.stub[..],
            };
            let at = random.below(bytes.len());
            bytes[at] ^= bit;
            let digest = digest(&changed);
            assert!(!seen.contains(&digest), "input {input}, byte {at}, bit {bit}");
            seen.push(digest);
        }
    }
    let mut changed = pod();
    changed.command_line.pop();
    changed.command_line.push('~');
    assert!(pod().command_line.ends_with('~') || !seen.contains(&digest(&changed)));
    changed.command_line.push(' ');
    assert!(!seen.contains(&digest(&changed)));
}

#[test]
fn lengths_memory_and_vcpus_change_the_digest() {
    let sound = digest(&pod());
    let changes: [fn(&mut Pod); 6] = [
        |pod| pod.kernel.push(0),
        |pod| pod.initramfs.push(0),
        |pod| pod.launch.push(b'\n'),
        |pod| pod.stub.push(0x90),
        |pod| pod.memory_mib += 1,
        |pod| pod.vcpus = pod.vcpus % MAX_VCPUS + 1,
    ];
    for (index, change) in changes.into_iter().enumerate() {
        let mut changed = pod();
        change(&mut changed);
        assert_ne!(digest(&changed), sound, "change {index}");
    }
}

#[test]
fn order_kind_and_address_of_pages_change_the_digest() {
    let pod = pod();
    let layout = Layout::new(&pod.inputs()).unwrap();
    let sound = layout.digest();
    for index in 0..layout.pages.len() {
        let mut moved = layout.clone();
        moved.pages[index].gpa += 4096;
        assert_ne!(moved.digest(), sound, "page {index} moved");
        let mut missing = layout.clone();
        missing.pages.remove(index);
        assert_ne!(missing.digest(), sound, "page {index} missing");
        if index > 0 {
            let mut swapped = layout.clone();
            swapped.pages.swap(index - 1, index);
            assert_ne!(swapped.digest(), sound, "page {index} swapped");
        }
        let mut unmeasured = layout.clone();
        unmeasured.pages[index].kind = PageKind::Unmeasured;
        assert_ne!(unmeasured.digest(), sound, "page {index} not measured");
    }
    let mut zeros = layout.clone();
    let stack = zeros.pages.iter_mut().find(|page| page.kind == PageKind::Zero).unwrap();
    stack.kind = PageKind::Normal(Box::new([0; 4096]));
    assert_ne!(zeros.digest(), sound, "zeros that are measured as bytes");
    let mut vcpu = layout.clone();
    vcpu.vcpus[0].rip += 1;
    assert_ne!(vcpu.digest(), sound);
}

#[test]
fn what_a_release_publishes_is_the_same_for_all_pods() {
    let (one, mut other) = (pod(), Pod::new(&mut Random::new(0x5eed_0007)));
    assert_ne!(one.stub, other.stub);
    other.stub.clone_from(&one.stub);
    let [one, other] = [one, other].map(|pod| Layout::new(&pod.inputs()).unwrap().stable_digest());
    assert_eq!(one, other);
}

/// Pages are aligned, apart from each other and from what the stub validates; files are where the stub looks.
#[test]
fn pages_and_validated_memory_are_apart_and_the_stub_takes_its_page() {
    for seed in 0x1a70_0200..0x1a70_0220 {
        println!("seed {seed:#x}");
        let pod = Pod::new(&mut Random::new(seed));
        let layout = Layout::new(&pod.inputs()).unwrap();
        let mut addresses: Vec<_> = layout.pages.iter().map(|page| page.gpa).collect();
        addresses.sort_unstable();
        assert!(addresses.windows(2).all(|pair| pair[0] + 4096 <= pair[1]));
        assert!(addresses.iter().all(|gpa| gpa.is_multiple_of(4096) && *gpa < map::LAUNCHED_END));
        let page = layout.pages.iter().find(|page| page.gpa == map::HASH_PAGE).unwrap();
        let PageKind::Normal(bytes) = &page.kind else { panic!("the hash page is measured") };
        let hashes = HashPage::decode(bytes).unwrap();
        let validated = |gpa: &u64| hashes.ranges().iter().any(|range| range.holds(*gpa, 1));
        assert!(!addresses.iter().any(validated));
        let bytes: u64 = hashes.ranges().iter().map(|range| range.end - range.start).sum();
        let launched = map::LAUNCHED_END - map::STUB + 4096 + (map::HIGH_MEMORY - map::BASE_MEMORY_END);
        assert_eq!(bytes, (pod.memory_mib << 20) - launched);
        for (part, staged) in [0, 1, 3].map(|index| hashes.parts()[index]).iter().zip(&layout.staged) {
            assert_eq!((part.source, part.length), (staged.gpa, staged.bytes.len() as u64));
        }
        assert_eq!((hashes.entry - 0x200) % 4096, 0);
    }
}

fn refusal(change: impl FnOnce(&mut Pod)) -> LayoutError {
    let mut pod = pod();
    change(&mut pod);
    Layout::new(&pod.inputs()).unwrap_err()
}

#[test]
fn what_cannot_be_laid_out_is_refused() {
    assert!(matches!(refusal(|pod| pod.memory_mib = 63), LayoutError::Memory { .. }));
    assert!(matches!(refusal(|pod| pod.memory_mib = u64::MAX), LayoutError::Memory { .. }));
    assert!(matches!(refusal(|pod| pod.vcpus = 0), LayoutError::Vcpus { .. }));
    assert!(matches!(refusal(|pod| pod.vcpus = 33), LayoutError::Vcpus { .. }));
    assert!(matches!(refusal(|pod| pod.stub.clear()), LayoutError::Stub { .. }));
    assert!(matches!(refusal(|pod| pod.stub.resize((1 << 16) + 1, 0)), LayoutError::Stub { .. }));
    assert!(matches!(refusal(|pod| pod.command_line = "x".repeat(2048)), LayoutError::CommandLine));
    assert!(matches!(refusal(|pod| pod.command_line = "a\nb".to_owned()), LayoutError::CommandLine));
    assert!(matches!(refusal(|pod| pod.launch.resize((8 << 20) + 1, 0)), LayoutError::Launch { .. }));
    let large = |pod: &mut Pod| {
        pod.memory_mib = 64;
        pod.initramfs.resize(48 << 20, 0);
    };
    assert!(matches!(refusal(large), LayoutError::Room { .. }));
    assert!(matches!(refusal(|pod| pod.initramfs.resize(257 << 20, 0)), LayoutError::Staging { .. }));
    for address in [0, map::HIGH_MEMORY, u64::MAX] {
        let elsewhere = |pod: &mut Pod| pod.kernel[0x258..0x260].copy_from_slice(&address.to_le_bytes());
        assert!(matches!(refusal(elsewhere), LayoutError::Room { .. }), "{address:#x}");
    }
    let pod = pod();
    assert!(matches!(Layout::new(&Inputs { c_bit: 7, ..pod.inputs() }), Err(LayoutError::HashPage(_))));
}

#[test]
fn a_kernel_is_a_bzimage_with_a_64_bit_entry() {
    let kernel = pod().kernel;
    let header = BzImage::parse(&kernel).unwrap();
    assert_eq!((header.address, header.init_size, header.header.len()), (16 << 20, 8 << 20, 0x7b));
    for end in [0, 0x1f1, 0x267, 0x270, kernel.len().min(1024)] {
        assert_eq!(BzImage::parse(&kernel[..end]), Err(BzImageError::Short), "{end:#x}");
    }
    let damaged = |at: usize, byte: u8| {
        let mut kernel = kernel.clone();
        kernel[at] = byte;
        BzImage::parse(&kernel).unwrap_err()
    };
    assert_eq!(damaged(0x1fe, 0), BzImageError::Magic);
    assert_eq!(damaged(0x205, b's'), BzImageError::Magic);
    assert!(matches!(damaged(0x207, 1), BzImageError::EntryPoint { version: 0x010f }));
    assert!(matches!(damaged(0x236, 0), BzImageError::EntryPoint { .. }));
    assert!(matches!(damaged(0x201, 0x10), BzImageError::EntryPoint { .. }));
}

mod fuzz {
    use ::fuzz::{Fuzz, shape};
    use snp_layout::layout::LayoutError;
    use snp_layout::{Inputs, Layout};

    #[test]
    fn kernels() {
        let pod = super::pod();
        let mut seed = pod.kernel[..0x2000.min(pod.kernel.len())].to_vec();
        // Little setup code, so that what is left is a kernel.
        seed[0x1f1] = 4;
        assert!(Layout::new(&Inputs { kernel: &seed, ..pod.inputs() }).is_ok());
        Fuzz::new("snp-kernel", [seed]).words([b"HdrS"]).iterations(5_000).run(|kernel| {
            let made = Layout::new(&Inputs { kernel, ..pod.inputs() });
            let told_apart = |error: LayoutError| match error {
                LayoutError::Kernel(error) => (true, format!("{:?}", std::mem::discriminant(&error))),
                error => (false, format!("{:?}", std::mem::discriminant(&error))),
            };
            shape(made.map(|layout| layout.pages.len()).map_err(told_apart))
        });
    }
}
