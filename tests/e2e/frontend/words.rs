//! Words of the docker client that are rarely said: filters and limits of what runs, and what is said of what has
//! ended this moment or runs under another daemon.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;

use serde_json::Value;
use tests::{Daemon, Docker, Host};

/// What the daemon shows at a path.
fn shown(socket: &Path, path: &str) -> (u16, Value) {
    let mut stream = UnixStream::connect(socket).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), serde_json::from_str(body).unwrap_or_default())
}

#[test]
fn what_runs_is_found_and_limited() {
    let host = Host::empty();
    let daemon = Daemon::with_busybox(&host);
    let docker = daemon.docker();
    docker.good(&["run", "-d", "--name", "web", "-p", "127.0.0.1::80", "busybox", "sleep", "1000"]);
    docker.good(&["create", "--name", "web2", "busybox", "true"]);
    found(&docker);

    let gateway = docker.good(&["inspect", "-f", "{{.NetworkSettings.Gateway}}", "web"]);
    docker.good(&["exec", "web", "ping", "-c", "1", "-w", "20", gateway.trim()]);
    let passed = docker.good(&["stats", "--no-stream", "--format", "{{.NetIO}}", "web"]);
    assert!(!passed.starts_with("0B /") && !passed.ends_with(" 0B\n"), "{passed}");

    let limit = || docker.good(&["exec", "web", "cat", "/sys/fs/cgroup/cpu.max"]);
    docker.good(&["update", "--cpus", "0.5", "web"]);
    assert_eq!(limit(), "50000 100000\n");
    docker.good(&["update", "--cpu-quota", "20000", "--cpu-period", "50000", "web"]);
    assert_eq!(limit(), "40000 100000\n");
}

fn found(docker: &Docker) {
    let found = |filter: &str| docker.good(&["ps", "-a", "--filter", filter, "--format", "{{.Names}}"]);
    // The port of the container counts, not that of the host.
    for filter in ["publish=80", "publish=70-90/tcp", "expose=80"] {
        assert_eq!(found(filter), "web\n", "{filter}");
    }
    assert_eq!(found("publish=80/udp"), "");
    assert_eq!((found("name=^web[0-9]$"), found("name=^/(web|nobody)$")), ("web2\n".into(), "web\n".into()));
    docker.good(&["tag", "busybox", "my/box:1"]);
    let format = "{{.Repository}}:{{.Tag}}";
    assert_eq!(docker.good(&["image", "ls", "--filter", "reference=my/*", "--format", format]), "my/box:1\n");
}

#[test]
fn execs_outlive_the_daemon() {
    let host = Host::shared();
    let mut daemon = Daemon::with_busybox(&host);
    let docker = daemon.docker();
    docker.good(&["run", "-d", "--name", "web", "busybox", "sleep", "1000"]);
    docker.good(&["exec", "-d", "web", "sh", "-c", "exit 5"]);
    let attribute = "{{.Actor.Attributes.execID}}";
    let events =
        |action: &str| docker.events(&["--filter", &format!("event={action}"), "--format", attribute]);
    while events("exec_die").is_empty() {}
    let ended = events("exec_die").trim().to_owned();
    docker.good(&["exec", "-d", "web", "sh", "-c", "until test -e /go; do sleep 0.1; done; exit 7"]);
    let ids = docker.good(&["inspect", "-f", "{{json .ExecIDs}}", "web"]);
    let ids: Vec<String> = serde_json::from_str(&ids).unwrap();
    let [running] = &ids[..] else { panic!("{ids:?}") };

    daemon.kill();
    daemon.again();
    let known = docker.good(&["inspect", "-f", "{{json .ExecIDs}}", "web"]);
    assert_eq!(serde_json::from_str::<Vec<String>>(&known).unwrap(), ids);
    let state = |id: &str| {
        let (status, exec) = shown(daemon.socket(), &format!("/exec/{id}/json"));
        assert_eq!((status, exec["ID"].as_str()), (200, Some(id)), "{exec}");
        (exec["Running"].clone(), exec["ExitCode"].clone())
    };
    assert_eq!(state(running), (true.into(), Value::Null));
    docker.good(&["exec", "web", "touch", "/go"]);
    while state(running).0 == true {}
    assert_eq!(state(running), (false.into(), 7.into()));
    // That it has ended is told with the events, which come a moment after the daemon.
    while shown(daemon.socket(), &format!("/exec/{ended}/json")).0 == 404 {}
    assert_eq!(state(&ended), (false.into(), 5.into()));
    docker.good(&["kill", "web"]);
    assert_eq!((state(running), state(&ended)), ((false.into(), 7.into()), (false.into(), 5.into())));
}

#[test]
fn what_comes_too_late_is_told_so() {
    let host = Host::shared();
    let daemon = Daemon::with_busybox(&host);
    let file = host.folder().join("file");
    std::fs::write(&file, vec![b'x'; 3 << 20]).unwrap();
    let daemon = &daemon;
    for _ in 0..2 {
        let docker = daemon.docker();
        docker.good(&["run", "-d", "--name", "web", "busybox", "sleep", "1000"]);
        let late = std::thread::scope(|scope| {
            let until_refused = |arguments: Vec<String>| {
                let docker = daemon.docker();
                move || loop {
                    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
                    let ended = docker.run(&arguments);
                    // What was cut off has Docker's code for that.
                    if ended.code != Some(0) && ended.code != Some(137) {
                        return ended.err();
                    }
                }
            };
            let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
            let exec = scope.spawn(until_refused(words("exec web true")));
            let top = scope.spawn(until_refused(words("top web")));
            let copy = ["cp".to_owned(), file.to_str().unwrap().to_owned(), "web:/file".to_owned()];
            let copied = scope
                .spawn(move || daemon.docker().run(&copy.iter().map(String::as_str).collect::<Vec<_>>()));
            docker.shell("web", "until test -e /file; do sleep 0.1; done");
            docker.good(&["kill", "web"]);
            let copied = copied.join().unwrap();
            [exec.join().unwrap(), top.join().unwrap(), copied.err()]
        });
        for words in &late[..2] {
            // The client's own words where the refusal comes in place of a stream.
            let is_conflict = words.contains("is not running") || words.contains("received 409");
            assert!(is_conflict, "{words}");
        }
        assert!(late[2].is_empty() || late[2].contains("is not running"), "{}", late[2]);
        docker.good(&["rm", "web"]);
    }
}
