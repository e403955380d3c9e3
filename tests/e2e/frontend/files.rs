//! What a container has written, while it runs and when it does not: logs, copies, differences, archives.

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
