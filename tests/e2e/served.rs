//! Pods whose processes belong to a frontend: `kcradle run --served`, started and found through the `pod` crate.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use pod::end::{self, End, Ended};
use pod::process::adopt;
use pod::{PodDir, PodProcess, SocketDir, Starting, socket};
use rustix::process::{Pid, Signal, getsid, kill_process};
use tests::{Docker, Host, Pod, images};

fn dir(pod: &Pod<'_>) -> PodDir {
    PodDir::new(pod.path()).unwrap()
}

fn program(host: &Host) -> PathBuf {
    host.kcradle(["run"]).get_program().into()
}

/// A client that attaches to the container `web` before the pod has a process.
fn early(dir: &PodDir, query: &str) -> UnixStream {
    let mut stream = SocketDir::open(dir).unwrap().connect(socket::DOCKER).unwrap();
    let head = format!(
        "POST /v1.50/containers/web/attach?stream=1&stdout=1&stderr=1&{query} HTTP/1.1\r\n\
         Host: docker\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream
}

/// Reads an answer's head, which must agree to the upgrade.
fn upgraded(reader: &mut BufReader<UnixStream>) {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(reader.read_line(&mut head).unwrap() > 0, "the answer ends in {head:?}");
    }
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
}

/// The next frame of an attached stream: its number and what it holds; `None` at the end.
fn frame(reader: &mut BufReader<UnixStream>) -> Option<(u8, Vec<u8>)> {
    if reader.fill_buf().unwrap().is_empty() {
        return None;
    }
    let mut header = [0; 8];
    reader.read_exact(&mut header).unwrap();
    let length = u32::from_be_bytes(header[4..].try_into().unwrap());
    let mut payload = vec![0; length as usize];
    reader.read_exact(&mut payload).unwrap();
    Some((header[0], payload))
}

/// All that comes on each stream until the end.
fn outputs(stream: UnixStream) -> (String, String) {
    let mut reader = BufReader::new(stream);
    upgraded(&mut reader);
    let mut streams = [Vec::new(), Vec::new(), Vec::new()];
    while let Some((number, bytes)) = frame(&mut reader) {
        streams[usize::from(number)].extend(bytes);
    }
    let [_, out, err] = streams.map(|bytes| String::from_utf8(bytes).unwrap());
    (out, err)
}

/// Waits for the end of a process of ours: its exit code, and what the pod directory tells.
fn ended(process: &PodProcess, dir: &PodDir) -> (Option<i32>, Ended) {
    process.wait().unwrap();
    let code = process.reap().unwrap().and_then(|status| status.code());
    let log = std::fs::read_to_string(dir.run_log()).unwrap();
    match end::of(dir).unwrap() {
        End::Ended(ended) => (code, ended),
        End::NotStarted(why) => panic!("it did not start: {why}; {log}"),
    }
}

#[test]
fn a_client_that_came_before_the_process_gets_all_output() {
    let host = Host::shared();
    let script = "echo out; echo err >&2; printf last; exit 7";
    let pod = host.summon(&["--name", "web"], &images::layout("busybox"), &["sh", "-c", script]);
    let (dir, program) = (dir(&pod), program(&host));
    for boot in 0..8 {
        let starting = Starting::begin(&dir, false).unwrap();
        let stream = early(&dir, "run=1");
        let process = starting.spawn(&program).unwrap();
        assert_eq!(outputs(stream), ("out\nlast".to_owned(), "err\n".to_owned()), "boot {boot}");
        let (code, ended) = ended(&process, &dir);
        assert_eq!((code, ended.code, ended.stopped), (Some(7), 7, false), "boot {boot}");
        assert_eq!(ended.record.unwrap().containers[0].code, 7);
        assert!(ended.started < ended.finished.unwrap());
    }
    assert_eq!(std::fs::read_to_string(dir.run_log()).unwrap(), "");
}

#[test]
fn standard_input_is_the_clients_alone() {
    let host = Host::shared();
    let script = "echo ready; cat; echo end";
    let pod = host.summon(&["--name", "web", "-i"], &images::layout("busybox"), &["sh", "-c", script]);
    let dir = dir(&pod);
    let starting = Starting::begin(&dir, false).unwrap();
    let mut reader = BufReader::new(early(&dir, "run=1"));
    let process = starting.spawn(&program(&host)).unwrap();
    upgraded(&mut reader);
    assert_eq!(frame(&mut reader), Some((1, b"ready\n".to_vec())));
    // It is still open: what this client says comes before the end.
    let mut second = early(&dir, "stdin=1");
    second.write_all(b"said\n").unwrap();
    second.shutdown(Shutdown::Write).unwrap();
    let mut rest = Vec::new();
    while let Some((_, bytes)) = frame(&mut reader) {
        rest.extend(bytes);
    }
    assert_eq!(rest, b"said\nend\n");
    assert_eq!(ended(&process, &dir).0, Some(0));
}

