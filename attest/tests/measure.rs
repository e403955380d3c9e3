//! `cradle-attest measure` and `diff` on pods of files that are no real kernel: what is measured, and why digests differ.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use attest::measure::Measurement;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// A file with the header of a bzImage.
fn kernel() -> Vec<u8> {
    let mut file = vec![0x90; 0x1_0000];
    file[0x1f1] = 31;
    file[0x1fe..0x200].copy_from_slice(&0xaa55_u16.to_le_bytes());
    file[0x201] = 0x6a;
    file[0x202..0x206].copy_from_slice(b"HdrS");
    file[0x206..0x208].copy_from_slice(&0x020f_u16.to_le_bytes());
    file[0x236..0x238].copy_from_slice(&1_u16.to_le_bytes());
    file[0x258..0x260].copy_from_slice(&0x100_0000_u64.to_le_bytes());
    file[0x260..0x264].copy_from_slice(&(8_u32 << 20).to_le_bytes());
    file
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A pod of the SNP variant.
fn pod(dir: &Path) {
    fs::create_dir_all(dir.join("cradle")).unwrap();
    package(dir, &kernel(), "panic=-1");
    launch(dir, 2, 256);
}

fn package(dir: &Path, kernel: &[u8], line: &str) {
    let (initramfs, stub) = (b"070701 an archive", [0xf4; 5000]);
    let folder = dir.join("cradle");
    fs::write(folder.join("bzImage"), kernel).unwrap();
    fs::write(folder.join("initramfs"), initramfs).unwrap();
    fs::write(folder.join("stub"), stub).unwrap();
    let digests = json!({"kernel": hex(kernel), "initrd": hex(initramfs), "stub": hex(&stub)});
    let package = json!({
        "version": 3, "machine": "snp", "kernel": {"kernel": "bzImage", "initrd": "initramfs", "release": "6.12"},
        "snp": {"stub": "stub", "commandLine": line, "digests": digests},
    });
    fs::write(folder.join("cradle.json"), package.to_string()).unwrap();
}

fn launch(dir: &Path, cpu: u32, mem: u64) {
    let launch = json!({
        "version": 1, "id": "5e".repeat(32), "resources": {"cpu": cpu, "mem": mem}, "disks": [], "containers": [],
    });
    fs::write(dir.join("launch.json"), launch.to_string()).unwrap();
}

fn attest(args: &[&str], dirs: &[&Path]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_cradle-attest")).args(args).args(dirs).output().unwrap()
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn a_pod_has_the_digest_of_its_layout_in_every_form() {
    let dir = tempfile::tempdir().unwrap();
    pod(dir.path());
    let digest = attest(&["measure"], &[dir.path()]);
    assert_eq!(digest.status.code(), Some(0), "{}", text(&digest));
    let digest = String::from_utf8(digest.stdout).unwrap().trim().to_owned();
    let (kernel, launch) = (kernel(), fs::read(dir.path().join("launch.json")).unwrap());
    let layout = snp_layout::Layout::new(&snp_layout::Inputs {
        kernel: &kernel,
        initramfs: b"070701 an archive",
        command_line: "panic=-1",
        launch: &launch,
        memory_mib: 256,
        vcpus: 2,
        stub: &[0xf4; 5000],
        c_bit: 51,
    });
    assert_eq!(digest, layout.unwrap().digest().to_string());
    let explained = text(&attest(&["measure", "--explain"], &[dir.path()]));
    for part in [
        "stub-stack",
        "0x2c000",
        "hash-page",
        "vmsa",
        "0xfffffffff000",
        &digest,
        &hex(&launch),
        "256 MiB, 2 vCPUs",
    ] {
        assert!(explained.contains(part), "{part} is missing in\n{explained}");
    }
    let json = attest(&["measure", "--json"], &[dir.path()]).stdout;
    let measured = Measurement::parse(&json).unwrap();
    assert_eq!(
        (measured.digest.as_str(), measured.host_data.as_str()),
        (digest.as_str(), hex(&launch).as_str())
    );
    assert_eq!(measured.runs.iter().filter(|run| run.name == "vmsa").count(), 2);
    let stable = measured.runs.iter().position(|run| run.digest == measured.stable_digest).unwrap();
    assert_eq!(
        (measured.runs[stable].name.as_str(), measured.runs[stable + 1].name.as_str()),
        ("gdt", "hash-page")
    );
}

/// What is changed in a pod, the first run that differs for it, and the name of the input.
type Change = (fn(&Path), &'static str, &'static str);

#[test]
fn diff_names_the_first_run_and_the_input() {
    let changes: [Change; 5] = [
        (|dir| launch(dir, 3, 256), "acpi", "vCPUs"),
        (|dir| launch(dir, 2, 257), "hash-page", "memory"),
        (|dir| package(dir, &kernel(), "panic=-1 debug"), "command-line", "command line"),
        (|dir| package(dir, &[kernel(), vec![1]].concat(), "panic=-1"), "hash-page", "kernel"),
        (
            |dir| fs::write(dir.join("launch.json"), launch_of_another_id()).unwrap(),
            "hash-page",
            "launch.json",
        ),
    ];
    let one = tempfile::tempdir().unwrap();
    pod(one.path());
    let same = attest(&["diff"], &[one.path(), one.path()]);
    assert_eq!(same.status.code(), Some(0), "{}", text(&same));
    assert_eq!(attest(&["diff", "--json"], &[one.path(), one.path()]).stdout, b"null\n");
    for (change, run, input) in changes {
        let other = tempfile::tempdir().unwrap();
        pod(other.path());
        change(other.path());
        let found = attest(&["diff", "--json"], &[one.path(), other.path()]);
        assert_eq!(found.status.code(), Some(15), "{input}: {}", text(&found));
        let found: Value = serde_json::from_slice(&found.stdout).unwrap();
        let inputs: Vec<_> = found["inputs"].as_array().unwrap().iter().map(|input| &input["name"]).collect();
        assert!(inputs.contains(&&json!(input)), "{input}: {found}");
        if input == "vCPUs" {
            // launch.json, in which the number is, comes first.
            assert_eq!(
                (&found["first"][0]["name"], &found["runs"]),
                (&json!("hash-page"), &json!(["hash-page", run, "vmsa"]))
            );
        } else {
            assert_eq!(found["first"][0]["name"], run, "{input}: {found}");
        }
        let words = text(&attest(&["diff"], &[one.path(), other.path()]));
        assert!(
            words.contains("first difference") && words.contains(input) && words.contains(run),
            "{words}"
        );
    }
}

fn launch_of_another_id() -> String {
    json!({
        "version": 1, "id": "5f".repeat(32), "resources": {"cpu": 2, "mem": 256}, "disks": [], "containers": [],
    })
    .to_string()
}

#[test]
fn a_document_stands_for_its_pod() {
    let dir = tempfile::tempdir().unwrap();
    pod(dir.path());
    let document = dir.path().join("published.json");
    fs::write(&document, attest(&["measure", "--json"], &[dir.path()]).stdout).unwrap();
    let same = attest(&["diff"], &[&document, dir.path()]);
    assert_eq!(same.status.code(), Some(0), "{}", text(&same));
    launch(dir.path(), 2, 300);
    assert_eq!(attest(&["diff"], &[&document, dir.path()]).status.code(), Some(15));
    fs::write(&document, "{}").unwrap();
    let broken = attest(&["diff"], &[&document, dir.path()]);
    assert_eq!(broken.status.code(), Some(1));
    assert!(text(&broken).contains("attest measure --json"), "{}", text(&broken));
}

/// What is done to a pod, and what is said of it.
type Damage = (fn(&Path), &'static str);

#[test]
fn a_pod_that_cannot_be_measured_is_refused_with_the_reason() {
    let damages: [Damage; 8] = [
        (|dir| fs::remove_file(dir.join("launch.json")).unwrap(), "launch.json"),
        (|dir| fs::write(dir.join("launch.json"), "{}").unwrap(), "cannot read launch.json"),
        (|dir| launch(dir, 33, 256), "33 vCPUs"),
        (|dir| launch(dir, 1000, 256), "1000 vCPUs"),
        (|dir| launch(dir, 1, 1), "memory of 1 MiB"),
        (|dir| fs::write(dir.join("cradle/stub"), "x").unwrap(), "the package's stub has SHA-256"),
        (|dir| package(dir, b"no kernel", "panic=-1"), "ends within its setup code"),
        (
            |dir| {
                let file = dir.join("cradle/cradle.json");
                let package = fs::read_to_string(&file).unwrap();
                fs::write(&file, package.replace("\"initramfs\"", "\"../launch.json\"")).unwrap();
            },
            "which is not a file name inside",
        ),
    ];
    for (damage, reason) in damages {
        let dir = tempfile::tempdir().unwrap();
        pod(dir.path());
        damage(dir.path());
        let refused = attest(&["measure"], &[dir.path()]);
        assert_eq!((refused.status.code(), refused.stdout.len()), (Some(1), 0), "{reason}");
        assert!(text(&refused).contains(reason), "{reason}: {}", text(&refused));
    }
}

#[test]
fn a_pod_of_another_variant_is_not_measured() {
    let dir = tempfile::tempdir().unwrap();
    pod(dir.path());
    let package = r#"{"version":3,"machine":"default","kernel":{"kernel":"bzImage","initrd":"initramfs","release":"6"}}"#;
    fs::write(dir.path().join("cradle/cradle.json"), package).unwrap();
    let refused = attest(&["measure"], &[dir.path()]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused).contains("not one for SNP guests"), "{}", text(&refused));
}

mod sev_snp_measure {
    use std::fs;
    use std::process::Command;

    use super::{attest, pod, text};

    /// The program that docs/snp.md has for people, run as it stands there.
    #[test]
    fn agrees_with_the_digest_as_the_document_says() {
        let dir = tempfile::tempdir().unwrap();
        pod(dir.path());
        let pages = dir.path().join("pages");
        let measured = attest(&["measure", "--pages", pages.to_str().unwrap()], &[dir.path()]);
        assert_eq!(measured.status.code(), Some(0), "{}", text(&measured));
        let document = fs::read_to_string(tests::work_tree().join("docs/snp.md")).unwrap();
        let program = document.split("```python\n").nth(1).unwrap().split("```").next().unwrap();
        let by_hand = Command::new("python3")
            .args(["-c", program])
            .current_dir(dir.path())
            .env("PYTHONPATH", tests::tool("sev-snp-measure"))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .output()
            .unwrap();
        assert_eq!(by_hand.stdout, measured.stdout, "{}", text(&by_hand));
        assert_eq!(measured.stdout.len(), 97);
        // What is there already is not mixed with anything.
        let again = attest(&["measure", "--pages", pages.to_str().unwrap()], &[dir.path()]);
        assert_eq!((again.status.code(), again.stdout.len()), (Some(1), 0), "{}", text(&again));
    }
}

mod fuzz {
    use super::{Measurement, attest, pod};
    use ::fuzz::{Fuzz, shape};

    #[test]
    fn documents() {
        let dir = tempfile::tempdir().unwrap();
        pod(dir.path());
        let seed = attest(&["measure", "--json"], &[dir.path()]).stdout;
        let other = Measurement::parse(&seed).unwrap();
        Fuzz::new("snp-measurement", [seed]).words(["\"runs\"", "null", "[]"]).iterations(3_000).run(
            |input| {
                let found = Measurement::parse(input);
                let made = found
                    .as_ref()
                    .map(|found| attest::diff::diff(found, &other).map(|found| found.runs.len()));
                shape(made.map_err(std::mem::discriminant))
            },
        );
    }
}
