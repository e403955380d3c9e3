//! The recorded launch, measured by sev-snp-measure of PyPI: a second opinion that shares nothing with the launcher.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};

use snp_layout::PageKind;

use crate::measured::{digest, pages, save_areas};
use crate::record::Run;

const PROGRAM: &str = include_str!("../../../snp-layout/tests/oracles/oracle.py");

#[test]
fn the_recorded_launch_has_its_digest() {
    let run = Run::with(&[]);
    let mut request = String::new();
    for page in pages(&run) {
        let bytes = if let PageKind::Normal(bytes) = &page.kind { hex(&bytes[..]) } else { String::new() };
        writeln!(request, "{} {:x} {bytes}", page.kind.name(), page.gpa).unwrap();
    }
    save_areas(&run).iter().for_each(|area| writeln!(request, "vmsa 0 {}", hex(area)).unwrap());
    request.push_str("digest\n");

    let mut program = Command::new("python3")
        .args(["-c", PROGRAM])
        .env("PYTHONPATH", tests::tool("sev-snp-measure"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // It answers nothing before the end of the list.
    program.stdin.take().unwrap().write_all(request.as_bytes()).unwrap();
    let output = program.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), digest(&run).to_string());
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}
