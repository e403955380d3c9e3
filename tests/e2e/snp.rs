//! Pods of the SNP variant where no processor encrypts them: kernel, initramfs, stub and measured pages of `target/pkg-snp`, laid
//! out without the encryption bit, on KVM's software-protected machines, from the launcher to the container's end.
//!
//! What the processor would do for the stub, `PVALIDATE`, is played. Linux finds processors and devices by the measured ACPI
//! tables, and moves all that devices see through shared memory, as it does in an SNP guest.

mod player;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use tests::{Ended, Host, Pod, images, work_tree};

/// A pod of the variant whose command is that script.
fn summon<'h>(host: &'h Host, script: &str) -> Pod<'h> {
    let wishes = ["--variant", "snp", "--cpus", "2", "--memory", "256m"];
    host.summon(&wishes, &images::layout("busybox"), &["sh", "-c", script])
}

/// Has the pod run with that stub, and devices reached through shared memory alone.
fn repackage(host: &Host, pod: &Pod<'_>, stub: &[u8]) {
    let (built, package) = (work_tree().join("target/pkg-snp"), host.folder().join("package"));
    fs::create_dir(&package).unwrap();
    for file in ["bzImage", "initramfs"] {
        symlink(built.join(file), package.join(file)).unwrap();
    }
    fs::write(package.join("stub"), stub).unwrap();
    let json = fs::read(built.join("cradle.json")).unwrap();
    let mut json: serde_json::Value = serde_json::from_slice(&json).unwrap();
    let line = format!("{} swiotlb=force", json["snp"]["commandLine"].as_str().unwrap());
    json["snp"]["commandLine"] = line.into();
    json["snp"]["digests"]["stub"] = sha256(&package.join("stub")).into();
    fs::write(package.join("cradle.json"), json.to_string()).unwrap();
    let link = pod.path().join("cradle");
    fs::remove_file(&link).unwrap();
    symlink(&package, &link).unwrap();
}

fn sha256(file: &Path) -> String {
    let output = Command::new("sha256sum").arg(file).output().unwrap();
    String::from_utf8(output.stdout).unwrap()[..64].to_owned()
}

/// Runs it with the build that can do without the processor; no release can.
fn run(host: &Host, pod: &Pod<'_>) -> Ended {
    let debug = work_tree().join("target/debug/kcradle");
    assert!(debug.exists(), "no {}: run tests/run", debug.display());
    let mut command = Command::new(debug);
    command.arg("run").arg(pod.path());
    command.env("CRADLE_HOME", host.home()).env("CRADLE_TEST_SNP_SOFTWARE", "1");
    Ended::of(&mut command)
}

fn stub() -> Vec<u8> {
    let file = work_tree().join("target/pkg-snp/stub");
    fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}: run make VARIANT=snp guest", file.display()))
}

#[test]
fn the_layout_boots_to_a_running_container_without_encryption() {
    let host = Host::shared();
    let script = "
        nproc; grep -o swiotlb=force /proc/cmdline
        grep -c 'LNRO0005:.. LNRO0005' /proc/iomem
        echo to stderr >&2; exit 7";
    let pod = summon(&host, script);
    repackage(&host, &pod, &player::around(&stub()));
    let ended = run(&host, &pod);
    let console = fs::read_to_string(pod.path().join("console.log")).unwrap_or_default();
    assert_eq!(ended.code, Some(7), "{}{}{console}", ended.out(), ended.err());
    // Devices of the DSDT that have drivers: the disk and the vsock.
    assert_eq!((ended.out(), ended.err()), ("2\nswiotlb=force\n2\n".to_owned(), "to stderr\n".to_owned()));
}

/// The host changes a byte of what the pod is bound to, behind the back of its store.
#[test]
fn a_changed_image_ends_the_guest() {
    let host = Host::shared();
    let pod = summon(&host, "echo not reached");
    repackage(&host, &pod, &player::around(&stub()));
    let file = pod.path().join("pod.json");
    let mut record: serde_json::Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    let path = &mut record["disks"][0]["extents"][0]["path"];
    let mut meta = fs::read(path.as_str().unwrap()).unwrap();
    // In the superblock of the file system (EROFS has it at 1024): the first that is read.
    meta[1024 + 80] ^= 1;
    let changed = host.folder().join("changed");
    fs::write(&changed, meta).unwrap();
    *path = changed.to_str().unwrap().into();
    fs::write(&file, record.to_string()).unwrap();
    let ended = run(&host, &pod);
    let console = fs::read_to_string(pod.path().join("console.log")).unwrap_or_default();
    assert_eq!((ended.code, ended.out()), (Some(125), String::new()), "{}{console}", ended.err());
    assert!(console.contains("dm-verity device corrupted"), "{}{console}", ended.err());
}

/// What is played is needed: the stub validates memory before anything else, and ends where nobody answers.
#[test]
fn a_stub_whose_pages_nobody_validates_ends_the_machine() {
    let host = Host::shared();
    let pod = summon(&host, "echo not reached");
    repackage(&host, &pod, &stub());
    let ended = run(&host, &pod);
    assert_eq!((ended.code, ended.out()), (Some(125), String::new()), "{}", ended.err());
}
