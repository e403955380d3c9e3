//! How a virtual machine ends, and what its user is told: timeline, guest panic, killed VMM, broken packages.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use rustix::process::Signal;
use tests::{Ended, Host, images};

#[test]
fn a_timeline_names_every_stage_in_order() {
    let host = Host::shared();
    let ended = host.summon(&[], &images::layout("busybox"), &["true"]).run_with(&["--timeline"]);
    assert_eq!(ended.code, Some(0), "{}", ended.err());
    let text = ended.err();
    let mut at = 0;
    for stage in ["init", "config", "stdio", "disks", "exec", "exited", "power-off"] {
        let found = text[at..].find(stage);
        at += found.unwrap_or_else(|| panic!("no stage {stage} in its place: {text}"));
    }
}

/// The kernel panics for want of a first program; `kcradle` says so, with the kernel's last words.
#[test]
fn a_kernel_panic_is_told() {
    let host = Host::shared();
    let pod = host.summon(&[], &images::layout("busybox"), &["echo", "ran"]);
    let link = pod.path().join("cradle");
    let package = fs::canonicalize(&link).unwrap();
    let broken = host.folder().join("broken-package");
    fs::create_dir(&broken).unwrap();
    for file in ["vmlinux", "cradle.json"] {
        symlink(package.join(file), broken.join(file)).unwrap();
    }
    fs::write(broken.join("initramfs"), b"no archive").unwrap();
    fs::remove_file(&link).unwrap();
    symlink(&broken, &link).unwrap();
    let ended = pod.run();
    assert_eq!(ended.code, Some(125), "{}", ended.err());
    assert!(ended.err().contains("panic"), "{}", ended.err());
    let console = fs::read_to_string(pod.path().join("console.log")).unwrap();
    assert!(console.contains("Kernel panic"), "{console}");

    fs::remove_file(&link).unwrap();
    symlink(&package, &link).unwrap();
    assert_eq!(pod.run().good(), "ran\n");
}

#[test]
fn a_killed_vmm_leaves_the_pod_fit_to_run_again() {
    let host = Host::shared();
    let script =
        "echo ready; test -e /second && exit 0; touch /second; sync; echo synced; while :; do sleep 1; done";
    let pod = host.summon(&[], &images::layout("busybox"), &["sh", "-c", script]);
    let mut running = pod.start();
    running.wait_for("synced");
    running.signal(Signal::KILL);
    assert_eq!(running.end().code, None);
    assert_eq!(pod.run().good(), "ready\n");
}

/// Runs a script on a host's disk of 16 MiB, mounted at `$1` for the script alone; `$0` is kcradle, `$2` an image.
fn on_a_small_disk(host: &Host, script: &str) -> Ended {
    let place = host.folder().join("small");
    fs::create_dir(&place).unwrap();
    let script = format!("mount -t tmpfs -o size=16m none \"$1\" || exit 99; {script}");
    // Root may mount without a user namespace, which there is none of below a chroot.
    let is_root = rustix::process::geteuid().is_root();
    let namespaces: &[&str] = if is_root { &["--mount"] } else { &["--user", "--map-root-user", "--mount"] };
    let output = Command::new("unshare")
        .args(namespaces)
        .args(["sh", "-c", &script])
        .arg(host.kcradle::<&str>([]).get_program())
        .args([place.to_str().unwrap(), &images::layout("busybox")])
        .env("CRADLE_HOME", host.home())
        .output()
        .unwrap();
    Ended { code: output.status.code(), stdout: output.stdout, stderr: output.stderr }
}

/// The host's disk fills up under a running pod: its log says so, though it lies on that disk.
#[test]
fn a_disk_that_fills_up_is_told() {
    let script = r#"
        "$0" summon -q --disk-size 256m "$1/pod" "$2" sh -c 'head -c 40000000 /dev/zero >/x; sync; echo ended' || exit
        "$0" run "$1/pod" && cat "$1/pod/console.log""#;
    let out = on_a_small_disk(&Host::shared(), script).good();
    assert!(out.starts_with("ended\n"), "{out}");
    let warnings =
        out.matches("kcradle: cannot write a disk: No space left on device (os error 28)\n").count();
    assert!((1..=200).contains(&warnings), "{out}");
}

#[test]
fn a_pod_on_a_full_disk_is_not_run_until_there_is_room() {
    let script = r#"
        "$0" summon -q "$1/pod" "$2" echo ran || exit
        cat /dev/zero >"$1/filler" 2>/dev/null
        "$0" run "$1/pod"; echo "code $?"
        cd "$1/pod" && ls -A *.tmp* .*.tmp* pid state.json 2>/dev/null
        rm "$1/filler"; "$0" run "$1/pod""#;
    let ended = on_a_small_disk(&Host::shared(), script);
    assert_eq!(ended.good(), "code 125\nran\n", "{}", ended.err());
    let error = ended.err();
    let lines: Vec<_> = error.lines().collect();
    assert_eq!(lines.len(), 2, "{error}");
    assert!(lines[0].starts_with("kcradle: cannot run ") && lines[0].contains("No space left"), "{error}");
    assert!(lines[1].starts_with("hint: free some space"), "{error}");
}

#[test]
fn a_running_pod_is_not_run_twice() {
    let host = Host::shared();
    let pod = host.summon(&["-i"], &images::layout("busybox"), &["sh", "-c", "echo ready; cat"]);
    let mut running = pod.start();
    running.wait_for("ready");
    let error = host.refuse(&["run", pod.name()]);
    assert!(error.contains("running"), "{error}");
    assert_eq!(running.end().good(), "");
}

#[test]
fn a_missing_package_is_named() {
    let host = Host::shared();
    let pod = host.summon(&[], &images::layout("busybox"), &["true"]);
    let link = pod.path().join("cradle");
    fs::remove_file(&link).unwrap();
    symlink("/nowhere/pkg-default", &link).unwrap();
    let error = host.refuse(&["run", pod.name()]);
    assert!(error.contains("/nowhere/pkg-default") || error.contains("cradle"), "{error}");
}

#[test]
fn check_finds_this_host_fit() {
    let host = Host::empty();
    let output = host.succeed(&["check"]);
    assert!(output.to_lowercase().contains("kvm"), "{output}");
}
