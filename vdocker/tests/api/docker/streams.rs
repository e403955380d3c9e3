//! `docker attach` and `docker exec` through pipes.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Stdio};

use serde_json::json;

use crate::docker::monitor::Events;
use crate::pod::{Done, Pod, spec_json};

fn with_stdin(name: &str, cmd: &[&str]) -> serde_json::Value {
    let mut spec = spec_json(name, cmd);
    spec["process"]["stdin"] = json!(true);
    spec
}

fn piped(pod: &Pod, arguments: &[&str]) -> Child {
    pod.command(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Gives a client its input and reads its output.
fn feed(mut client: Child, input: &[u8]) -> Done {
    let mut stdin = client.stdin.take().unwrap();
    let bytes = input.to_vec();
    let feeder = std::thread::spawn(move || stdin.write_all(&bytes));
    let done = Done::from(client.wait_with_output().unwrap());
    feeder.join().unwrap().unwrap();
    done
}

#[test]
fn exec_returns_exit_codes() {
    let pod = Pod::of(&["sleep", "1000"]);
    for code in [0, 1, 3, 42, 255] {
        assert_eq!(pod.docker(&["exec", "web", "sh", "-c", &format!("exit {code}")]).code, code);
    }
    let missing = pod.docker(&["exec", "web", "no-such-program"]);
    assert!(
        missing.code == 127 && (missing.stdout + &missing.stderr).contains("executable file not found"),
        "127"
    );
    let folder = pod.docker(&["exec", "web", "/etc"]);
    assert!(folder.code == 126 && (folder.stdout + &folder.stderr).contains("permission denied"), "126");
    assert_eq!(pod.docker(&["exec", "web", "sh", "-c", "kill -9 $$"]).code, 137);
}

#[test]
fn exec_has_two_streams() {
    let pod = Pod::of(&["sleep", "1000"]);
    let done = pod.docker(&["exec", "web", "sh", "-c", "echo out; echo err >&2; exit 5"]);
    assert_eq!((done.code, done.stdout.as_str(), done.stderr.as_str()), (5, "out\n", "err\n"));
}

#[test]
fn exec_reads_its_input() {
    let pod = Pod::of(&["sleep", "1000"]);
    let bytes: Vec<u8> = (0..500_000u32).flat_map(|n| format!("{n}\n").into_bytes()).collect();
    let done = feed(piped(&pod, &["exec", "-i", "web", "cat"]), &bytes);
    assert!(done.code == 0 && done.stdout.as_bytes() == bytes);
    let done = feed(piped(&pod, &["exec", "-i", "web", "wc", "-c"]), b"");
    assert_eq!((done.code, done.stdout.trim()), (0, "0"));
}

#[test]
fn exec_takes_environment_user_and_folder() {
    let pod = Pod::of(&["sleep", "1000"]);
    let say = "echo $GREETING-$EXEC_USER-$EXEC_PRIVILEGED-$(pwd)";
    let options = [
        "exec",
        "-e",
        "GREETING=hello",
        "-u",
        "33:www",
        "-w",
        "/tmp",
        "--privileged",
        "web",
        "sh",
        "-c",
        say,
    ];
    assert_eq!(pod.ok(&options), "hello-33:www-1-/tmp\n");
}

#[test]
fn exec_goes_on_without_its_client() {
    let pod = Pod::of(&["sh", "-c", "until test -e done; do sleep 0.02; done; exit 4"]);
    assert_eq!(pod.ok(&["exec", "-d", "web", "touch", "done"]), "");
    assert_eq!(pod.ok(&["wait", "web"]), "4\n");
}

#[test]
fn exec_needs_a_running_container() {
    let pod = Pod::of(&["true"]);
    pod.wait("web");
    let done = pod.docker(&["exec", "web", "true"]);
    assert!(done.code == 1 && done.stderr.contains("is not running"), "{done:?}");
}

#[test]
fn output_after_the_input_has_ended_arrives() {
    let pod = Pod::of(&["sleep", "1000"]);
    let slow = "cat; for n in 1 2 3; do sleep 0.1; echo $n; done";
    let done = feed(piped(&pod, &["exec", "-i", "web", "sh", "-c", slow]), b"x\n");
    assert_eq!((done.code, done.stdout.as_str()), (0, "x\n1\n2\n3\n"));
}

#[test]
fn execs_run_side_by_side() {
    let pod = Pod::of(&["sleep", "1000"]);
    let clients: Vec<_> =
        (0..20).map(|n| piped(&pod, &["exec", "web", "sh", "-c", &format!("echo {n}; exit {n}")])).collect();
    for (n, client) in clients.into_iter().enumerate() {
        let done = Done::from(client.wait_with_output().unwrap());
        assert_eq!((done.code.to_string(), done.stdout.trim().to_owned()), (n.to_string(), n.to_string()));
    }
}

#[test]
fn attach_gives_input_and_output() {
    let pod = Pod::start(vec![with_stdin("web", &["cat"])]);
    let done = feed(piped(&pod, &["attach", "web"]), b"hello\n");
    assert_eq!((done.code, done.stdout.as_str()), (0, "hello\n"));
    assert_eq!(pod.ok(&["wait", "web"]), "0\n");
}

#[test]
fn attach_ends_with_the_containers_code() {
    let pod = Pod::start(vec![with_stdin("web", &["sh", "-c", "read line; echo got $line; exit 9"])]);
    let mut client = piped(&pod, &["attach", "web"]);
    let mut stdin = client.stdin.take().unwrap();
    stdin.write_all(b"it\n").unwrap();
    let mut output = String::new();
    client.stdout.take().unwrap().read_to_string(&mut output).unwrap();
    // Its input is still open.
    assert_eq!((output.as_str(), client.wait().unwrap().code()), ("got it\n", Some(9)));
    drop(stdin);
}

#[test]
fn attach_without_input_leaves_the_container_its_own() {
    let pod = Pod::start(vec![with_stdin("web", &["sh", "-c", "echo first; read line; echo $line"])]);
    let mut watcher = pod.command(&["attach", "--no-stdin", "web"]).stdout(Stdio::piped()).spawn().unwrap();
    Events::follow(&pod, &[]).until("attach");
    let done = feed(piped(&pod, &["attach", "web"]), b"second\n");
    assert!(done.stdout.ends_with("second\n"), "{done:?}");
    let mut seen = BufReader::new(watcher.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert_eq!(seen.find(|line| line == "second").as_deref(), Some("second"));
    watcher.wait().unwrap();
}

#[test]
fn attach_needs_a_running_container() {
    let pod = Pod::of(&["true"]);
    pod.wait("web");
    let done = pod.docker(&["attach", "web"]);
    assert!(done.code == 1 && done.stderr.contains("cannot attach to a stopped container"), "{done:?}");
}

#[test]
fn start_attached_shows_all_and_returns_the_code() {
    let pod = Pod::of(&["sh", "-c", "echo hello; exit 6"]);
    pod.wait("web");
    let done = pod.docker(&["start", "-a", "web"]);
    assert_eq!((done.code, done.stdout.as_str()), (6, "hello\n"));
}
