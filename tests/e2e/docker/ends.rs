//! The machine goes while clients hold streams: each hears of it at once, and nothing hangs.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::process::{Child, Stdio};

use tests::{Docker, Host, Running, images};

use super::scripted;

/// Reads all that a client prints and waits for it.
fn finish(mut child: Child) -> (Vec<u8>, Option<i32>) {
    let mut bytes = Vec::new();
    child.stdout.take().unwrap().read_to_end(&mut bytes).unwrap();
    (bytes, child.wait().unwrap().code())
}

const STREAMS: [&[&str]; 7] = [
    &["logs", "-f", "web"],
    &["attach", "--no-stdin", "web"],
    &["exec", "-i", "web", "cat"],
    &["stats"],
    &["events"],
    &["wait", "web"],
    &["cp", "web:/endless", "-"],
];

#[test]
fn clients_hear_of_the_pods_end() {
    let host = Host::shared();
    // As if the power were cut, and in order.
    for (kill, code) in [(true, 137), (false, 9)] {
        let script = "dd if=/dev/zero of=/endless bs=1 count=0 seek=512G 2>/dev/null
            trap 'echo last words; exit 9' TERM; echo ready; while :; do sleep 0.1; done";
        let mut served = scripted(&host, &[], script);
        let clients: Vec<_> = STREAMS.iter().map(|arguments| served.docker.start(arguments)).collect();
        // All have their connections when one that came later has its answer.
        served.docker.shell("web", "until pidof cat; do sleep 0.1; done");
        let verb: &[&str] = if kill { &["rm", "-f"] } else { &["stop"] };
        host.succeed(&[verb, &[served.pod.name()]].concat());
        let ends: Vec<_> = clients.into_iter().map(finish).collect();
        assert_eq!(served.running.end().code, Some(code));
        if !kill {
            assert_eq!(String::from_utf8_lossy(&ends[0].0), "ready\nlast words\n");
            assert_eq!((ends[1].1, ends[5].0.as_slice()), (Some(9), &b"9\n"[..]));
        }
    }
}

#[test]
fn the_socket_is_there_from_the_first_moment_and_in_each_life() {
    let host = Host::shared();
    let pod = host.summon(
        &["--name", "web", "--stop-timeout", "1"],
        &images::layout("busybox"),
        &["sh", "-c", "rm -f /over; echo ready; until test -e /over; do sleep 0.1; done"],
    );
    let socket = pod.path().join("docker.sock");
    std::fs::write(&socket, "left behind").unwrap();
    let start = || {
        let mut command = pod.command(&["--restart", "always"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Running::new(command.spawn().unwrap())
    };
    let mut running = start();
    // Long before anybody listens in the guest.
    let mut early = loop {
        if let Ok(stream) = UnixStream::connect(&socket) {
            break stream;
        }
        std::thread::yield_now();
    };
    early.write_all(b"GET /_ping HTTP/1.1\r\nHost: pod\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    early.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("OK"), "{answer}");

    running.wait_for("ready");
    let docker = Docker::of(&pod);
    let mut follower = docker.start(&["logs", "-f", "web"]);
    let mut word = [0; 6];
    follower.stdout.as_mut().unwrap().read_exact(&mut word).unwrap();
    assert_eq!(&word, b"ready\n");
    docker.shell("web", "touch /over");
    assert_eq!(finish(follower).0, b"");
    // The next life: what the last one's clients used has a successor. What is ended by hand has none.
    running.wait_for("ready");
    assert_eq!(docker.shell("web", "echo alive"), "alive\n");
    assert_eq!(docker.good(&["stop", "cradle"]), "cradle\n");
    assert_eq!(running.end().code, Some(137));
    let mut running = start();
    running.wait_for("ready");
    assert_eq!(docker.good(&["kill", "web"]), "web\n");
    assert_eq!(running.end().code, Some(137));
}

#[test]
fn a_pod_that_is_over_at_once_answers_all_who_came_before_it() {
    let host = Host::shared();
    let script = "echo out; echo err >&2; exit 3";
    let pod = host.summon(&["--name", "web"], &images::layout("busybox"), &["sh", "-c", script]);
    let socket = pod.path().join("docker.sock");
    let ask = |request: &str| {
        let mut stream = loop {
            if let Ok(stream) = UnixStream::connect(&socket) {
                break stream;
            }
            std::thread::yield_now();
        };
        stream
            .write_all(format!("{request} HTTP/1.1\r\nHost: pod\r\nConnection: close\r\n\r\n").as_bytes())
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    for _ in 0..2 {
        let (ended, answers) = std::thread::scope(|scope| {
            let clients = [
                "POST /containers/web/attach?run=1&stream=1&stdout=1&stderr=1",
                "POST /containers/web/wait?condition=next-exit",
                "GET /events?since=1",
                "GET /containers/web/logs?follow=1&stdout=1",
            ]
            .map(|request| scope.spawn(move || ask(request)));
            let ended = pod.run();
            (ended, clients.map(|client| client.join().unwrap()))
        });
        assert_eq!(ended.code, Some(3), "{}", ended.err());
        let [attached, waited, events, logs] = answers;
        assert!(attached.contains("out\n") && attached.contains("err\n"), "{attached:?}");
        assert!(waited.contains("{\"StatusCode\":3}"), "{waited:?}");
        assert!(events.contains("\"Action\":\"die\""), "{events:?}");
        assert!(logs.contains("out\n"), "{logs:?}");
    }
}
