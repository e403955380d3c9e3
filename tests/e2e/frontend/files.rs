//! What a container has written, while it runs and when it does not: logs, copies, differences, archives.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;

use tests::{Daemon, Host};

#[test]
fn files_and_logs_are_reached_also_of_what_does_not_run() {
    let host = Host::shared();
    let daemon = Daemon::with_busybox(&host);
    let docker = daemon.docker();
    let (from, to) = (host.folder().join("from"), host.folder().join("to"));
    std::fs::write(&from, "copied\n").unwrap();
    let (from, to) = (from.to_str().unwrap(), to.to_str().unwrap());
    // Into one that has never run, which finds it there.
    docker.good(&[
        "create",
        "--name",
        "web",
        "busybox",
        "sh",
        "-c",
        "cat /tmp/from; echo new >/tmp/new; sleep 1000",
    ]);
    assert_eq!(docker.good(&["logs", "web"]), "");
    docker.good(&["cp", from, "web:/tmp/"]);
    docker.good(&["start", "web"]);
    docker.shell("web", "until test -e /tmp/new; do sleep 0.1; done");
    assert_eq!(docker.good(&["logs", "web"]), "copied\n");
    assert_eq!(docker.good(&["top", "web", "-o", "pid,cmd"]).lines().count(), 2);
    docker.good(&["stop", "-t", "0", "web"]);
    // Out of it when it has ended.
    assert_eq!(docker.good(&["logs", "web"]), "copied\n");
    let attached = exchange(&daemon, "POST", "attach", "");
    assert!(attached.ends_with(b"\r\n\r\n\x01\0\0\0\0\0\0\x07copied\n"), "{}", attached.escape_ascii());
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let frames = exchange(&daemon, "GET", "attach/ws", upgrade);
    let (text, close) = (b"\r\n\r\n\x82\x07copied\n", b"\x88");
    let at = frames.windows(text.len()).position(|bytes| bytes == text);
    let at = at.unwrap_or_else(|| panic!("{}", frames.escape_ascii()));
    assert!(frames[at + text.len()..].starts_with(close), "{}", frames.escape_ascii());
    let diff = docker.good(&["diff", "web"]);
    assert!(diff.contains("A /tmp/from") && diff.contains("A /tmp/new"), "{diff}");
    docker.good(&["cp", "web:/tmp/new", to]);
    assert_eq!(std::fs::read_to_string(to).unwrap(), "new\n");
    let export = host.folder().join("export.tar");
    docker.good(&["export", "-o", export.to_str().unwrap(), "web"]);
    assert!(std::fs::metadata(&export).unwrap().len() > 1 << 20);
    assert!(docker.refused(&["cp", "web:/no/such", to], 1).contains("Could not find the file"));
    // It starts although its files have just been read.
    docker.good(&["start", "web"]);
    assert_eq!(docker.shell("web", "cat /tmp/from"), "copied\n");
    let stats = docker.good(&["stats", "--no-stream", "--format", "{{.Name}} {{.PIDs}}", "web"]);
    assert!(stats.starts_with("web "), "{stats}");
    docker.good(&["update", "--pids-limit", "50", "web"]);
    assert_eq!(docker.shell("web", "cat /sys/fs/cgroup/pids.max"), "50\n");
    docker.good(&["restart", "-t", "0", "web"]);
    assert_eq!(docker.shell("web", "cat /sys/fs/cgroup/pids.max"), "50\n");
}

#[test]
fn logs_are_whole_while_a_container_ends() {
    let host = Host::shared();
    let daemon = Daemon::with_busybox(&host);
    let docker = daemon.docker();
    docker.good(&["create", "--name", "web", "busybox", "echo", "said"]);
    for round in 1..4 {
        docker.good(&["start", "web"]);
        // One or the other comes while its machine goes.
        let clients = [(); 4].map(|()| docker.start(&["logs", "-f", "web"]));
        for client in clients {
            let output = client.wait_with_output().unwrap();
            let said = String::from_utf8_lossy(&output.stdout);
            assert_eq!(said, "said\n".repeat(round), "{}", String::from_utf8_lossy(&output.stderr));
        }
    }
}

/// All that comes when what `web` has written is attached to.
fn exchange(daemon: &Daemon<'_>, method: &str, path: &str, headers: &str) -> Vec<u8> {
    let mut client = UnixStream::connect(daemon.socket()).unwrap();
    let target = format!("/v1.50/containers/web/{path}?logs=1&stdout=1&stderr=1");
    let head = format!("{method} {target} HTTP/1.1\r\nHost: x\r\n{headers}Content-Length: 0\r\n\r\n");
    client.write_all(head.as_bytes()).unwrap();
    let mut said = Vec::new();
    client.read_to_end(&mut said).unwrap();
    said
}
