//! Pods of the SNP variant, on a processor that is played (vmm/tests/snp_recorder/shim.c): what is launched is what
//! `attest measure` measures, and where the host lacks something that is said.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};
use spec::Stage;
use spec::boot::STAGE_PORT;

use crate::host::{Ended, Host, end};

#[path = "../../../vmm/tests/snp_recorder/kernel.rs"]
mod kernel;

/// A host with a package for SNP guests, and a pod of it.
fn host_with_pod() -> Host {
    let host = Host::new();
    let files = [("bzImage", kernel::kernel()), ("initramfs", vec![7; 5000]), ("stub", vec![0x90; 4096])];
    let digest =
        |bytes: &[u8]| Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let package = serde_json::json!({
        "version": 3,
        "machine": "snp",
        "kernel": {"kernel": "bzImage", "initrd": "initramfs", "release": "6.12"},
        "snp": {"stub": "stub", "commandLine": "panic=-1", "digests":
            {"kernel": digest(&files[0].1), "initrd": digest(&files[1].1), "stub": digest(&files[2].1)}},
    });
    fs::write(host.path("package/cradle.json"), package.to_string()).unwrap();
    for (name, bytes) in files {
        fs::write(host.path("package").join(name), bytes).unwrap();
    }
    host.good(&["summon", "--quiet", "--variant", "snp", "pod", &host.image()]);
    host
}

/// Runs under the played processor.
fn played(host: &Host, arguments: &[&str], variables: &[(&str, &str)]) -> Ended {
    let mut command = host.command(arguments);
    command
        .env("LD_PRELOAD", shim(&host.path("shim.so")))
        .env("SNP_LOG", host.path("requests"))
        .env("SNP_PORT", STAGE_PORT.to_string())
        .env("SNP_BYTE", (Stage::PowerOff as u8).to_string())
        .envs(variables.iter().copied());
    end(&mut command)
}

fn shim(library: &Path) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../vmm/tests/snp_recorder/shim.c");
    let mut compiler = Command::new("cc");
    compiler.args(["-O1", "-shared", "-fPIC", "-pthread", "-o"]).args([library, &source]);
    assert!(compiler.status().unwrap().success());
    library.to_owned()
}

/// What was recorded of `KVM_SEV_SNP_LAUNCH_FINISH`, which has 88 bytes: two digits each.
fn finish(host: &Host) -> Option<String> {
    let requests = fs::read_to_string(host.path("requests")).unwrap();
    let commands = requests.lines().filter(|line| line.starts_with("sev "));
    commands.filter_map(|line| line.split(' ').nth(3)).find(|data| data.len() == 176).map(str::to_owned)
}

#[test]
fn what_is_launched_is_what_is_measured() {
    let host = host_with_pod();
    let measured = host.good(&["attest", "measure", "--json", "pod"]);
    let measured: serde_json::Value = serde_json::from_str(&measured).unwrap();
    // The guest is gone without a word of its container.
    let ended = played(&host, &["run", "pod"], &[]);
    assert!(ended.code.is_some() && ended.err.contains("powered off"), "{ended:?}");
    let data = finish(&host).unwrap();
    assert_eq!(data[38..102], *measured["host_data"].as_str().unwrap());
}

#[test]
fn a_host_that_lacks_something_is_told_what() {
    let host = host_with_pod();
    let ended = played(&host, &["run", "pod"], &[("SNP_FAULT", "parameter")]);
    assert_eq!(ended.code, Some(125), "{ended:?}");
    for word in ["this host cannot run SNP guests", "sev_snp", "`kcradle check --snp`"] {
        assert!(ended.err.contains(word), "{ended:?}");
    }
    assert_eq!(finish(&host), None);
}

#[test]
fn check_has_a_row_a_precondition() {
    let host = host_with_pod();
    let fit = played(&host, &["check", "--snp"], &[]);
    assert_eq!(fit.code, Some(0), "{fit:?}");
    assert!(fit.out.ends_with("pods of the SNP variant can run on this host\n"), "{fit:?}");
    let unfit =
        played(&host, &["check", "--snp", "--json"], &[("SNP_LACK", "234"), ("SNP_FAULT", "no-device")]);
    assert_eq!(unfit.code, Some(1), "{unfit:?}");
    let report: serde_json::Value = serde_json::from_str(&unfit.out).unwrap();
    let rows = report["findings"].as_array().unwrap();
    let missing = rows.iter().filter(|row| row["level"] == "missing").inspect(|row| {
        assert!(!row["remedy"].as_str().unwrap().is_empty());
    });
    let names: Vec<_> = missing.map(|row| row["name"].as_str().unwrap()).collect();
    assert_eq!((names, rows.len()), (vec!["/dev/sev", "KVM_CAP_GUEST_MEMFD"], 8));
}

#[test]
fn a_run_that_would_change_what_is_measured_is_refused() {
    let host = host_with_pod();
    let refused = host.refused(&["run", "--hold", "pod"], 125);
    assert!(refused.contains("would change hold of launch.json"), "{refused}");
}

#[test]
fn a_pod_of_a_plain_machine_is_refused() {
    let host = host_with_pod();
    let path = host.path("pod/launch.json");
    let mut launch: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    assert!(launch["disks"][0].as_object_mut().unwrap().remove("verity").is_some());
    fs::write(&path, launch.to_string()).unwrap();
    let refused = host.refused(&["run", "pod"], 125);
    assert!(refused.contains("made for a plain machine") && refused.contains("--variant snp"), "{refused}");
}
