//! The end of a container by hand: stop, kill and restart.

use std::rc::Rc;
use std::time::Duration;

use hyper::Method;
use vdocker::query::Query;
use vdocker::{EngineError, signal};

use super::record::Status;
use super::{Container, start};
use crate::daemon::Daemon;
use crate::failure::failed;
use crate::pods::client;

/// How long a pod may take beyond what its container was given, before its power is cut.
const PATIENCE: Duration = Duration::from_secs(20);

/// Seconds from the stop signal to the kill where nobody says, as Docker has it.
const GRACE: i64 = 10;

/// How to stop a container.
#[derive(Clone, Debug, Default)]
pub(super) struct Options {
    /// In place of the container's own stop signal.
    signal: Option<u32>,
    /// Seconds from the signal to the kill, in place of the container's own; negative: never.
    grace: Option<i64>,
}

impl Options {
    /// The parameters `signal` and `t`.
    ///
    /// # Errors
    /// [`EngineError::BadRequest`] for what is neither.
    pub(super) fn read(query: &Query) -> Result<Self, EngineError> {
        let signal = query.text("signal").map(signal::parse).transpose()?;
        Ok(Self { signal, grace: query.number("t")? })
    }
}

/// Stops a container, and returns when it has ended.
///
/// # Errors
/// [`EngineError::NotModified`] where it does not run.
pub(super) async fn stop(
    daemon: &Rc<Daemon>,
    container: &Rc<Container>,
    options: &Options,
) -> Result<(), EngineError> {
    let _operation = container.operation.lock().await;
    halt(daemon, container, options).await?;
    container.tell(daemon, "stop", &[]).await;
    Ok(())
}

/// Stops a container where it runs, and starts it.
///
/// # Errors
/// Those of the start.
pub(super) async fn restart(
    daemon: &Rc<Daemon>,
    container: &Rc<Container>,
    options: &Options,
) -> Result<(), EngineError> {
    let operation = container.operation.lock().await;
    if matches!(container.status(), Status::Removing | Status::Dead) {
        return Err(EngineError::Conflict("container is marked for removal and cannot be started".into()));
    }
    match halt(daemon, container, options).await {
        Ok(()) => container.tell(daemon, "stop", &[]).await,
        Err(EngineError::NotModified) => {}
        Err(error) => return Err(error),
    }
    container.life.send_if_modified(|life| {
        (life.state.restarts, life.state.stopped) = (0, false);
        false
    });
    container.delay.take();
    start::begin(daemon, container).await?;
    drop(operation);
    container.tell(daemon, "restart", &[]).await;
    Ok(())
}

/// Stops a container whose operation is held.
async fn halt(daemon: &Rc<Daemon>, container: &Rc<Container>, options: &Options) -> Result<(), EngineError> {
    if !container.is_running() {
        return Err(EngineError::NotModified);
    }
    if cancel_restart(daemon, container).await? {
        return Ok(());
    }
    mark_stopped(container);
    let (own_signal, own_grace) = own(container);
    let number = options.signal.unwrap_or(own_signal);
    let grace = options.grace.unwrap_or(own_grace);
    container.tell(daemon, "kill", &[("signal", &number.to_string())]).await;
    let dir = daemon.pods.of(&container.id).map_err(|error| failed(&error))?;
    let target = format!("/containers/{}/stop?signal={number}&t={grace}", container.id);
    let asked = client::ask(&dir, Method::POST, &target);
    let mut life = container.life.subscribe();
    let ended = life.wait_for(|life| !life.is_running());
    let limit = u64::try_from(grace).ok().map(|grace| Duration::from_secs(grace).saturating_add(PATIENCE));
    // The answer tells nothing that the end does not.
    let asked = async {
        let _answered = asked.await;
        ended.await
    };
    let done = match limit {
        Some(limit) => tokio::time::timeout(limit, asked).await.is_ok(),
        None => asked.await.is_ok(),
    };
    if !done {
        cut(container).await;
    }
    Ok(())
}

/// Ends the waiting for a restart, if there is one.
async fn cancel_restart(daemon: &Daemon, container: &Container) -> Result<bool, EngineError> {
    if container.status() != Status::Restarting {
        return Ok(false);
    }
    let stopped =
        container.change(daemon, |life| (life.state.status, life.state.stopped) = (Status::Exited, true), []);
    stopped.await?;
    Ok(true)
}

/// The container's end is one by hand: its policy does not start it again.
fn mark_stopped(container: &Container) {
    container.life.send_if_modified(|life| {
        life.state.stopped = true;
        false
    });
}

/// The stop signal, and the seconds from it to the kill.
fn own(container: &Container) -> (u32, i64) {
    let record = container.record.borrow();
    let named = record.config.stop_signal.as_deref().filter(|name| !name.is_empty());
    let number = named.and_then(|name| signal::parse(name).ok()).unwrap_or(TERM);
    (number, record.config.stop_timeout.unwrap_or(GRACE))
}

/// SIGTERM.
const TERM: u32 = 15;

/// Sends a signal to a container.
///
/// # Errors
/// [`EngineError::Conflict`] where it does not run.
pub(super) async fn kill(
    daemon: &Rc<Daemon>,
    container: &Rc<Container>,
    number: u32,
) -> Result<(), EngineError> {
    let not_running = || {
        let (name, id) = (container.name(), &container.id);
        EngineError::Conflict(format!("cannot kill container: {name}: container {id} is not running"))
    };
    if !container.is_running() {
        return Err(not_running());
    }
    let ends = number == signal::KILL || number == own(container).0;
    if ends && cancel_restart(daemon, container).await? {
        return Ok(());
    }
    if container.status() == Status::Restarting {
        return Err(not_running());
    }
    if ends {
        mark_stopped(container);
    }
    container.tell(daemon, "kill", &[("signal", &number.to_string())]).await;
    let dir = daemon.pods.of(&container.id).map_err(|error| failed(&error))?;
    let target = format!("/containers/{}/kill?signal={number}", container.id);
    let asked = client::ask(&dir, Method::POST, &target);
    if number != signal::KILL {
        return match asked.await {
            Ok(_) => Ok(()),
            Err(_) if !container.is_running() => Err(not_running()),
            Err(error) => Err(error.into()),
        };
    }
    let mut life = container.life.subscribe();
    let exits = life.borrow().exits;
    let over = async {
        let _answered = asked.await;
        life.wait_for(|life| life.exits != exits || !life.is_running()).await
    };
    if tokio::time::timeout(PATIENCE, over).await.is_err() {
        cut(container).await;
    }
    Ok(())
}

/// Cuts the power of a pod that does not end, and waits until that is noticed.
pub(super) async fn cut(container: &Container) {
    let process = container.process.borrow().clone();
    let Some(process) = process else { return };
    let mut life = container.life.subscribe();
    let exits = life.borrow().exits;
    process.kill();
    let _over = life.wait_for(|life| life.exits != exits || !life.is_running()).await;
}
