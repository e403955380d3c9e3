//! Lives of containers: start, stop, kill, pause, restarts, waits, names, lists and events.

use tests::{Daemon, Host};

#[test]
fn containers_are_started_stopped_and_removed() {
    let host = Host::shared();
    let daemon = Daemon::with_busybox(&host);
    let docker = daemon.docker();
    let script = "trap 'echo usr' USR1; trap 'echo term; exit 7' TERM; echo up; while :; do sleep 0.1; done";
    let id =
        docker.good(&["run", "-d", "--name", "web", "--label", "team=shop", "busybox", "sh", "-c", script]);
    let id = id.trim();
    let inspect = |format: &str| docker.good(&["inspect", "--format", format, "web"]);
    assert_eq!(
        inspect("{{.Id}} {{.State.Status}} {{.Config.Image}} {{.Path}}"),
        format!("{id} running busybox sh\n")
    );
    assert_eq!(docker.good(&["ps", "-q", "--no-trunc", "--filter", "label=team=shop"]).trim(), id);
    assert_eq!(docker.good(&["ps", "-q", "--filter", "ancestor=busybox"]).trim(), &id[..12]);
    assert_eq!(docker.good(&["ps", "-q", "--filter", "status=exited"]), "");
    assert!(
        docker
            .refused(&["rm", "web"], 1)
            .contains("container is running: stop the container before removing")
    );
    docker.good(&["rename", "web", "shop"]);
    docker.good(&["rename", "shop", "web"]);
    docker.good(&["pause", "web"]);
    assert_eq!(inspect("{{.State.Status}} {{.State.Running}}"), "paused true\n");
    assert!(docker.refused(&["exec", "web", "true"], 1).contains("is paused"));
    docker.good(&["unpause", "web"]);
    docker.good(&["kill", "-s", "WINCH", "web"]);
    let waiter = docker.start(&["wait", "web"]);
    docker.good(&["stop", "-t", "5", "web"]);
    assert_eq!(waiter.wait_with_output().unwrap().stdout, b"7\n");
    assert_eq!(inspect("{{.State.Status}} {{.State.ExitCode}} {{.State.Pid}}"), "exited 7 0\n");
    assert!(docker.good(&["ps", "-a", "--format", "{{.Status}}"]).starts_with("Exited (7)"));
    docker.good(&["stop", "web"]);
    assert!(docker.refused(&["kill", "web"], 1).contains("is not running"));
    docker.good(&["start", "web"]);
    docker.good(&["restart", "-t", "5", "web"]);
    assert_eq!(docker.good(&["logs", "web"]), "up\nterm\nup\nterm\nup\n");
    docker.good(&["rm", "-f", "web"]);
    assert!(docker.refused(&["inspect", "web"], 1).contains("No such object"));
    let events = docker.events(&["--filter", "type=container", "--format", "{{.Action}}"]);
    let events: Vec<_> = events.lines().collect();
    let expected = [
        "create", "start", "rename", "rename", "pause", "unpause", "kill", "kill", "die", "stop", "start",
        "kill", "die", "stop", "start", "restart", "kill", "die", "destroy",
    ];
    assert_eq!(events, expected);
}

#[test]
fn policies_start_what_has_ended_again() {
    let host = Host::shared();
    let daemon = Daemon::with_busybox(&host);
    let docker = daemon.docker();
    docker.good(&[
        "run",
        "-d",
        "--name",
        "fails",
        "--restart",
        "on-failure:2",
        "busybox",
        "sh",
        "-c",
        "echo try; exit 4",
    ]);
    // Three runs: the first, and two by the policy.
    let mut events =
        docker.command(&["events", "--since", "1h", "--filter", "container=fails", "--filter", "event=die"]);
    let mut events = events.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(events.stdout.take().unwrap()));
    for _ in 0..3 {
        assert!(lines.next().unwrap().unwrap().contains("exitCode=4"));
    }
    events.kill().unwrap();
    events.wait().unwrap();
    assert_eq!(docker.good(&["wait", "fails"]), "4\n");
    let format = "{{.RestartCount}} {{.State.Status}}";
    assert_eq!(docker.good(&["inspect", "--format", format, "fails"]), "2 exited\n");
    assert_eq!(docker.good(&["logs", "fails"]), "try\ntry\ntry\n");
    // What is stopped by hand stays so.
    docker.good(&["run", "-d", "--name", "stays", "--restart", "always", "busybox", "sleep", "1000"]);
    docker.good(&["stop", "-t", "0", "stays"]);
    assert_eq!(docker.good(&["inspect", "--format", format, "stays"]), "0 exited\n");
    let refused = docker.refused(&["run", "--rm", "--restart", "always", "busybox", "true"], 125);
    assert!(
        refused.to_lowercase().contains("conflicting options") || refused.contains("AutoRemove"),
        "{refused}"
    );
    docker.good(&["rm", "fails", "stays"]);
    // Health is there from the start on, and told of.
    docker.good(&[
        "run",
        "-d",
        "--name",
        "checked",
        "--health-cmd",
        "test -e /ok",
        "--health-interval",
        "1s",
        "--health-start-period",
        "1m",
        "--health-start-interval",
        "200ms",
        "busybox",
        "sleep",
        "1000",
    ]);
    let health = || docker.good(&["inspect", "--format", "{{.State.Health.Status}}", "checked"]);
    assert_eq!(health(), "starting\n");
    let mut events = docker.start(&[
        "events",
        "--since",
        "1h",
        "--filter",
        "event=health_status",
        "--format",
        "{{.Action}}",
    ]);
    docker.shell("checked", "touch /ok");
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(events.stdout.take().unwrap()));
    assert_eq!(lines.next().unwrap().unwrap(), "health_status: healthy");
    events.kill().unwrap();
    events.wait().unwrap();
    assert_eq!(health(), "healthy\n");
    assert!(docker.good(&["ps", "--format", "{{.Status}}"]).ends_with("(healthy)\n"));
}
