//! What the process behind a share of the host's files has when virtiofsd takes over, which is a script here.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use crate::host::{Host, end};

/// Makes the directory `$2` with a file system in it, whose mount allows all, and becomes the process.
const SCRIPT: &str = r#"
    program=$0; mkdir -p "$2/a b/below" "$1" && echo beside >"$2/file" || exit 99
    mount -t tmpfs -o suid,dev,rw none "$2/a b/below" && mkdir "$2/a b/below/deep" || exit 99
    mount -t tmpfs -o suid,dev,rw,noexec none "$2/a b/below/deep" || exit 99
    export SECRET=1; exec 7<"$2"
    exec "$program" share "$PWD/virtiofsd" "$PWD/$1" "$PWD/$2$5" "$3" "$4" auto
"#;

/// Says what it has: where it is in, what can be written, mounts, session, descriptors and environment.
const VIRTIOFSD: &str = r#"#!/bin/sh
    PATH=/usr/bin:/bin; cd share
    for folder in . "a b" "a b/below" "a b/below/deep"; do
        (: >"$folder/new") 2>/dev/null && echo "writes $folder"
    done
    (echo more >>file) 2>/dev/null && echo writes file
    ls
    while read -r id parent device root place options rest; do
        case $place in "$PWD" | "$PWD"/*) echo "mount ${place#"$PWD"} ${options%,relatime}";; esac
    done </proc/self/mountinfo
    read -r pid name state parent group session rest </proc/$$/stat
    [ $session = $$ ] && echo session
    grep -q "^NoNewPrivs:.1" /proc/self/status || echo privileges
    [ -e /proc/$$/fd/7 ] && echo descriptor
    [ -n "$SECRET" ] && echo environment
    exit 0
"#;

/// What there is of a share of `source`, of that kind and for that.
fn shared(kind: &str, way: &str, path: &str) -> Vec<String> {
    let host = Host::new();
    let program = host.path("virtiofsd");
    fs::write(&program, VIRTIOFSD).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = Command::new("unshare");
    host.set_up(&mut command);
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", SCRIPT, env!("CARGO_BIN_EXE_kcradle")]);
    command.args(["pod", "source", kind, way, path]);
    let ended = end(&mut command);
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""), "{ended:?}");
    assert!(
        Path::new(&host.path("pod")).read_dir().unwrap().next().is_none(),
        "the pod's directory is as before"
    );
    ended.out.lines().map(str::to_owned).collect()
}

#[test]
fn what_is_shared_for_reading_is_so_with_all_mounts_below() {
    let mounts = [
        "mount  ro,nosuid,nodev",
        "mount /a b/below ro,nosuid,nodev",
        "mount /a b/below/deep ro,nosuid,nodev,noexec",
        "session",
    ];
    assert_eq!(shared("directory", "ro", ""), [&["a b", "file"][..], &mounts].concat());
}

#[test]
fn what_is_shared_for_writing_has_neither_devices_nor_set_user_id() {
    let writes = ["writes .", "writes a b", "writes a b/below", "writes a b/below/deep", "writes file"];
    let mounts = [
        "mount  rw,nosuid,nodev",
        "mount /a b/below rw,nosuid,nodev",
        "mount /a b/below/deep rw,nosuid,nodev,noexec",
        "session",
    ];
    assert_eq!(shared("directory", "rw", ""), [&writes[..], &["a b", "file", "new"], &mounts].concat());
}

#[test]
fn a_file_has_no_neighbours() {
    assert_eq!(
        shared("file", "rw", "/file"),
        ["writes file", "file", "mount /file rw,nosuid,nodev", "session"]
    );
    assert_eq!(shared("file", "ro", "/file"), ["file", "mount /file ro,nosuid,nodev", "session"]);
}

#[test]
fn a_path_is_no_option_of_qemus_program() {
    let host = Host::new();
    let error = host
        .refused(&["share", "/lib/qemu/virtiofsd", "/a,log_file=b", "/srv", "directory", "rw", "auto"], 1);
    assert!(error.contains("a comma in its path"), "{error}");
}
