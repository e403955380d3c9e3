//! Summons without room for the pod or for the image store, each on a small file system in a mount namespace of its own.

use std::process::Command;

use crate::host::{Ended, Host, end};

/// Mounts a file system with the options `$1` at `$2`, summons there, lists in the file `left` what is there then, and
/// summons again with room.
const SCRIPT: &str = r#"
    program=$0 options=$1 place=$2 image=$3; shift 3
    mkdir -p "$place" && mount -t tmpfs -o "$options" none "$place" || exit 99
    "$program" summon -q "$@" small/pod "$image"; code=$?
    (cd small && find . -mindepth 1) >left
    mount -o remount,size=256m,nr_inodes=1000 "$place" || exit 99
    [ $code -eq 0 ] || "$program" summon -q "$@" small/pod "$image" && [ -e small/pod/pod.json ] || exit 98
    exit $code
"#;

/// How a summon with these options ended where `place` is a file system with the mount options `size`, and what it left
/// where the pod should have been.
fn summon_into(host: &Host, size: &str, place: &str, options: &[&str]) -> (Ended, String) {
    std::fs::create_dir_all(host.path("small")).unwrap();
    let mut command = Command::new("unshare");
    host.set_up(&mut command);
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", SCRIPT]);
    command.args([env!("CARGO_BIN_EXE_kcradle"), size, place, &host.image()]).args(options);
    let ended = end(&mut command);
    (ended, std::fs::read_to_string(host.path("left")).unwrap_or_default())
}

/// A summon that must be refused for want of space, and leave nothing.
fn refused(size: &str, place: &str, options: &[&str]) -> String {
    let (ended, left) = summon_into(&Host::new(), size, place, options);
    assert_eq!((ended.code, left.as_str()), (Some(1), ""), "{size} {place}: {ended:?}");
    let lines: Vec<_> = ended.err.lines().collect();
    assert_eq!(lines.len(), 2, "{size} {place}: {ended:?}");
    assert!(lines[0].starts_with("kcradle: cannot summon small/pod: "), "{ended:?}");
    assert!(lines[1].starts_with("hint: free some space"), "{ended:?}");
    ended.err
}

#[test]
fn a_place_without_room_for_the_pod_is_left_empty() {
    for (size, options, words) in [
        // Room for the directory, not for a file in it.
        ("nr_inodes=2", &["--disk-size", "16m"][..], "cannot create"),
        ("size=16k", &["--disk-size", "16m"], "cannot make the pod's writable disk"),
        // Room for one of its files.
        ("size=4k", &["--read-only"], "cannot write"),
    ] {
        let error = refused(size, "small", options);
        assert!(error.contains("No space left on device") && error.contains(words), "{size}: {error}");
    }
}

#[test]
fn a_store_without_room_leaves_no_pod() {
    for size in ["nr_inodes=1", "nr_inodes=4", "size=4k", "size=16k", "size=64k"] {
        let error = refused(size, "home", &["--disk-size", "16m"]);
        assert!(error.to_lowercase().contains("no space left"), "{size}: {error}");
    }
}
