//! A run of a container, from the start of its pod's process to its end: what happens in it is told, and what it came to
//! is kept.

use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use pod::end::{self, End};
use tokio::sync::{mpsc, oneshot};
use vdocker::{EngineError, time};

use super::allowance::Allowance;
use super::record::Status;
use super::{Container, exec, health, networking, remove, restart, start};
use crate::daemon::Daemon;
use crate::failure::{chain, report};
use crate::pods::feed::PodEvent;
use crate::pods::process::Process;

/// The exit code of a container whose virtual machine was killed.
const KILLED: i64 = 137;

/// The exit code of a container that could not be started, where the guest does not say.
const NOT_STARTED: i64 = 128;

/// What is heard from pods: the rest the daemon tells itself, at its own time and with what it knows, and a hostile guest
/// cannot tell it.
const TOLD: [&str; 13] = [
    "archive-path",
    "detach",
    "exec_create",
    "exec_detach",
    "exec_die",
    "exec_start",
    "export",
    "extract-to-dir",
    "health_status",
    "pause",
    "resize",
    "top",
    "unpause",
];

/// What is heard of them beside the container's own attributes.
const ATTRIBUTES: [&str; 5] = ["execID", "exitCode", "height", "path", "width"];

/// How far a guest's clock may be ahead of the host's.
const AHEAD: Duration = Duration::from_secs(10);

/// Bytes of a text in them.
const MAX_TEXT: usize = 4 << 10;

/// Where a start's outcome is told.
pub(super) type Acknowledge = oneshot::Sender<Result<(), EngineError>>;

/// How a run ended.
#[derive(Debug)]
struct Outcome {
    code: i64,
    oom_killed: bool,
    /// Why the program could not be executed, or the pod failed.
    error: String,
    /// The program was never executed.
    failed: bool,
    started: Option<SystemTime>,
    finished: SystemTime,
    /// A user asked for it, inside of the pod.
    stopped: bool,
}

/// What is known of a run's beginning.
pub(super) enum Beginning {
    /// Somebody waits for the program to run, and holds the container's operation until then.
    Awaited(Acknowledge),
    /// It is on the disk.
    Recorded,
}

/// Attends to a run until it is over.
pub(super) async fn attend(
    daemon: &Rc<Daemon>,
    container: &Rc<Container>,
    process: &Process,
    mut events: mpsc::Receiver<PodEvent>,
    mut beginning: Beginning,
) {
    let told = daemon.events.times_of(&container.id);
    // A pod begins with all that it remembers, some of which may be forgotten here: that was told too.
    let horizon = daemon.events.horizon(&container.id).filter(|_| matches!(beginning, Beginning::Recorded));
    let is_told = |time: &i64| told.contains(time) || horizon.is_some_and(|horizon| *time < horizon);
    let (mut allowance, mut is_cut_short) = (Allowance::new(Instant::now()), false);
    // Ends when the pod does.
    while let Some(event) = events.recv().await {
        if event.action == "start" {
            match std::mem::replace(&mut beginning, Beginning::Recorded) {
                Beginning::Awaited(acknowledge) => {
                    let begun = begin(daemon, container, process.pid()).await;
                    // The client may be gone.
                    let _heard = acknowledge.send(begun);
                }
                Beginning::Recorded => {}
            }
        } else if is_told(&event.time_nano) {
            exec::recall(daemon, container, &event);
        } else if exec::is_awaited(daemon, container, &event) || allowance.takes(Instant::now()) {
            forward(daemon, container, &event).await;
        } else if !std::mem::replace(&mut is_cut_short, true) {
            log::warn!(container = container.id.as_str(); "a pod has too many events: not all are told");
        }
    }
    process.ended().await;
    container.is_reachable.set(false);
    container.process.replace(None);
    container.places.take();
    let outcome = outcome(daemon, container).await;
    exec::ended(daemon, container);
    match beginning {
        Beginning::Awaited(acknowledge) if outcome.failed => {
            let error = if outcome.error.is_empty() {
                "the container did not start".to_owned()
            } else {
                outcome.error
            };
            let kept =
                container.change(daemon, |life| start::fail(life, error.clone(), outcome.code), []).await;
            if let Err(error) = kept {
                report("cannot keep how a start failed", &error);
            }
            // The program could not be executed, or there was no machine to execute it in.
            let error = match outcome.started {
                Some(_) => EngineError::BadRequest(error),
                None => EngineError::Failed(error),
            };
            let _heard = acknowledge.send(Err(error));
        }
        Beginning::Awaited(acknowledge) => {
            // It started, and its end overtook the news.
            let begun = begin(daemon, container, process.pid()).await;
            let _heard = acknowledge.send(begun);
            over(daemon, container, outcome).await;
        }
        Beginning::Recorded => over(daemon, container, outcome).await,
    }
}

/// Catches up with a container whose pod does not run, when the daemon starts.
pub(super) async fn missed(daemon: &Rc<Daemon>, container: &Rc<Container>) {
    let state = container.state();
    if state.status == Status::Restarting {
        return restart::schedule(daemon, container, Duration::ZERO);
    }
    let outcome = outcome(daemon, container).await;
    if container.is_running() {
        return over(daemon, container, outcome).await;
    }
    // A run that is not on the disk: the daemon was killed before it could write it down.
    let is_unrecorded =
        outcome.started.is_some_and(|started| state.finished.is_none_or(|before| started > before));
    let has_not_run = matches!(state.status, Status::Created | Status::Exited);
    if has_not_run && is_unrecorded && !outcome.failed && state.error.is_empty() {
        if let Err(error) = begin(daemon, container, 0).await {
            report("cannot keep that a container has run", &error);
        }
        over(daemon, container, outcome).await;
    }
}

