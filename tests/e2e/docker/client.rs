//! What the client asks and orders of containers: lists, logs, exec, signals, ends.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};

use serde_json::Value;
use tests::Host;

use super::{pair, scripted};

/// What the containers of these tests run: a line to each stream, then what signals ask for.
const PROGRAM: &str = "
    echo out; echo err >&2; printf cut
    trap 'echo usr' USR1; trap 'echo term; exit 7' TERM
    echo; sleep 0.2; echo ready
    while :; do sleep 0.1; done";

#[test]
fn lists_and_descriptions_are_dockers() {
    let host = Host::shared();
    let wishes = ["--label", "team=shop", "-e", "A=1", "--hostname", "inside", "--health-cmd", "true"];
    let wishes = [
        &wishes[..],
        &["--health-interval", "1h", "--health-start-interval", "100ms"],
        &["--health-start-period", "1h"],
    ]
    .concat();
    let mut served = scripted(&host, &wishes, PROGRAM);
    let docker = &served.docker;
    assert!(
        docker
            .good(&["version", "--format", "{{.Server.Version}} {{.Server.APIVersion}}"])
            .ends_with(" 1.50\n")
    );
    assert_eq!(
        docker.good(&["info", "--format", "{{.Containers}} {{.ContainersRunning}} {{.OSType}}"]),
        "1 1 linux\n"
    );
    let row =
        docker.good(&["ps", "--filter", "label=team=shop", "--format", "{{.Names}}|{{.State}}|{{.Image}}"]);
    assert!(row.starts_with("web|running|") && row.ends_with("busybox\n"), "{row}");
    assert_eq!(docker.good(&["ps", "-aq", "--filter", "label=team=other"]), "");

    let inspect: Value = serde_json::from_str(&docker.good(&["inspect", "web"])).unwrap();
    let web = &inspect[0];
    assert_eq!((web["Name"].as_str(), web["State"]["Running"].as_bool()), (Some("/web"), Some(true)));
    assert_eq!(
        (web["Config"]["Hostname"].as_str(), web["Config"]["Labels"]["team"].as_str()),
        (Some("inside"), Some("shop"))
    );
    assert!(web["Config"]["Env"].as_array().unwrap().contains(&"A=1".into()));
    assert_eq!(web["Config"]["Healthcheck"]["Test"][1], "true");
    let id = web["Id"].as_str().unwrap();
    for name in [id, &id[..12], "/web", "container.0"] {
        assert_eq!(docker.good(&["inspect", "--format", "{{.Id}}", name]).trim(), id, "{name}");
    }
    // The health check passes at some time.
    let mut events = docker.start(&[
        "events",
        "--since",
        "1h",
        "--filter",
        "event=health_status",
        "--format",
        "{{.Action}}",
    ]);
    let mut event = String::new();
    BufReader::new(events.stdout.take().unwrap()).read_line(&mut event).unwrap();
    events.kill().unwrap();
    events.wait().unwrap();
    assert_eq!(event, "health_status: healthy\n");
    assert_eq!(docker.good(&["inspect", "--format", "{{.State.Health.Status}}", "web"]), "healthy\n");
    assert!(docker.refused(&["inspect", "nobody"], 1).contains("No such object: nobody"));

    let top = docker.good(&["top", "web"]);
    assert!(top.starts_with("UID") && top.contains("sleep 0.1"), "{top}");
    let stats =
        docker.good(&["stats", "--no-stream", "--format", "{{.Name}} {{.PIDs}} {{.MemUsage}}", "web"]);
    assert!(stats.starts_with("web ") && stats.contains("iB / "), "{stats}");
    assert_eq!(docker.shell("web", "echo x >/new; rm /bin/vi 2>/dev/null; :"), "");
    let diff = docker.good(&["diff", "web"]);
    assert!(diff.lines().any(|line| line == "A /new"), "{diff}");

    assert!(docker.refused(&["rename", "web", "other"], 1).contains("rename"));
    assert_eq!(docker.good(&["update", "--pids-limit", "50", "web"]), "web\n");
    assert_eq!(docker.good(&["pause", "web"]), "web\n");
    assert_eq!(docker.good(&["inspect", "--format", "{{.State.Status}}", "web"]), "paused\n");
    assert_eq!(docker.good(&["unpause", "web"]), "web\n");
    assert!(docker.refused(&["unpause", "web"], 1).contains("is not paused"));

    assert_eq!(docker.good(&["stop", "cradle"]), "cradle\n");
    let ended = served.running.end();
    assert_eq!(ended.code, Some(7), "{}", ended.err());
    assert!(ended.out().contains("term\n"), "{}", ended.out());
    let state: Value =
        serde_json::from_slice(&std::fs::read(served.pod.path().join("state.json")).unwrap()).unwrap();
    assert_eq!(state["stopped"], true, "{state}");
    assert!(state.to_string().contains("stopped through the API"), "{state}");
}

