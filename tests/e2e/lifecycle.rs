//! Pods of several containers, restart rules, stopping, and what outlives a run.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tests::{Host, images};

/// A container of a pod file that runs a script in busybox.
fn container(name: &str, script: &str, lifecycle: &Value) -> Value {
    json!({
        "name": name,
        "image": {"ref": images::layout("busybox")},
        "process": {"cmd": ["sh", "-c", script]},
        "lifecycle": lifecycle,
    })
}

#[test]
fn containers_of_a_pod_share_loopback_and_nothing_else() {
    let host = Host::shared();
    let server = "echo hello from the server >/tmp/index.html; exec httpd -f -p 127.0.0.1:8080 -h /tmp";
    let client = "
        test -e /tmp/index.html && echo sees the file
        pidof httpd && echo sees the process
        until wget -qO- 127.0.0.1:8080/index.html 2>/dev/null; do sleep 0.1; done";
    let pod = host.summon_file(&json!({"containers": [
        container("client", client, &json!({"critical": true})),
        container("server", server, &json!({})),
    ]}));
    assert_eq!(pod.run().good_of("client"), "hello from the server\n");
}

#[test]
fn a_failing_process_is_started_again_until_it_succeeds() {
    let host = Host::shared();
    let script = "echo x >>/count; n=$(wc -l </count); echo start $n; test $n -ge 3";
    let lifecycle = json!({"restartOnFailure": true, "restartDelay": 1});
    let pod = host.summon_file(&json!({"containers": [container("main", script, &lifecycle)]}));
    assert_eq!(pod.run().good(), "start 1\nstart 2\nstart 3\n");
}

#[test]
fn restarts_end_at_their_limit() {
    let host = Host::shared();
    let lifecycle =
        json!({"restartOnFailure": true, "restartOnSuccess": true, "restartDelay": 1, "maxRestarts": 3});
    let pod = host.summon_file(&json!({"containers": [container("main", "echo start; exit 5", &lifecycle)]}));
    let ended = pod.run();
    assert_eq!((ended.code, ended.out().as_str()), (Some(5), "start\nstart\nstart\n"), "{}", ended.err());
}

#[test]
fn a_pod_is_started_again_although_its_program_was_removed() {
    let host = Host::shared();
    let script = "echo life; exit 3";
    let pod = host.summon(&["--restart", "on-failure:1"], &images::layout("busybox"), &["sh", "-c", script]);
    let program = host.folder().join("kcradle");
    fs::copy(pod.command(&[]).get_program(), &program).unwrap();
    let mut run = Command::new(&program);
    run.args(["run", pod.name()]).env("CRADLE_HOME", host.home());
    let mut run = run.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(run.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "life");
    fs::remove_file(&program).unwrap();
    assert_eq!(lines.map(Result::unwrap).collect::<Vec<_>>(), ["life"]);
    assert_eq!(run.wait().unwrap().code(), Some(3));
    // What waits for the pod's processes removes their sockets.
    for socket in ["docker.sock", "control.sock"] {
        assert!(!pod.path().join(socket).exists(), "{socket}");
    }
}

#[test]
fn a_critical_container_ends_the_pod_with_its_code() {
    let host = Host::shared();
    let pod = host.summon_file(&json!({"containers": [
        container("side", "while :; do sleep 1; done", &json!({})),
        container("main", "exit 9", &json!({"critical": true})),
    ]}));
    assert_eq!(pod.run().code, Some(9));
}

/// The end waits for the others' stop timeout, and no longer.
#[test]
fn a_critical_container_ends_the_pod_although_another_ignores_its_stop_signal() {
    let host = Host::shared();
    let deaf = "trap '' TERM; while :; do sleep 0.1; done";
    let mut side = container("side", deaf, &json!({"restartOnFailure": true}));
    side["process"]["stopTimeout"] = json!(1);
    let pod = host.summon_file(&json!({"containers": [
        side,
        container("main", "exit 9", &json!({"critical": true})),
    ]}));
    let ended = pod.run();
    assert_eq!(ended.code, Some(9), "{}", ended.err());
    assert!(ended.err().contains("critical container main ended with code 9"), "{}", ended.err());
    let state: Value = serde_json::from_slice(&fs::read(pod.path().join("state.json")).unwrap()).unwrap();
    let side = &state["status"]["record"]["containers"][0];
    assert_eq!((&side["name"], &side["code"]), (&json!("side"), &json!(137)), "{state}");
}

#[test]
fn a_container_before_the_others_has_ended_when_they_start() {
    let host = Host::shared();
    let pod = host.summon_file(&json!({"containers": [
        container("main", "echo second", &json!({})),
        container("first", "sleep 0.3; echo first", &json!({"before": "volumes"})),
    ]}));
    assert_eq!(pod.run().good(), "first | first\nmain  | second\n");
}

#[test]
fn stop_asks_first_and_kills_after_the_grace_period() {
    let host = Host::shared();
    let polite = "trap 'echo asked; exit 3' TERM; echo ready; while :; do sleep 0.1; done";
    let pod = host.summon(&[], &images::layout("busybox"), &["sh", "-c", polite]);
    let mut running = pod.start();
    running.wait_for("ready");
    host.succeed(&["stop", pod.name()]);
    let ended = running.end();
    assert_eq!((ended.code, ended.out().as_str()), (Some(3), "asked\n"));

    let deaf = "trap '' TERM; echo ready; while :; do sleep 0.1; done";
    let pod =
        host.summon_as("deaf", &["--stop-timeout", "1"], &images::layout("busybox"), &["sh", "-c", deaf]);
    let mut running = pod.start();
    running.wait_for("ready");
    host.succeed(&["stop", pod.name()]);
    assert_eq!(running.end().code, Some(128 + 9));
}

#[test]
fn what_was_written_is_there_at_the_next_run() {
    let host = Host::shared();
    let script = "cat /kept 2>/dev/null; echo run >>/kept; rm -f /etc/group; ls /etc/group 2>/dev/null";
    let pod = host.summon(&[], &images::layout("busybox"), &["sh", "-c", &format!("{script}; true")]);
    assert_eq!(pod.run().good(), "");
    assert_eq!(pod.run().good(), "run\n");
    assert_eq!(pod.run().good(), "run\nrun\n");
}

#[test]
fn ls_and_rm_know_the_pod() {
    let host = Host::empty();
    let command = ["sh", "-c", "trap exit TERM; echo ready; sleep 1000 & wait"];
    let pod = host.summon(&["--label", "tier=front"], &images::layout("busybox"), &command);
    let listed = host.succeed(&["ls"]);
    assert!(listed.contains(pod.name()), "{listed}");
    let mut running = pod.start();
    running.wait_for("ready");
    let error = host.refuse(&["rm", pod.name()]);
    assert!(error.contains("running"), "{error}");
    host.succeed(&["stop", pod.name()]);
    running.end();
    host.succeed(&["rm", pod.name()]);
    assert!(!pod.path().exists());
    assert!(!host.succeed(&["ls"]).contains(pod.name()));
}
