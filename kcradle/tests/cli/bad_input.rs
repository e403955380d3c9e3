//! What a user can get wrong: each a one-line cause, what to do about it, and nothing left behind.

use std::fs;

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

use crate::host::Host;

#[test]
fn a_place_that_is_taken_is_kept() {
    let host = Host::new();
    host.summon("pod", &[], &[]);
    let error = host.refused(&["summon", "pod", &host.image()], 1);
    assert!(
        error.contains("is a pod already") && error.contains("hint: remove it with `kcradle rm"),
        "{error}"
    );
    fs::create_dir(host.path("mine")).unwrap();
    fs::write(host.path("mine/data"), "precious").unwrap();
    let error = host.refused(&["summon", "mine", &host.image()], 1);
    assert!(error.contains("is not empty") && error.contains("hint: "), "{error}");
    assert_eq!(fs::read(host.path("mine/data")).unwrap(), b"precious");
}

#[test]
fn images_that_cannot_be_had_leave_nothing() {
    let host = Host::new();
    fs::write(host.path("noise.tar"), vec![7_u8; 10_000]).unwrap();
    let whole = fs::read(host.path("app.tar")).unwrap();
    fs::write(host.path("short.tar"), &whole[..whole.len() / 2]).unwrap();
    let mut changed = whole.clone();
    let at = whole.windows(4).position(|bytes| bytes == b"#!/b").unwrap();
    changed[at] ^= 1;
    fs::write(host.path("changed.tar"), changed).unwrap();
    for (image, words, hint) in [
        ("docker-archive:gone.tar", "gone.tar", "hint: see that the path is right"),
        ("docker-archive:noise.tar", "noise.tar", "hint: "),
        ("docker-archive:short.tar", "short.tar", "hint: get or make the image again"),
        ("docker-archive:changed.tar", "digest", "hint: get the image again"),
        ("docker-archive:app.tar:other:1", "other", ""),
        ("oci:gone", "gone", "hint: see that the path is right"),
        ("docker://127.0.0.1:1/none", "127.0.0.1:1", "hint: see that the name is right"),
        ("Bad Name", "Bad Name", ""),
        ("oci:", "oci", ""),
    ] {
        let error = host.refused(&["summon", "pod", image], 1);
        assert!(error.contains("cannot summon pod: ") && error.contains(words), "{image}: {error}");
        assert!(error.contains(hint), "{image}: {error}");
        assert_eq!(
            host.names(),
            ["app.tar", "changed.tar", "home", "noise.tar", "package", "short.tar"],
            "{image}"
        );
    }
    host.summon("pod", &[], &[]);
}

#[test]
fn wrong_arguments_are_named() {
    let host = Host::new();
    let image = host.image();
    for (arguments, words) in [
        (&["--memory", "10m"][..], "out of range"),
        (&["--memory", "much"], "--memory"),
        (&["--cpus", "99"], "--cpus"),
        (&["--disk-size", "1k"], "too small"),
        (&["--env-file", "gone"], "environment file gone"),
        (&["--workdir", "relative"], "relative"),
        (&["--hostname", "a b"], "host name"),
        (&["--tmpfs", "relative"], "relative"),
        (&["--name", "a/b"], "a/b"),
        (&["--label", "=x"], "label"),
    ] {
        let error = host.refused(&[&["summon"], arguments, &["pod", &image]].concat(), 1);
        assert!(error.contains(words), "{arguments:?}: {error}");
        assert!(!host.path("pod").exists(), "{arguments:?}");
    }
    assert_eq!(host.kcradle(&["summon", "--restart", "never", "pod", &image]).code, Some(2));
    assert_eq!(host.kcradle(&["summon", "pod"]).code, Some(2));
    assert_eq!(host.kcradle(&["run", "--nonsense", "pod"]).code, Some(125));
}