#[test]
fn logs_are_read_in_all_ways() {
    let host = Host::shared();
    let mut served = scripted(&host, &[], PROGRAM);
    let docker = &served.docker;
    let all = docker.run(&["logs", "web"]);
    assert_eq!((all.out().as_str(), all.err().as_str()), ("out\ncut\nready\n", "err\n"));
    assert_eq!(docker.good(&["logs", "-n", "1", "web"]), "ready\n");
    let stamped = docker.good(&["logs", "-t", "--tail", "1", "web"]);
    let (stamp, line) = stamped.split_once(' ').unwrap();
    assert!(stamp.len() == 30 && stamp.ends_with('Z') && line == "ready\n", "{stamped}");
    assert_eq!(docker.good(&["logs", "--since", stamp, "web"]), "ready\n");
    assert_eq!(docker.good(&["logs", "--until", "2000-01-01T00:00:00", "web"]), "");
    assert_eq!(docker.good(&["logs", "--since", "1h", "--details", "web"]), " out\n cut\n ready\n");
    let kernel = docker.good(&["logs", "cradle"]);
    assert!(kernel.contains("Linux version"), "{kernel}");

    // A follower hears what is written after it came, and the end.
    let mut follower = docker.start(&["logs", "-f", "--tail", "1", "web"]);
    let mut lines = BufReader::new(follower.stdout.take().unwrap());
    let mut line = || {
        let mut line = String::new();
        lines.read_line(&mut line).unwrap();
        line
    };
    assert_eq!(line(), "ready\n");
    assert_eq!(docker.good(&["kill", "-s", "USR1", "web"]), "web\n");
    assert_eq!(line(), "usr\n");
    let waiter = docker.start(&["wait", "web"]);
    assert_eq!(docker.good(&["stop", "-t", "5", "web"]), "web\n");
    assert_eq!((line().as_str(), line().as_str()), ("term\n", ""));
    assert!(follower.wait().unwrap().success());
    assert_eq!(waiter.wait_with_output().unwrap().stdout, b"7\n");
    assert_eq!(served.running.end().code, Some(7));
}

#[test]
fn programs_are_run_beside_the_first() {
    let host = Host::shared();
    let mut served = pair(&host);
    let docker = &served.docker;
    for (arguments, code) in [
        (&["exec", "db", "true"][..], 0),
        (&["exec", "web", "sh", "-c", "exit 3"], 3),
        (&["exec", "web", "sh", "-c", "kill -9 $$"], 137),
        (&["exec", "web", "no-such-program"], 127),
        (&["exec", "web", "/etc"], 126),
        (&["exec", "nobody", "true"], 1),
    ] {
        let ended = docker.run(arguments);
        assert_eq!(ended.code, Some(code), "{arguments:?}: {} {}", ended.out(), ended.err());
    }
    let script = "echo $A $(id -u) $(id -g) $(pwd); echo err >&2";
    let ended = docker.run(&["exec", "-e", "A=x y", "-u", "12:34", "-w", "/tmp", "web", "sh", "-c", script]);
    assert_eq!((ended.good().as_str(), ended.err().as_str()), ("x y 12 34 /tmp\n", "err\n"));
    assert_eq!(docker.good(&["exec", "-d", "web", "sh", "-c", "echo yes >/tmp/detached"]), "");
    assert_eq!(
        docker.shell("web", "until test -s /tmp/detached; do sleep 0.05; done; cat /tmp/detached"),
        "yes\n"
    );
    // All capabilities, and no more of them without being asked for.
    let caps = |options: &[&str]| {
        let command = [&["exec"], options, &["web", "grep", "CapEff", "/proc/self/status"]].concat();
        docker.good(&command).trim().rsplit('\t').next().unwrap().to_owned()
    };
    assert!(caps(&["--privileged"]) > caps(&[]));

    // A megabyte there and back, and the end of it.
    let mut cat = docker.start(&["exec", "-i", "web", "cat"]);
    let sent: Vec<u8> = (0..1_000_000_u32).map(|number| u8::try_from(number * 7 % 251).unwrap()).collect();
    let mut stdin = cat.stdin.take().unwrap();
    let to_send = sent.clone();
    let writer = std::thread::spawn(move || stdin.write_all(&to_send).unwrap());
    let mut received = Vec::new();
    cat.stdout.take().unwrap().read_to_end(&mut received).unwrap();
    writer.join().unwrap();
    assert!(received == sent && cat.wait().unwrap().success());

    // A client that closes its half at once, as all do without -i, still hears what comes later.
    assert_eq!(docker.shell("web", "for n in 1 2 3; do sleep 0.3; echo $n; done"), "1\n2\n3\n");

    assert_eq!(docker.good(&["kill", "db"]), "db\n");
    assert!(docker.refused(&["kill", "db"], 1).contains("is not running"));
    assert_eq!(docker.good(&["ps", "--format", "{{.Names}}"]), "web\n");
    assert_eq!(docker.good(&["ps", "-a", "--filter", "exited=137", "--format", "{{.Names}}"]), "db\n");
    assert_eq!(docker.good(&["start", "db"]), "db\n");
    assert_eq!(docker.good(&["restart", "-t", "1", "db"]), "db\n");
    // The client cuts times relative to now to whole seconds: what has just happened would be left out.
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let actions = docker.good(&[
        "events",
        "--since",
        "1h",
        "--until",
        &(now + 1).to_string(),
        "--filter",
        "container=db",
        "--format",
        "{{.Action}}",
    ]);
    let actions: Vec<_> = actions
        .lines()
        .filter(|action| ["start", "die", "kill", "restart", "stop"].contains(action))
        .collect();
    assert!(
        actions.starts_with(&["start", "kill", "die", "start"]) && actions.ends_with(&["restart"]),
        "{actions:?}"
    );

    // Attached without a terminal: what it writes from now on, and its exit code.
    let mut events =
        docker.start(&["events", "--since", "1h", "--filter", "event=attach", "--format", "{{.Action}}"]);
    let mut attached = docker.start(&["attach", "--no-stdin", "web"]);
    // A client that came after the end would wait for the next run.
    let mut told = String::new();
    BufReader::new(events.stdout.take().unwrap()).read_line(&mut told).unwrap();
    assert_eq!(told, "attach\n");
    events.kill().unwrap();
    events.wait().unwrap();
    assert_eq!(docker.good(&["stop", "-t", "5", "web"]), "web\n");
    assert_eq!(attached.wait().unwrap().code(), Some(3));
    drop(docker.good(&["kill", "cradle"]));
    let ended = served.running.end();
    assert_eq!(ended.code, Some(3), "{}", ended.err());
}
