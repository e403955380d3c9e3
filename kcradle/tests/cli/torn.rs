//! Summons that are killed, and several at once.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use crate::host::{Host, end};

/// The next try works, and leaves nothing but the pod.
fn works_after(host: &Host, what: &str) {
    assert!(!host.path("pod").exists(), "{what}: a pod was left behind");
    host.summon("pod", &["--disk-size", "16m"], &[]);
    assert_eq!(host.names(), ["app.tar", "home", "package", "pod"], "{what}");
}

#[test]
fn a_killed_summon_leaves_no_pod() {
    for line in ["looking for", "found", "reading", "merging"] {
        let host = Host::new();
        let mut command = host.command(&["summon", "--disk-size", "16m", "pod", &host.image()]);
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let seen = lines.map(Result::unwrap).find(|seen| seen.contains(line));
        assert!(seen.is_some(), "no line with {line}");
        // The child may be anywhere behind that line by now, at its end too.
        child.kill().unwrap();
        if child.wait().unwrap().success() {
            host.good(&["rm", "pod"]);
        } else if host.path("pod/pod.json").exists() {
            // Killed behind the last step: the pod is whole.
            host.launch("pod");
            host.good(&["rm", "pod"]);
        }
        works_after(&host, line);
    }
}

/// The kernel ends the process at the write that passes the limit on file sizes.
#[test]
fn a_summon_that_dies_at_a_write_leaves_no_pod() {
    for kib in [0, 1, 16, 1024, 4096] {
        let host = Host::new();
        let mut command = Command::new("sh");
        host.set_up(&mut command);
        let script = format!("ulimit -c 0; ulimit -f {}; exec \"$@\"", kib * 2);
        command.args([
            "-c",
            &script,
            "sh",
            env!("CARGO_BIN_EXE_kcradle"),
            "summon",
            "--disk-size",
            "16m",
            "pod",
        ]);
        let ended = end(command.arg(host.image()));
        assert_ne!(ended.code, Some(0), "{kib} KiB: {ended:?}");
        works_after(&host, &format!("{kib} KiB"));
    }
}

#[test]
fn two_summons_at_one_place_make_one_pod() {
    let host = Host::new();
    let image = host.image();
    let spawn = || {
        let mut command = host.command(&["summon", "-q", "pod", &image]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let children = [spawn(), spawn(), spawn()];
    let outputs = children.map(|child| child.wait_with_output().unwrap());
    let good = outputs.iter().filter(|output| output.status.success()).count();
    assert_eq!(good, 1, "{outputs:?}");
    for output in outputs.iter().filter(|output| !output.status.success()) {
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(error.contains("another process") || error.contains("is a pod already"), "{error}");
    }
    host.launch("pod");
    assert_eq!(host.names(), ["app.tar", "home", "package", "pod"]);
}

#[test]
fn summons_of_one_image_share_the_work() {
    let host = Host::new();
    let image = host.image();
    let spawn = |dir: &str| {
        let mut command = host.command(&["summon", "-q", dir, &image]);
        command.stderr(Stdio::piped()).spawn().unwrap()
    };
    let children = ["a", "b", "c"].map(spawn);
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    assert_eq!(host.good(&["ls", "-q"]).lines().count(), 3);
    assert_eq!(host.good(&["image", "ls", "-q"]).lines().count(), 1);
}
