//! The start of a container: its pod is made ready, those that wait for it connect, and then its process is started.

use std::rc::Rc;

use pod::Starting;
use tokio::sync::{mpsc, oneshot};
use vdocker::EngineError;

use super::record::Status;
use super::{Container, attach, networking, remove, run};
use crate::daemon::Daemon;
use crate::failure::failed;
use crate::pods::client;
use crate::pods::feed::Feed;
use crate::pods::held;
use crate::pods::process::Process;

/// Events of a pod that may wait.
const EVENTS: usize = 64;

/// Starts a container for a client, and returns when its program runs.
///
/// # Errors
/// [`EngineError::NotModified`] where it runs; [`EngineError::BadRequest`] with the words of the guest where its program
/// cannot be executed.
pub(crate) async fn start(daemon: &Rc<Daemon>, container: &Rc<Container>) -> Result<(), EngineError> {
    let operation = container.operation.lock().await;
    match container.status() {
        Status::Created | Status::Exited => {}
        Status::Running | Status::Restarting => return Err(EngineError::NotModified),
        Status::Paused => {
            return Err(EngineError::Conflict("cannot start a paused container, try unpause instead".into()));
        }
        Status::Removing | Status::Dead => {
            return Err(EngineError::Conflict(
                "container is marked for removal and cannot be started".into(),
            ));
        }
    }
    container.life.send_if_modified(|life| {
        (life.state.restarts, life.state.stopped) = (0, false);
        false
    });
    container.delay.take();
    let started = begin(daemon, container).await;
    drop(operation);
    if started.is_err() && container.is_removed_at_end() {
        // A client may wait for that.
        remove::at_end(daemon, container).await;
    }
    started
}

/// Starts a container that does not run. Its operation must be held.
///
/// # Errors
/// It does not come to run; it stands as it did before then, with the error in its state.
pub(crate) async fn begin(daemon: &Rc<Daemon>, container: &Rc<Container>) -> Result<(), EngineError> {
    let (acknowledge, started) = oneshot::channel();
    let begun = launch(daemon, container, acknowledge).await;
    if let Err(error) = begun {
        container.is_reachable.set(false);
        // They hear that nothing comes.
        container.waiting.borrow_mut().clear();
        let text = error.to_string();
        container.change(daemon, |life| fail(life, text, 128), []).await?;
        return Err(error);
    }
    // Whoever attends to the run answers before it goes.
    started.await.unwrap_or_else(|_| Err(EngineError::Failed("the container's start was lost".into())))
}

/// Notes a start that came to nothing.
pub(super) fn fail(life: &mut super::Life, error: String, code: i64) {
    let state = &mut life.state;
    state.status = if state.started.is_some() { Status::Exited } else { Status::Created };
    (state.error, state.exit_code, state.pid) = (error, code, 0);
}

async fn launch(
    daemon: &Rc<Daemon>,
    container: &Rc<Container>,
    acknowledge: oneshot::Sender<Result<(), EngineError>>,
) -> Result<(), EngineError> {
    let dir = daemon.pods.of(&container.id).map_err(|error| failed(&error))?;
    daemon.held.release(&container.id).await;
    held::free_volumes(daemon, container).await?;
    networking::prepare(daemon, container, &dir).await?;
    let of_thread = dir.clone();
    let starting = daemon.blocking(move || Starting::begin(&of_thread, false)).await?;
    let starting = starting.map_err(|error| failed(&error))?;
    let events = follow(Feed::open(client::connect(&dir)?));
    container.is_reachable.set(true);
    attach::connect_all(container, &dir).await;
    let program = daemon.pods.program().to_owned();
    let process = daemon.blocking(move || starting.spawn(&program)).await?.map_err(|error| failed(&error))?;
    let process = Rc::new(Process::new(process).map_err(|error| failed(&error))?);
    container.process.replace(Some(Rc::clone(&process)));
    let (daemon, container) = (Rc::clone(daemon), Rc::clone(container));
    tokio::task::spawn_local(async move {
        let beginning = run::Beginning::Awaited(acknowledge);
        run::attend(&daemon, &container, &process, events, beginning).await;
    });
    Ok(())
}

/// The events of a pod as they come, while the answer to the request for them is waited for as well.
pub(super) fn follow(
    feed: impl Future<Output = Result<Feed, client::PodError>> + 'static,
) -> mpsc::Receiver<crate::pods::feed::PodEvent> {
    let (sender, events) = mpsc::channel(EVENTS);
    tokio::task::spawn_local(async move {
        let Ok(mut feed) = feed.await else { return };
        while let Some(event) = feed.next().await {
            if sender.send(event).await.is_err() {
                return;
            }
        }
    });
    events
}