#[test]
fn a_process_outlives_the_frontend_and_is_found_again() {
    let host = Host::shared();
    let script = "trap 'exit 5' TERM; echo ready; while :; do sleep 0.1; done";
    let pod = host.summon(&["--name", "web"], &images::layout("busybox"), &["sh", "-c", script]);
    let (dir, program) = (dir(&pod), program(&host));
    let start = || {
        let starting = Starting::begin(&dir, false).unwrap();
        let mut reader = BufReader::new(early(&dir, "run=1"));
        let process = starting.spawn(&program).unwrap();
        upgraded(&mut reader);
        assert_eq!(frame(&mut reader), Some((1, b"ready\n".to_vec())));
        process
    };

    let process = start();
    assert!(Starting::begin(&dir, false).is_err());
    let found = adopt(&dir).unwrap().unwrap();
    assert_eq!((found.pid(), found.is_held()), (process.pid(), false));
    let pid = Pid::from_raw(process.pid().try_into().unwrap()).unwrap();
    assert_eq!(getsid(Some(pid)).unwrap(), pid);
    // Of an end that is asked for by a signal the container hears first.
    kill_process(pid, Signal::TERM).unwrap();
    let (code, end) = ended(&process, &dir);
    assert_eq!((code, end.code, end.stopped), (Some(5), 5, true));
    assert!(adopt(&dir).unwrap().is_none());

    let process = start();
    process.stop(&dir, None).unwrap();
    let (_, end) = ended(&process, &dir);
    assert_eq!((end.code, end.stopped), (5, true));

    let process = start();
    process.kill().unwrap();
    let (code, end) = ended(&process, &dir);
    assert_eq!((code, end.code, end.finished), (None, 137, None));
}

#[test]
fn a_pod_that_cannot_boot_says_why() {
    let host = Host::shared();
    let pod = host.summon(&["--name", "web"], &images::layout("busybox"), &["true"]);
    let dir = dir(&pod);
    std::fs::remove_file(dir.package()).unwrap();
    let process = Starting::begin(&dir, false).unwrap().spawn(&program(&host)).unwrap();
    process.wait().unwrap();
    assert_eq!(process.reap().unwrap().and_then(|status| status.code()), Some(125));
    match end::of(&dir).unwrap() {
        End::NotStarted(why) => assert!(why.contains("runtime package"), "{why}"),
        End::Ended(ended) => panic!("{ended:?}"),
    }
}

#[test]
fn a_held_pod_is_read_and_runs_nothing() {
    let host = Host::shared();
    let script = "echo one; echo two >&2; echo text >/made; exit 3";
    let pod = host.summon(&["--name", "web"], &images::layout("busybox"), &["sh", "-c", script]);
    let (dir, program) = (dir(&pod), program(&host));
    assert_eq!(pod.run().code, Some(3));
    let state = std::fs::read(dir.state()).unwrap();

    let hold = || Starting::begin(&dir, true).unwrap().spawn(&program).unwrap();
    let process = hold();
    let docker = Docker::of(&pod);
    let logs = docker.run(&["logs", "web"]);
    assert_eq!((logs.out().as_str(), logs.err().as_str()), ("one\n", "two\n"));
    let copy = host.folder().join("copy");
    docker.good(&["cp", "web:/made", copy.to_str().unwrap()]);
    assert_eq!(std::fs::read_to_string(&copy).unwrap(), "text\n");
    std::fs::write(&copy, "changed\n").unwrap();
    docker.good(&["cp", copy.to_str().unwrap(), "web:/made"]);
    assert_eq!(docker.good(&["diff", "web"]), "A /made\n");
    let archive = host.folder().join("export.tar");
    docker.good(&["export", "-o", archive.to_str().unwrap(), "web"]);
    assert!(std::fs::metadata(&archive).unwrap().len() > 1 << 20);
    let states = docker.good(&["ps", "-a", "--format", "{{.Names}} {{.State}}"]);
    assert_eq!(states, "web exited\n");
    docker.refused(&["exec", "web", "true"], 1);
    docker.refused(&["top", "web"], 1);
    docker.refused(&["start", "web"], 1);
    assert!(adopt(&dir).unwrap().unwrap().is_held());

    process.stop(&dir, None).unwrap();
    process.wait().unwrap();
    assert_eq!(process.reap().unwrap().and_then(|status| status.code()), Some(0));

    // What was written is there, and what ended a run before is kept.
    let process = hold();
    docker.good(&["cp", "web:/made", copy.to_str().unwrap()]);
    assert_eq!(std::fs::read_to_string(&copy).unwrap(), "changed\n");
    kill_process(Pid::from_raw(process.pid().try_into().unwrap()).unwrap(), Signal::TERM).unwrap();
    process.wait().unwrap();
    assert_eq!(std::fs::read(dir.state()).unwrap(), state);

    let starting = Starting::begin(&dir, true).unwrap();
    let mut stream = SocketDir::open(&dir).unwrap().connect(socket::DOCKER).unwrap();
    stream.write_all(b"POST /cradle/shutdown HTTP/1.1\r\nHost: docker\r\n\r\n").unwrap();
    let process = starting.spawn(&program).unwrap();
    process.wait().unwrap();
    assert_eq!(process.reap().unwrap().and_then(|status| status.code()), Some(0));
    // Only the first run wrote.
    assert_eq!(pod.run().code, Some(3));
}
