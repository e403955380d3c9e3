//! `docker stop`, `start`, `restart`, `kill`, `pause`, `wait` and `update`.

use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;

use serde_json::json;

use crate::pod::{Pod, spec_json};

/// Ends with 7 when asked to, after it has said that it listens.
const POLITE: [&str; 3] = [
    "sh",
    "-c",
    "trap 'exit 7' TERM; trap 'exit 8' USR1; trap : WINCH; echo ready; while :; do sleep 0.02; done",
];

fn state(pod: &Pod, name: &str) -> String {
    pod.ok(&["inspect", "--format", "{{.State.Status}} {{.State.ExitCode}}", name]).trim().to_owned()
}

/// Waits until the polite one listens.
fn ready(pod: &Pod) {
    let mut logs = pod.command(&["logs", "-f", "web"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(logs.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    logs.kill().unwrap();
    logs.wait().unwrap();
}

#[test]
fn stop_asks_and_start_starts_again() {
    let pod = Pod::of(&POLITE);
    ready(&pod);
    assert_eq!(pod.ok(&["stop", "web"]), "web\n");
    assert_eq!(state(&pod, "web"), "exited 7");
    assert_eq!(pod.ok(&["stop", "web"]), "web\n", "stopped already");
    assert_eq!(pod.ok(&["start", "web"]), "web\n");
    assert_eq!(state(&pod, "web"), "running 0");
    assert_eq!(pod.ok(&["start", "web"]), "web\n", "started already");
}

#[test]
fn stop_takes_a_signal_and_a_time() {
    let pod = Pod::of(&POLITE);
    ready(&pod);
    pod.ok(&["stop", "--signal", "USR1", "web"]);
    assert_eq!(state(&pod, "web"), "exited 8");
    let pod = Pod::of(&["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.02; done"]);
    ready(&pod);
    pod.ok(&["stop", "-t", "0", "web"]);
    assert_eq!(state(&pod, "web"), "exited 137");
}

#[test]
fn restart_ends_and_starts() {
    let pod = Pod::of(&POLITE);
    ready(&pod);
    let pid = |pod: &Pod| pod.ok(&["inspect", "--format", "{{.State.Pid}}", "web"]);
    let before = pid(&pod);
    pod.ok(&["restart", "-t", "5", "web"]);
    assert!(state(&pod, "web") == "running 0" && pid(&pod) != before);
}

#[test]
fn kill_sends_signals() {
    let pod = Pod::of(&POLITE);
    ready(&pod);
    pod.ok(&["kill", "-s", "WINCH", "web"]);
    pod.ok(&["kill", "-s", "28", "web"]);
    assert_eq!(state(&pod, "web"), "running 0");
    pod.ok(&["kill", "web"]);
    assert_eq!(state(&pod, "web"), "exited 137", "dead when the answer comes");
    let done = pod.docker(&["kill", "web"]);
    assert!(done.code == 1 && done.stderr.contains("cannot kill container: web: container 0000"), "{done:?}");
    assert!(done.stderr.contains("is not running"), "{done:?}");
    let done = pod.docker(&["kill", "-s", "NOSUCH", "web"]);
    assert!(done.code == 1 && done.stderr.contains("invalid signal: NOSUCH"), "{done:?}");
}

#[test]
fn pause_freezes() {
    let pod = Pod::of(&POLITE);
    ready(&pod);
    pod.ok(&["pause", "web"]);
    assert_eq!(state(&pod, "web"), "paused 0");
    assert!(pod.ok(&["ps", "--format", "{{.Status}}"]).ends_with(" (Paused)\n"));
    let done = pod.docker(&["pause", "web"]);
    assert!(done.code == 1 && done.stderr.contains("is already paused"), "{done:?}");
    pod.ok(&["unpause", "web"]);
    assert_eq!(state(&pod, "web"), "running 0");
    let done = pod.docker(&["unpause", "web"]);
    assert!(done.code == 1 && done.stderr.contains("is not paused"), "{done:?}");
}

#[test]
fn what_does_not_run_cannot_be_paused() {
    let pod = Pod::of(&["true"]);
    pod.wait("web");
    let done = pod.docker(&["pause", "web"]);
    assert!(done.code == 1 && done.stderr.contains("is not running"), "{done:?}");
}

#[test]
fn wait_prints_exit_codes() {
    let pod = Pod::start(vec![spec_json("web", &POLITE), spec_json("job", &["sh", "-c", "exit 3"])]);
    ready(&pod);
    let waiting = pod.command(&["wait", "web", "job"]).stdout(Stdio::piped()).spawn().unwrap();
    pod.ok(&["kill", "-s", "TERM", "web"]);
    let output = waiting.wait_with_output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "7\n3\n");
}

#[test]
fn wait_for_the_next_exit_outlasts_a_stopped_container() {
    let pod = Pod::start(vec![spec_json("web", &["true"])]);
    pod.wait("web");
    std::thread::scope(|scope| {
        let next = scope.spawn(|| pod.request("POST", "/containers/web/wait?condition=next-exit", ""));
        pod.ok(&["start", "web"]);
        // The start may have come before the wait: then there is no exit to come.
        while !next.is_finished() {
            pod.docker(&["start", "web"]);
        }
        assert_eq!(next.join().unwrap(), (200, "{\"StatusCode\":0}\n".into()));
    });
}

#[test]
fn a_start_that_fails_has_dockers_exit_code() {
    let pod = Pod::of(&["no-such-program"]);
    let done = pod.docker(&["start", "-a", "web"]);
    assert!(done.code != 0 && done.stderr.contains("executable file not found in $PATH"), "{done:?}");
    let (status, answer) = pod.request("POST", "/containers/web/wait", "");
    let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
    assert_eq!((status, &answer["StatusCode"]), (200, &json!(127)));
    assert!(answer["Error"]["Message"].as_str().unwrap().contains("not found"), "{answer}");
    assert_eq!(state(&pod, "web"), "created 127");
    assert_eq!(pod.ok(&["ps", "-a", "--format", "{{.Status}}"]), "Created\n");
    assert_eq!(pod.ok(&["logs", "-f", "web"]), "", "nothing will come");
}

#[test]
fn update_changes_limits() {
    let pod = Pod::of(&["sleep", "1000"]);
    let (memory, cpus) =
        (["update", "--memory", "64m", "web"], ["update", "--cpus", "1.5", "--pids-limit", "20", "web"]);
    assert_eq!(pod.ok(&memory), "web\n");
    assert_eq!(pod.ok(&cpus), "web\n");
    let format = "{{.HostConfig.Memory}} {{.HostConfig.NanoCpus}} {{.HostConfig.PidsLimit}}";
    assert_eq!(pod.ok(&["inspect", "--format", format, "web"]), "67108864 1500000000 20\n");
    for (arguments, words) in [
        (&["--memory", "1m"][..], "Minimum memory limit allowed is 6MB"),
        (&["--restart", "always"], "RestartPolicy of a pod's container cannot be changed"),
        (&["--cpuset-cpus", "0"], "CpusetCpus of a pod's container cannot be changed"),
    ] {
        let done = pod.docker(&[&["update"], arguments, &["web"]].concat());
        assert!(done.code == 1 && done.stderr.contains(words), "{arguments:?}: {done:?}");
    }
}

#[test]
fn the_guest_itself_ends_the_pod() {
    let pod = Pod::of(&["sleep", "1000"]);
    assert_eq!(pod.ok(&["stop", "cradle"]), "cradle\n");
    let ended = pod.end(true);
    assert!(ended.closed && ended.reason.is_some(), "{ended:?}");
}

#[test]
fn open_answers_end_with_the_pod() {
    let pod = Pod::of(&["sh", "-c", "echo ready; while :; do echo again; sleep 0.02; done"]);
    let open = [
        &["wait", "web"][..],
        &["attach", "web"],
        &["logs", "-f", "web"],
        &["events", "--since", "1"],
        &["stats", "web", "--format", "{{.Name}}"],
    ];
    let mut clients = open.map(|arguments| pod.command(arguments).stdout(Stdio::piped()).spawn().unwrap());
    for client in &mut clients[1..] {
        let output = client.stdout.as_mut().unwrap();
        output.read_exact(&mut [0]).unwrap();
    }
    assert_eq!(pod.request("POST", "/cradle/shutdown?reason=enough&t=1", "").0, 204);
    let ended = pod.end(true);
    assert_eq!((ended.reason.as_deref(), ended.closed), (Some("enough"), true));
    // The client of stats goes on showing what it knows.
    clients.last_mut().unwrap().kill().unwrap();
    for client in clients {
        client.wait_with_output().unwrap();
    }
}

#[test]
fn a_container_that_waits_for_its_restart() {
    let mut spec = spec_json("web", &["sh", "-c", "exit 3"]);
    spec["lifecycle"] = json!({ "restartOnFailure": true });
    for end in [&["kill", "web"][..], &["kill", "-s", "TERM", "web"], &["stop", "web"]] {
        let pod = Pod::start(vec![spec.clone()]);
        while !pod.ok(&["ps", "-q", "--filter", "status=restarting"]).starts_with('0') {}
        assert!(pod.ok(&["ps", "--format", "{{.Status}}"]).starts_with("Restarting (3) "));
        assert_eq!(pod.json("/containers/web/json")["State"]["Restarting"], true);
        for arguments in [&["exec", "web", "true"][..], &["top", "web"], &["kill", "-s", "HUP", "web"]] {
            let done = pod.docker(arguments);
            assert!(done.code == 1 && done.stderr.contains("is restarting"), "{arguments:?}: {done:?}");
        }
        pod.ok(end);
        assert_eq!(state(&pod, "web"), "exited 3");
    }
}