#[test]
fn a_pod_file_is_refused_by_the_name_of_its_field() {
    let host = Host::new();
    fs::write(host.path("pod.yaml"), "containers:\n- image: {ref: a}\n  volumeMounts: [{guestPath: /x}]\n")
        .unwrap();
    let error = host.refused(&["summon", "--file", "pod.yaml", "pod"], 1);
    assert!(error.contains("pod.yaml") && error.contains("containers[0].volumeMounts"), "{error}");
    assert_eq!(host.names(), ["app.tar", "package", "pod.yaml"]);
}

#[test]
fn a_package_of_another_machine_or_none_is_named() {
    let host = Host::new();
    let file = host.path("package/cradle.json");
    let other = fs::read_to_string(&file).unwrap().replace("\"default\"", "\"another\"");
    fs::write(&file, other).unwrap();
    let error = host.refused(&["summon", "pod", &host.image()], 1);
    assert!(error.contains("cradle.json is no runtime package") && error.contains("`another`"), "{error}");
    fs::remove_file(&file).unwrap();
    let error = host.refused(&["summon", "pod", &host.image()], 1);
    assert!(
        error.contains("no runtime package at") && error.contains("hint: build one with `make`"),
        "{error}"
    );
}

#[test]
fn what_is_no_pod_is_not_run() {
    let host = Host::new();
    let error = host.refused(&["run", "gone"], 125);
    assert!(error.contains("there is no pod at") && error.contains("hint: make one with"), "{error}");
    fs::create_dir(host.path("half")).unwrap();
    fs::write(host.path("half/launch.json"), "{}").unwrap();
    let error = host.refused(&["run", "half"], 125);
    assert!(error.contains("is no pod: it has no pod.json") && error.contains("hint: "), "{error}");
    for (file, words) in [("pod.json", "another version"), ("launch.json", "another version")] {
        host.summon("pod", &[], &[]);
        let path = host.path("pod").join(file);
        let text = fs::read_to_string(&path).unwrap().replacen("\"version\": 1", "\"version\": 99", 1);
        fs::write(&path, text).unwrap();
        let error = host.refused(&["run", "pod"], 125);
        assert!(error.contains(words) && error.contains(file) && error.contains("99"), "{error}");
        fs::write(&path, "{").unwrap();
        assert!(host.refused(&["run", "pod"], 125).contains("is damaged"));
        host.good(&["rm", "-f", "pod"]);
    }
}

#[test]
fn a_running_pod_is_left_alone() {
    let host = Host::new();
    host.summon("pod", &[], &[]);
    // What the VM's process holds.
    let lock = fs::File::options().write(true).open(host.path("pod/lock")).unwrap();
    let whole = libc::flock { l_type: 1, l_whence: 0, l_start: 0, l_len: 0, l_pid: 0 };
    fcntl(&lock, FcntlArg::F_OFD_SETLK(&whole)).unwrap();
    let error = host.refused(&["run", "pod"], 125);
    assert!(
        error.contains("is running already") && error.contains("hint: stop it with `kcradle stop"),
        "{error}"
    );
    let error = host.refused(&["rm", "pod"], 1);
    assert!(error.contains("is running already") && error.contains("hint: stop it with"), "{error}");
    assert!(host.good(&["ls"]).contains("Up "));
    drop(lock);
    assert!(host.good(&["ls"]).contains("Created"));
    host.good(&["rm", "pod"]);
}

#[test]
fn a_frontends_way_to_run_a_pod_is_no_users() {
    let host = Host::new();
    host.summon("pod", &[], &[]);
    let error = host.refused(&["run", "--served", "pod"], 125);
    assert!(error.contains("pod/lock: the descriptor is another file's"), "{error}");
    let lock = fs::File::options().write(true).open(host.path("pod/lock")).unwrap();
    let output = host.command(&["run", "--served", "pod"]).stdout(lock).output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("cannot take docker.sock from standard input"), "{error}");
    for option in ["--restart=always", "--supervised=1"] {
        assert_eq!(host.kcradle(&["run", "--served", option, "pod"]).code, Some(125));
        assert_eq!(host.kcradle(&["run", "--hold", option, "pod"]).code, Some(125));
    }
}
