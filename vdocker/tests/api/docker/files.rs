//! `docker cp` in both directions, and `export`.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::Stdio;

use crate::pod::Pod;

#[test]
fn files_go_in_and_come_out() {
    let pod = Pod::of(&["sleep", "1000"]);
    let folder = pod.folder();
    let bytes: Vec<u8> = (0..3_000_000u32).flat_map(u32::to_le_bytes).collect();
    fs::write(folder.join("big"), &bytes).unwrap();
    let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    pod.ok(&["cp", &path("big"), "web:/"]);
    pod.ok(&["cp", &path("big"), "web:/renamed"]);
    pod.ok(&["cp", "web:/renamed", &path("back")]);
    assert!(fs::read(folder.join("back")).unwrap() == bytes);
    assert_eq!(pod.ok(&["diff", "web"]), "A /big\nA /renamed\n");
}

#[test]
fn folders_and_links_go_in_and_come_out() {
    let pod = Pod::of(&["sleep", "1000"]);
    let folder = pod.folder();
    fs::create_dir_all(folder.join("tree/sub")).unwrap();
    fs::write(folder.join("tree/sub/file"), "inside").unwrap();
    std::os::unix::fs::symlink("sub/file", folder.join("tree/link")).unwrap();
    let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    pod.ok(&["cp", &path("tree"), "web:/"]);
    pod.ok(&["cp", &path("tree/."), "web:/copy"]);
    pod.ok(&["cp", "web:/copy", &path("back")]);
    assert_eq!(fs::read_to_string(folder.join("back/link")).unwrap(), "inside");
    pod.ok(&["cp", "-L", "web:/tree/sub/file", &path("plain")]);
    assert_eq!(fs::read_to_string(folder.join("plain")).unwrap(), "inside");
    pod.ok(&["exec", "web", "ln", "-s", "/tree/sub", "door"]);
    pod.ok(&["cp", &path("plain"), "web:/door/through"]);
    assert_eq!(pod.ok(&["exec", "web", "cat", "tree/sub/through"]), "inside");
}

#[test]
fn archives_go_through_pipes() {
    let pod = Pod::of(&["sleep", "1000"]);
    let mut into = pod.command(&["cp", "-", "web:/"]).stdin(Stdio::piped()).spawn().unwrap();
    fs::write(pod.folder().join("x"), "piped").unwrap();
    let packed =
        std::process::Command::new("tar").arg("-C").arg(pod.folder()).args(["-c", "x"]).output().unwrap();
    into.stdin.take().unwrap().write_all(&packed.stdout).unwrap();
    assert!(into.wait().unwrap().success());
    let out = pod.command(&["cp", "web:/x", "-"]).output().unwrap();
    assert!(out.stdout.windows(5).any(|window| window == b"piped"));
    let whole = pod.command(&["export", "web"]).output().unwrap();
    assert!(whole.stdout.windows(5).any(|window| window == b"piped"));
}

#[test]
fn what_is_missing_is_said_to_be() {
    let pod = Pod::of(&["sleep", "1000"]);
    for arguments in [
        ["cp", "web:/nothing", "-"],
        ["cp", "/etc/hostname", "web:/nowhere/x"],
        ["cp", "/etc/hostname", "web:/nowhere/"],
    ] {
        let done = pod.docker(&arguments);
        let words = ["nowhere", "nothing", "no such directory"];
        assert!(done.code == 1 && words.iter().any(|words| done.stderr.contains(words)), "{done:?}");
    }
    assert_eq!(pod.request("HEAD", "/containers/web/archive?path=/nothing", "").0, 404);
    assert_eq!(pod.request("GET", "/containers/web/archive", "").0, 400);
}

#[test]
fn an_upload_that_breaks_off_is_no_archive() {
    let pod = Pod::of(&["sleep", "1000"]);
    let head = "PUT /containers/web/archive?path=/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    let mut client = UnixStream::connect(pod.socket()).unwrap();
    client.write_all(head.as_bytes()).unwrap();
    client.write_all(b"400\r\n").unwrap();
    client.write_all(&[0; 1024]).unwrap();
    drop(client);
    // The engine notes what it was told instead of an end.
    while !pod.ok(&["diff", "web"]).contains("A /broken\n") {
        std::thread::yield_now();
    }
}

#[test]
fn a_large_upload_to_nowhere_is_told_so() {
    let pod = Pod::of(&["sleep", "1000"]);
    let large = pod.folder().join("large");
    fs::File::create(&large).unwrap().set_len(64 << 20).unwrap();
    let done = pod.docker(&["cp", large.to_str().unwrap(), "web:/nowhere/large"]);
    assert!(done.code == 1 && done.stderr.contains("Could not find the file /nowhere"), "{done:?}");
}

#[test]
fn a_reader_of_an_archive_may_leave() {
    let pod = Pod::of(&["sh", "-c", "head -c 64000000 /dev/zero >large; sleep 1000"]);
    for _ in 0..5 {
        let mut client = UnixStream::connect(pod.socket()).unwrap();
        client.write_all(b"GET /containers/web/archive?path=/large HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        client.read_exact(&mut [0; 12]).unwrap();
    }
    assert!(pod.end(false).closed, "no connection is left");
}
