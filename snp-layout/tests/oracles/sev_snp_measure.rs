//! sev-snp-measure 0.0.13 of PyPI, the program with which people verify by hand, page by page.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};

use fuzz::Random;
use snp_layout::{LaunchDigest, Layout, Page, PageKind, Vcpu};

use crate::random::{self, Pod};

const PROGRAM: &str = include_str!("oracle.py");

/// The answers of the program, a line each.
fn ask(request: &str) -> Vec<String> {
    let mut program = Command::new("python3")
        .args(["-c", PROGRAM])
        .env("PYTHONPATH", tests::tool("sev-snp-measure"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = program.stdin.take().unwrap();
    let request = request.to_owned();
    let writer = std::thread::spawn(move || input.write_all(request.as_bytes()));
    let output = program.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().lines().map(ToOwned::to_owned).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

/// Pages and vCPUs as the program reads them.
fn describe(pages: &[Page], vcpus: &[Vcpu]) -> String {
    let mut text = String::new();
    for page in pages {
        let content = if let PageKind::Normal(bytes) = &page.kind { hex(&bytes[..]) } else { String::new() };
        writeln!(text, "{} {:x} {content}", page.kind.name(), page.gpa).unwrap();
    }
    vcpus.iter().for_each(|vcpu| writeln!(text, "vmsa 0 {}", hex(&vcpu.vmsa()[..])).unwrap());
    text + "digest\n"
}

fn digest(pages: &[Page], vcpus: &[Vcpu]) -> LaunchDigest {
    let mut digest = LaunchDigest::of(pages);
    vcpus.iter().for_each(|vcpu| digest.add_vmsa(&vcpu.vmsa()));
    digest
}

#[test]
fn random_lists_of_pages_of_all_kinds_have_its_digest() {
    let seed = 0x5eed_0001;
    println!("seed {seed:#x}");
    let mut random = Random::new(seed);
    let (mut request, mut expected) = (String::new(), Vec::new());
    for _ in 0..60 {
        let pages = random::pages(&mut random, 8);
        let vcpus: Vec<_> = (0..random.below(4)).map(|_| random::vcpu(&mut random)).collect();
        request += &describe(&pages, &vcpus);
        expected.push(digest(&pages, &vcpus).to_string());
    }
    assert_eq!(ask(&request), expected);
}

#[test]
fn random_layouts_have_its_digest() {
    let (mut request, mut expected) = (String::new(), Vec::new());
    for seed in 0x1a70_0000..0x1a70_0018 {
        println!("seed {seed:#x}");
        let pod = Pod::new(&mut Random::new(seed));
        let layout = Layout::new(&pod.inputs()).unwrap();
        request += &describe(&layout.pages, &layout.vcpus);
        expected.push(layout.digest().to_string());
        let runs = layout.runs();
        assert_eq!(runs.last().unwrap().digest, layout.digest());
        assert!(runs.iter().any(|run| run.digest == layout.stable_digest()));
    }
    assert_eq!(ask(&request), expected);
}

/// Each register by the name that the program gives its field, which then lies where the program puts it.
#[test]
fn registers_lie_where_its_save_area_has_them() {
    let mut random = Random::new(0x5eed_0002);
    let mut vcpus = vec![Vcpu::new(0), Vcpu::new(1)];
    vcpus.extend((0..8).map(|_| random::vcpu(&mut random)));
    let mut request = String::new();
    for vcpu in &vcpus {
        let segment = |segment: snp_layout::vcpu::Segment| {
            serde_json::json!([segment.selector, segment.attributes, segment.limit, segment.base])
        };
        let fields = serde_json::json!({
            "es": segment(vcpu.data), "cs": segment(vcpu.code), "ss": segment(vcpu.data), "ds": segment(vcpu.data),
            "fs": segment(vcpu.data), "gs": segment(vcpu.data), "gdtr": segment(vcpu.gdt), "ldtr": segment(vcpu.local),
            "idtr": segment(vcpu.idt), "tr": segment(vcpu.task), "efer": 0x1500, "cr4": 0x60, "cr3": vcpu.cr3,
            "cr0": 0x8000_0011_u64, "dr7": 0x400, "dr6": 0xffff_0ff0_u64, "rflags": 2, "rip": vcpu.rip, "rsp": vcpu.rsp,
            "g_pat": 0x0007_0406_0007_0406_u64, "sev_features": 1, "xcr0": 1, "mxcsr": 0x1f80, "x87_fcw": 0x37f,
        });
        writeln!(request, "fields 0 {fields}").unwrap();
    }
    let expected: Vec<_> = vcpus.iter().map(|vcpu| hex(&vcpu.vmsa()[..])).collect();
    let areas = ask(&request);
    for (area, expected) in areas.iter().zip(&expected) {
        let differs = area.bytes().zip(expected.bytes()).position(|(one, other)| one != other);
        assert_eq!(differs, None, "half bytes; byte {:#x}", differs.unwrap_or_default() / 2);
    }
    assert_eq!((areas.len(), areas[0].len()), (expected.len(), 8192));
}
