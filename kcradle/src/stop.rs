//! `kcradle stop`: asks running pods to end, waits for it, and kills those that do not.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process};
use spec::control::{Reply, Verb};

use crate::cli::StopArgs;
use crate::failure::Failure;
use crate::hint;
use crate::run::is_running;
use crate::stdout;
use pod::{PodDir, Status, control};

/// What a pod may take beyond the grace period of its containers: to start at all, and to flush its disks.
const MARGIN: Duration = Duration::from_secs(10);

/// The time between two looks at a pod's lock.
const INTERVAL: Duration = Duration::from_millis(20);

/// Stops the pods, all of them even where one fails.
pub(crate) fn run(args: &StopArgs) -> Result<u8, Failure> {
    let mut code = 0;
    for path in &args.dirs {
        let stopped = PodDir::new(path)
            .context("cannot name the pod directory")
            .map_err(Failure::from)
            .and_then(|dir| stop(&dir, args.time));
        match stopped {
            Ok(()) => stdout::line(format_args!("{}", path.display())),
            Err(failure) => {
                let failure = failure.context(format!("cannot stop {}", path.display()));
                failure.print();
                code = failure.exit_code();
            }
        }
    }
    Ok(code)
}

/// Stops a pod; one that does not run is stopped already.
fn stop(dir: &PodDir, grace: Option<u32>) -> Result<(), Failure> {
    dir.read_record().map_err(hint::where_pods_are)?;
    if !is_running(dir)? {
        return Ok(());
    }
    let launch = dir.read_launch().map_err(anyhow::Error::from)?;
    let own = launch.containers.iter().map(|container| container.process.stop_timeout).max().unwrap_or(0);
    let deadline = Instant::now() + Duration::from_secs(grace.unwrap_or(own).into()) + MARGIN;
    ask(dir, Verb::Stop { grace_seconds: grace }, deadline)?;
    if wait_until(dir, deadline)? {
        return Ok(());
    }
    kill(dir)
}

/// Ends a pod at once, and waits until it has ended. One that does not run is passed over.
pub(crate) fn kill(dir: &PodDir) -> Result<(), Failure> {
    let deadline = Instant::now() + MARGIN;
    ask(dir, Verb::Kill, deadline)?;
    if wait_until(dir, deadline)? { Ok(()) } else { Err(Failure::new("the pod's process does not end")) }
}

/// Waits for the pod's lock to be free; false where it is held at the deadline.
fn wait_until(dir: &PodDir, deadline: Instant) -> Result<bool, Failure> {
    while is_running(dir)? {
        if Instant::now() >= deadline {
            return Ok(false);
        }
        std::thread::sleep(INTERVAL);
    }
    Ok(true)
}

/// Sends a request, again and again while the pod's process sets up its socket, or waits for a restart.
fn ask(dir: &PodDir, verb: Verb, deadline: Instant) -> Result<(), Failure> {
    loop {
        match control::ask(dir, verb.clone()) {
            Ok(Reply::Error(why)) => return Err(Failure::new(format!("the pod refuses: {why}"))),
            Ok(_) => return Ok(()),
            Err(_) if !is_running(dir)? => return Ok(()),
            Err(error) if Instant::now() >= deadline => {
                return Err(anyhow::Error::from(error).context("cannot reach the pod's process").into());
            }
            Err(_) => end_wait_for_restart(dir),
        }
        std::thread::sleep(INTERVAL);
    }
}

/// A process that waits before a restart has no socket; its lock is held, so its pid is its own.
fn end_wait_for_restart(dir: &PodDir) {
    if let Ok(Some(state)) = dir.read_state()
        && matches!(state.status, Status::Restarting { .. })
        && let Some(pid) = i32::try_from(state.pid).ok().and_then(Pid::from_raw)
    {
        // It may have gone on to the restart meanwhile: the socket will be there.
        let _ = kill_process(pid, Signal::TERM);
    }
}
