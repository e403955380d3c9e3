//! A pod's process from its start to its end, with scripts in its place.

use std::fs::Permissions;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::*;
use crate::end::{self, End};
use crate::lock::{LockError, PodLock};
use crate::start::{StartError, Starting};
use crate::state::{self, PodState, StateFile};

/// An empty pod directory, and a program that does what the script says.
fn pod(script: &str) -> (tempfile::TempDir, PodDir, PathBuf) {
    let parent = tempfile::tempdir().unwrap();
    let dir = PodDir::new(&parent.path().join("pod")).unwrap();
    std::fs::create_dir(dir.path()).unwrap();
    std::fs::write(dir.lock(), "").unwrap();
    let program = parent.path().join("program");
    std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&program, Permissions::from_mode(0o700)).unwrap();
    (parent, dir, program)
}

fn running(dir: &PodDir, pid: u32) -> PodState {
    let state = PodState {
        version: state::VERSION,
        status: Status::Running,
        pid,
        started: 5,
        restarts: 0,
        stopped: false,
    };
    StateFile::begin(dir, state.clone()).unwrap();
    state
}

#[test]
fn a_start_that_is_given_up_frees_the_pod_and_breaks_connections() {
    let (_parent, dir, _) = pod("");
    std::fs::write(dir.run_log(), "of an earlier run").unwrap();
    drop(Starting::begin(&dir, false).unwrap());
    assert_eq!(end::of(&dir).unwrap(), End::NotStarted("the pod's process ended before it ran".to_owned()));
    let starting = Starting::begin(&dir, false).unwrap();
    assert!(matches!(Starting::begin(&dir, false), Err(StartError::Lock(LockError::Held))));
    let mut early = SocketDir::open(&dir).unwrap().connect(socket::DOCKER).unwrap();
    assert!(matches!(starting.spawn(Path::new("/nowhere")), Err(StartError::Spawn { .. })));
    assert!(!dir.is_running().unwrap());
    assert!(early.read(&mut [0]).map_or(true, |count| count == 0));
}

#[test]
fn what_a_process_said_that_never_booted_is_its_end() {
    let (_parent, dir, program) =
        pod(r#"echo "kcradle: cannot run $4 in $PWD as $1 $2$HOME: no KVM" >&2; exit 125"#);
    running(&dir, 1);
    let process = Starting::begin(&dir, false).unwrap().spawn(&program).unwrap();
    process.wait().unwrap();
    assert!(!dir.is_running().unwrap());
    assert_eq!(process.reap().unwrap().and_then(|status| status.code()), Some(125));
    assert_eq!(process.reap().unwrap(), None);
    let said = format!("cannot run {} in / as run --served: no KVM", dir.path().display());
    assert_eq!(end::of(&dir).unwrap(), End::NotStarted(said));
    process.kill().unwrap();
    process.stop(&dir, None).unwrap();
}

#[test]
fn a_process_has_the_lock_and_the_socket() {
    let (_parent, dir, program) = pod(r#"said=$(readlink /proc/$$/fd/0 /proc/$$/fd/1); echo "$said" >&2"#);
    let process = Starting::begin(&dir, false).unwrap().spawn(&program).unwrap();
    process.wait().unwrap();
    let End::NotStarted(said) = end::of(&dir).unwrap() else { panic!("it has a state") };
    let (input, output) = said.split_once('\n').unwrap();
    assert!(input.starts_with("socket:"), "{said}");
    assert_eq!(Path::new(output).canonicalize().unwrap(), dir.lock().canonicalize().unwrap());
}

#[test]
fn a_process_that_is_killed_has_no_last_word() {
    let (_parent, dir, program) = pod("exec sleep 600");
    let process = Starting::begin(&dir, false).unwrap().spawn(&program).unwrap();
    assert!(dir.is_running().unwrap());
    let state = running(&dir, process.pid());
    assert_eq!(process.reap().unwrap(), None);
    process.kill().unwrap();
    process.wait().unwrap();
    assert_eq!(process.reap().unwrap().and_then(|status| status.signal()), Some(9));
    assert_eq!(adopt(&dir).unwrap().map(|process| process.pid()), None);
    let End::Ended(ended) = end::of(&dir).unwrap() else { panic!("it has no state") };
    assert_eq!((ended.code, ended.started, ended.finished), (137, state.started, None));
    // Held, it keeps its end, which is written down now.
    drop(Starting::begin(&dir, true).unwrap());
    let End::Ended(ended) = end::of(&dir).unwrap() else { panic!("it has no state") };
    assert_eq!(ended.code, 137);
    assert!(ended.finished.is_some());
}

#[test]
fn a_process_that_has_no_socket_yet_is_stopped_by_a_signal() {
    let (_parent, dir, program) = pod("exec sleep 600");
    let process = Starting::begin(&dir, false).unwrap().spawn(&program).unwrap();
    process.stop(&dir, Some(1)).unwrap();
    process.wait().unwrap();
    assert_eq!(process.reap().unwrap().and_then(|status| status.signal()), Some(15));
}

#[test]
fn the_process_behind_the_control_socket_is_found() {
    let (_parent, dir, _) = pod("");
    assert!(adopt(&dir).unwrap().is_none());
    let sockets = SocketDir::open(&dir).unwrap();
    // An earlier run left its socket.
    drop(sockets.bind(socket::CONTROL).unwrap());
    let _lock = PodLock::take(&dir.lock()).unwrap();
    let found = std::thread::scope(|scope| {
        let found = scope.spawn(|| adopt(&dir).unwrap().unwrap());
        let _listener = sockets.bind(socket::CONTROL).unwrap();
        found.join().unwrap()
    });
    assert_eq!((found.pid(), found.is_held()), (std::process::id(), true));
    let _listener = sockets.bind(socket::CONTROL).unwrap();
    running(&dir, 1);
    assert!(!adopt(&dir).unwrap().unwrap().is_held());
    assert_eq!(found.reap().unwrap(), None);
}

#[test]
fn a_state_that_is_being_written_is_looked_at_again() {
    let (_parent, dir, _) = pod("");
    let _lock = PodLock::take(&dir.lock()).unwrap();
    let listener = SocketDir::open(&dir).unwrap().bind(socket::CONTROL).unwrap();
    listener.set_nonblocking(true).unwrap();
    std::fs::write(dir.state(), "{").unwrap();
    let found = std::thread::scope(|scope| {
        let found = scope.spawn(|| adopt(&dir));
        // Who looks for the second time has seen it.
        let mut looks = 0;
        while looks < 2 && !found.is_finished() {
            looks += usize::from(listener.accept().is_ok());
            std::thread::yield_now();
        }
        running(&dir, 1);
        found.join().unwrap()
    });
    assert!(!found.unwrap().unwrap().is_held());
}
