//! What outlives the daemon, and what it makes of what it finds.

use tests::{Daemon, Host};

#[test]
fn a_killed_daemon_loses_nothing() {
    let host = Host::shared();
    let mut daemon = Daemon::with_busybox(&host);
    let docker = daemon.docker();
    docker.good(&[
        "run",
        "-d",
        "--name",
        "stays",
        "--restart",
        "always",
        "busybox",
        "sh",
        "-c",
        "echo one; sleep 1000",
    ]);
    docker.good(&[
        "run",
        "-d",
        "--name",
        "ends",
        "busybox",
        "sh",
        "-c",
        "until test -e /end; do sleep 0.1; done; exit 9",
    ]);
    docker.good(&[
        "run",
        "-d",
        "--rm",
        "--name",
        "goes",
        "busybox",
        "sh",
        "-c",
        "until test -e /end; do sleep 0.1; done",
    ]);
    docker.good(&["create", "--name", "waits", "busybox", "true"]);
    // Two are told to end, and do so while nobody looks.
    docker.good(&["exec", "-d", "ends", "sh", "-c", "sleep 2; touch /end"]);
    docker.good(&["exec", "-d", "goes", "sh", "-c", "sleep 2; touch /end"]);
    let pid = docker.good(&["inspect", "--format", "{{.State.Pid}}", "ends"]);
    daemon.kill();
    while std::path::Path::new(&format!("/proc/{}", pid.trim())).exists() {
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    daemon.again();
    let inspect =
        |name: &str| docker.good(&["inspect", "--format", "{{.State.Status}} {{.State.ExitCode}}", name]);
    assert_eq!((inspect("stays").as_str(), inspect("ends").as_str()), ("running 0\n", "exited 9\n"));
    assert_eq!(inspect("waits"), "created 0\n");
    assert_eq!(docker.shell("stays", "echo still"), "still\n");
    assert_eq!(docker.good(&["logs", "stays"]), "one\n");
    // Each event once.
    let told = |name: &str| {
        let filter = format!("container={name}");
        docker.events(&["--filter", &filter, "--format", "{{.Action}}"])
    };
    assert_eq!(told("ends").lines().filter(|action| ["start", "die"].contains(action)).count(), 2);
    // The machine of one is killed: its policy starts it again.
    let pid = docker.good(&["inspect", "--format", "{{.State.Pid}}", "stays"]);
    assert!(std::process::Command::new("kill").args(["-9", pid.trim()]).status().unwrap().success());
    let mut events =
        docker.start(&["events", "--since", "1h", "--filter", "container=stays", "--filter", "event=start"]);
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(events.stdout.take().unwrap()));
    assert!(lines.next().is_some() && lines.next().is_some());
    events.kill().unwrap();
    events.wait().unwrap();
    assert_eq!(docker.good(&["inspect", "--format", "{{.RestartCount}}", "stays"]), "1\n");
    // An orderly end of the daemon leaves it running too.
    assert_eq!(daemon.terminate(), Some(0));
    daemon.again();
    assert_eq!(inspect("stays"), "running 0\n");
    assert!(docker.refused(&["inspect", "goes"], 1).contains("No such object"));
    docker.good(&["start", "-a", "waits"]);
}

#[test]
fn a_start_goes_on_that_a_daemon_was_killed_in() {
    let host = Host::shared();
    let mut daemon = Daemon::with_busybox(&host);
    let docker = daemon.docker();
    docker.good(&["network", "create", "web"]);
    let created = ["again", "away"].map(|name| {
        let id = docker.good(&["create", "--name", name, "--network", "web", "busybox", "sleep", "1000"]);
        let dir = host.folder().join("serve/pods").join(id.trim());
        // Its process is there, and its program does not run yet.
        let mut client = docker.start(&["start", name]);
        while !dir.join("control.sock").exists() {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        daemon.kill();
        client.wait().unwrap();
        daemon.again();
        dir
    });
    docker.good(&["start", "again"]);
    docker.good(&["rm", "-f", "away"]);
    assert!(created[0].exists() && !created[1].exists());
    assert_eq!(docker.good(&["inspect", "--format", "{{.State.Status}}", "again"]), "running\n");
    assert_eq!(docker.shell("again", "echo there"), "there\n");
    let starts =
        docker.events(&["--filter", "container=again", "--filter", "event=start", "--format", "{{.Action}}"]);
    assert_eq!(starts, "start\n");
}
