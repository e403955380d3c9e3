//! `docker logs` with all its options.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use crate::pod::{Pod, spec_json};

const TALK: [&str; 3] = ["sh", "-c", "echo one; echo two >&2; echo three"];

fn talk() -> Pod {
    let pod = Pod::of(&TALK);
    pod.wait("web");
    pod
}

#[test]
fn logs_come_from_both_streams() {
    let pod = talk();
    let done = pod.docker(&["logs", "web"]);
    assert_eq!((done.code, done.stdout.as_str(), done.stderr.as_str()), (0, "one\nthree\n", "two\n"));
    let done = pod.docker(&["logs", "-f", "web"]);
    assert_eq!(
        (done.code, done.stdout.as_str(), done.stderr.as_str()),
        (0, "one\nthree\n", "two\n"),
        "followed to the end"
    );
}

#[test]
fn logs_have_a_tail() {
    let pod = Pod::of(&["sh", "-c", "seq 1 100"]);
    pod.wait("web");
    assert_eq!(pod.ok(&["logs", "-n", "2", "web"]), "99\n100\n");
    assert_eq!(pod.ok(&["logs", "-n", "0", "web"]), "");
    assert_eq!(pod.ok(&["logs", "--tail", "all", "web"]).lines().count(), 100);
}

#[test]
fn logs_have_times() {
    let pod = talk();
    let logs = pod.ok(&["logs", "-t", "web"]);
    for (line, text) in logs.lines().zip(["one", "three"]) {
        let (time, rest) = line.split_once(' ').unwrap();
        assert_eq!((time.len(), rest), ("2006-01-02T15:04:05.000000000Z".len(), text), "{line}");
    }
    let (time, _) = logs.lines().next().unwrap().split_once(' ').unwrap();
    assert_eq!(pod.ok(&["logs", "--until", "1", "web"]), "");
    assert_eq!(pod.ok(&["logs", "--since", "1", "web"]), "one\nthree\n");
    assert_eq!(pod.ok(&["logs", "--since", time, "web"]), "one\nthree\n");
    assert_eq!(pod.ok(&["logs", "--since", "2099-01-01T00:00:00Z", "web"]), "");
}

#[test]
fn logs_are_followed() {
    let pod = Pod::of(&["sh", "-c", "echo first; until test -e go; do sleep 0.02; done; printf last"]);
    let mut logs = pod.command(&["logs", "-f", "web"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut output = BufReader::new(logs.stdout.take().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    pod.ok(&["exec", "web", "touch", "go"]);
    output.read_line(&mut line).unwrap();
    assert_eq!(line, "first\nlast");
    assert!(logs.wait().unwrap().success());
}

#[test]
fn logs_are_what_was_written() {
    let pod = Pod::of(&["sh", "-c", r"head -c 1000000 /dev/zero; printf '\377\n'"]);
    pod.wait("web");
    let output = pod.command(&["logs", "web"]).output().unwrap();
    assert_eq!(output.stdout.len(), 1_000_002);
    assert!(output.stdout.ends_with(b"\0\xff\n"));
}

#[test]
fn logs_of_a_terminal_are_raw() {
    let mut spec = spec_json("web", &["sh", "-c", "echo one; echo two >&2"]);
    spec["process"]["tty"] = true.into();
    let pod = Pod::start(vec![spec]);
    pod.wait("web");
    assert_eq!(pod.ok(&["logs", "web"]), "one\r\ntwo\r\n");
}

#[test]
fn details_are_labels_of_nobody() {
    let logs = talk().ok(&["logs", "--details", "web"]);
    assert_eq!(logs.lines().map(str::trim).collect::<Vec<_>>(), ["one", "three"]);
}

#[test]
fn a_stream_must_be_chosen() {
    assert_eq!(talk().request("GET", "/containers/web/logs", "").0, 400);
}
