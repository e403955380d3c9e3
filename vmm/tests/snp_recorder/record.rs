//! A run of the launcher under the shim, and what the shim has written down.

use std::path::{Path, PathBuf};
use std::process::Command;

use spec::Stage;
use spec::boot::STAGE_PORT;

/// The variable with the shim's log.
pub(crate) const LOG: &str = "SNP_LOG";

/// Requests of ioctl(2).
pub(crate) const CREATE_VM: u64 = 0xae01;
pub(crate) const CREATE_VCPU: u64 = 0xae41;
pub(crate) const ENABLE_CAP: u64 = 0x4068_aea3;
pub(crate) const CREATE_GUEST_MEMFD: u64 = 0xc040_aed4;
pub(crate) const SET_MEMORY: u64 = 0x40a0_ae49;
pub(crate) const SET_ATTRIBUTES: u64 = 0x4020_aed2;
pub(crate) const SEV: u64 = 0xc008_aeba;
pub(crate) const SET_REGS: u64 = 0x4090_ae82;
pub(crate) const SET_SREGS: u64 = 0x4138_ae84;
pub(crate) const SET_CPUID: u64 = 0x4008_ae90;
pub(crate) const GET_REGS: u64 = 0x8090_ae81;

/// A call.
pub(crate) struct Call {
    /// On what.
    pub(crate) name: String,
    pub(crate) request: u64,
    pub(crate) result: i64,
    pub(crate) input: Vec<u8>,
    pub(crate) output: Vec<u8>,
    /// Bytes that the input points to.
    pub(crate) extra: Vec<u8>,
}

/// What came of a launch.
pub(crate) struct Run {
    pub(crate) calls: Vec<Call>,
    /// How it ended: an exit's name, or an error with its causes.
    pub(crate) ended: String,
}

impl Run {
    /// Launches with these variables set.
    pub(crate) fn with(variables: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--include-ignored", "--nocapture"])
            .env("LD_PRELOAD", shim(folder.path()))
            .env(LOG, &log)
            .env("SNP_PORT", STAGE_PORT.to_string())
            .env("SNP_BYTE", (Stage::PowerOff as u8).to_string())
            .envs(variables.iter().copied())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let ended = text.lines().find_map(|line| line.strip_prefix("ended: "));
        let ended = ended.unwrap_or_else(|| panic!("no end: {output:?}")).to_owned();
        let calls = std::fs::read_to_string(&log).unwrap().lines().map(Call::parse).collect();
        Self { calls, ended }
    }

    pub(crate) fn of<'a>(&'a self, name: &'a str, request: u64) -> impl Iterator<Item = &'a Call> {
        self.calls.iter().filter(move |call| call.name == name && call.request == request)
    }

    /// The data of the commands to the firmware with this number.
    pub(crate) fn firmware(&self, id: u32) -> Vec<&Call> {
        let commands = self.calls.windows(2).filter(|pair| pair[0].name == "sev");
        // The command follows its data.
        commands.filter(|pair| pair[1].input[..4] == id.to_le_bytes()).map(|pair| &pair[0]).collect()
    }
}

impl Call {
    fn parse(line: &str) -> Self {
        let [name, request, result, input, output, extra] =
            line.split(' ').collect::<Vec<_>>().try_into().unwrap();
        Self {
            name: name.to_owned(),
            request: u64::from_str_radix(request, 16).unwrap(),
            result: u64::from_str_radix(result, 16).unwrap().cast_signed(),
            input: bytes(input),
            output: bytes(output),
            extra: bytes(extra),
        }
    }
}

fn bytes(digits: &str) -> Vec<u8> {
    let pairs = if digits == "-" { &[] } else { digits.as_bytes().as_chunks::<2>().0 };
    pairs.iter().map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

/// Compiles the shim.
fn shim(folder: &Path) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snp_recorder/shim.c");
    let library = folder.join("shim.so");
    let compiled = Command::new("cc")
        .args(["-Wall", "-Werror", "-O1", "-shared", "-fPIC", "-pthread", "-o"])
        .args([&library, &source])
        .output()
        .unwrap();
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
    library
}
