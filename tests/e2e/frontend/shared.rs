//! Directories and files of the daemon's host in containers, through the Docker API.

use std::fs;

use serde_json::Value;
use tests::{Daemon, Host};

#[test]
fn binds_are_as_under_docker() {
    let host = Host::shared();
    let daemon = Daemon::with_busybox(&host);
    let docker = daemon.docker();
    let folder = host.folder().join("srv");
    let made = host.folder().join("made/by/docker");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("a"), "host\n").unwrap();
    let bind = |source: &std::path::Path, rest: &str| format!("{}:{rest}", source.display());
    let script = "cat /srv/a; echo guest >/srv/b; echo made >/made/x; echo x >/read/x || mount -o remount,rw /read; echo x >/read/x";
    let arguments = [
        "run",
        "--rm",
        "--privileged",
        "-m",
        "96m",
        "-v",
        &bind(&folder, "/srv"),
        "-v",
        &bind(&made, "/made"),
    ];
    let read = format!("type=bind,source={},target=/read,readonly", folder.display());
    let ended = docker.run(&[&arguments[..], &["--mount", &read, "busybox", "sh", "-c", script]].concat());
    assert_eq!(ended.out(), "host\n", "{}", ended.err());
    // Also who may mount in the guest does not write: the host refuses it.
    assert_eq!(ended.err().matches("Read-only file system").count(), 2, "{}", ended.err());
    assert_eq!(fs::read_to_string(folder.join("b")).unwrap(), "guest\n");
    assert_eq!(fs::read_to_string(made.join("x")).unwrap(), "made\n");
    assert!(!folder.join("x").exists());

    docker.good(&["create", "--name", "kept", "-v", &bind(&folder, "/srv:ro"), "busybox", "cat", "/srv/a"]);
    let mounts: Value =
        serde_json::from_str(&docker.good(&["inspect", "-f", "{{json .Mounts}}", "kept"])).unwrap();
    assert_eq!(
        mounts[0],
        serde_json::json!({"Type": "bind", "Source": folder.to_str(), "Destination": "/srv", "Mode": "ro",
            "RW": false, "Propagation": "rprivate"})
    );
    assert_eq!(docker.good(&["start", "-a", "kept"]), "host\n");
    // What does not run shows it as well; nothing of it is removed with the container.
    docker.good(&["cp", "kept:/srv/b", host.folder().join("copied").to_str().unwrap()]);
    assert_eq!(fs::read_to_string(host.folder().join("copied")).unwrap(), "guest\n");
    docker.good(&["rm", "kept"]);
    assert!(folder.join("a").exists());

    let missing = host.folder().join("missing");
    let mount = format!("type=bind,source={},target=/x", missing.display());
    let words = docker.refused(&["run", "--rm", "--mount", &mount, "busybox", "true"], 125);
    assert!(words.contains(&format!("bind source path does not exist: {}", missing.display())), "{words}");
    let words = docker.refused(
        &["run", "--rm", "-v", &bind(daemon.socket(), "/var/run/docker.sock"), "busybox", "true"],
        125,
    );
    assert!(words.contains("is a socket"), "{words}");
    let words = docker.refused(&["run", "--rm", "-v", &bind(&folder, "/x:rshared"), "busybox", "true"], 125);
    assert!(words.contains("propagation 'rshared' is not supported"), "{words}");
}