/// Keeps that a container runs.
async fn begin(daemon: &Rc<Daemon>, container: &Container, pid: u32) -> Result<(), EngineError> {
    let health = health::starting(container);
    networking::learn(daemon, container).await;
    let mut events = networking::events(daemon, container, "connect");
    events.push(container.event("start", &[]));
    let begun = container.change(
        daemon,
        |life| {
            let state = &mut life.state;
            state.status = Status::Running;
            (state.pid, state.started) = (pid, Some(SystemTime::now()));
            (state.exit_code, state.oom_killed) = (0, false);
            state.error.clear();
            life.health = health;
        },
        events,
    );
    Ok(begun.await?)
}

/// Tells of what happens in a pod.
async fn forward(daemon: &Rc<Daemon>, container: &Rc<Container>, event: &PodEvent) {
    let kind = event.action.split(':').next().unwrap_or_default();
    if !TOLD.contains(&kind) || event.action.len() > MAX_TEXT {
        return;
    }
    if kind == "exec_die" {
        // Also of one that ended while no daemon ran.
        exec::recall(daemon, container, event);
    }
    if kind == "health_status" {
        health::refresh(daemon, container).await;
    }
    let known = event
        .attributes()
        .iter()
        .filter(|(name, value)| ATTRIBUTES.contains(&name.as_str()) && value.len() <= MAX_TEXT);
    let more: Vec<_> = known.map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let mut told = container.event(&event.action, &more);
    // By its time it is known again by a daemon that is started anew.
    let nanos = sound(event.time_nano, SystemTime::now());
    (told.time, told.time_nano) = (nanos / 1_000_000_000, nanos);
    container.tell_of(daemon, told).await;
}

/// The time that a guest tells, in nanoseconds since 1970, where it has not yet to come: else now.
fn sound(nanos: i64, now: SystemTime) -> i64 {
    if nanos > time::unix_nanos(now + AHEAD) { time::unix_nanos(now) } else { nanos }
}

/// How the pod ended, from its directory.
async fn outcome(daemon: &Daemon, container: &Container) -> Outcome {
    let failure = |error: String| Outcome {
        code: NOT_STARTED,
        oom_killed: false,
        error,
        failed: true,
        started: None,
        finished: SystemTime::now(),
        stopped: false,
    };
    let dir = match daemon.pods.of(&container.id) {
        Ok(dir) => dir,
        Err(error) => return failure(chain(&error)),
    };
    let ended = match daemon.blocking(move || end::of(&dir)).await {
        Ok(Ok(ended)) => ended,
        Ok(Err(error)) => return failure(chain(&error)),
        Err(error) => return failure(chain(&error)),
    };
    let ended = match ended {
        End::NotStarted(words) => return failure(words),
        End::Ended(ended) => ended,
    };
    let time = |nanos: u64| SystemTime::UNIX_EPOCH + Duration::from_nanos(nanos);
    let started = Some(time(ended.started));
    let finished = ended.finished.map_or_else(SystemTime::now, time);
    let stopped = ended.stopped;
    let Some(exit) = ended.record.as_ref().and_then(|record| record.containers.first()) else {
        // The machine ended without the guest's word: it was killed, or failed.
        let error = ended.error.unwrap_or_default();
        let code = if error.is_empty() { KILLED } else { i64::from(ended.code) };
        return Outcome {
            code,
            oom_killed: false,
            failed: !error.is_empty(),
            error,
            started,
            finished,
            stopped,
        };
    };
    Outcome {
        code: exit.code.into(),
        oom_killed: exit.oom_killed,
        error: exit.error.clone().unwrap_or_default(),
        failed: exit.error.is_some(),
        started,
        finished,
        stopped,
    }
}

/// Keeps how a run ended, and does what follows from that.
async fn over(daemon: &Rc<Daemon>, container: &Rc<Container>, outcome: Outcome) {
    let before = container.state();
    let lasted = before.started.and_then(|started| outcome.finished.duration_since(started).ok());
    let lasted = lasted.unwrap_or_default();
    let is_stopped = before.stopped || outcome.stopped;
    let restarts = restart::is_due(container, outcome.code, is_stopped);
    let (code, seconds) = (outcome.code.to_string(), lasted.as_secs().to_string());
    let mut events = Vec::new();
    if outcome.oom_killed {
        events.push(container.event("oom", &[]));
    }
    events.push(container.event("die", &[("exitCode", &code), ("execDuration", &seconds)]));
    events.extend(networking::events(daemon, container, "disconnect"));
    let kept = container.change(
        daemon,
        |life| {
            let state = &mut life.state;
            state.status = if restarts { Status::Restarting } else { Status::Exited };
            (state.exit_code, state.oom_killed) = (outcome.code, outcome.oom_killed);
            (state.error, state.pid) = (outcome.error, 0);
            (state.finished, state.stopped) = (Some(outcome.finished), is_stopped);
            life.exits += 1;
            life.health = life.health.take().map(health::stopped);
        },
        events,
    );
    if let Err(error) = kept.await {
        report("cannot keep how a container ended", &error);
    }
    if restarts {
        restart::schedule(daemon, container, lasted);
    } else if container.is_removed_at_end() {
        remove::at_end(daemon, container).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_tells_nothing_of_the_future() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1000);
        let second = 1_000_000_000;
        for (told, kept) in [
            (0, 0),
            (-5, -5),
            (999 * second, 999 * second),
            (1010 * second, 1010 * second),
            (1010 * second + 1, 1000 * second),
            (i64::MAX, 1000 * second),
        ] {
            assert_eq!(sound(told, now), kept, "{told}");
        }
    }
}
