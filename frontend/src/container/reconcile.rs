//! What a daemon finds when it starts: containers that run, have ended meanwhile, or are half made or half removed.

use std::collections::BTreeSet;
use std::rc::Rc;

use pod::process;
use tokio::sync::{Semaphore, oneshot};

use super::record::Status;
use super::{Container, exec, health, networking, remove, restart, run, start};
use crate::daemon::Daemon;
use crate::failure::report;
use crate::pods::client;
use crate::pods::feed::Feed;
use crate::pods::process::Process;

/// Pods that are looked at at a time, each by a thread.
const AT_ONCE: usize = 16;

/// Makes what is recorded agree with what runs, and starts what is to be started.
pub(crate) async fn reconcile(daemon: &Rc<Daemon>) {
    let containers = daemon.containers.all();
    // Beside each other: one that has only just been started is waited for.
    let at_once = Rc::new(Semaphore::new(AT_ONCE));
    let looks = containers.iter().map(|container| {
        let (daemon, container, at_once) = (Rc::clone(daemon), Rc::clone(container), Rc::clone(&at_once));
        tokio::task::spawn_local(async move {
            let _one = at_once.acquire().await;
            match container.status() {
                Status::Removing => finish_removal(&daemon, &container).await,
                _ => find(&daemon, &container).await,
            }
        })
    });
    for look in looks.collect::<Vec<_>>() {
        // One that panics has said so, and its container stays as it is recorded.
        let _looked = look.await;
    }
    remove_strangers(daemon).await;
    // Oldest first, as they were started.
    for container in containers.into_iter().rev() {
        if !container.is_running() && !container.life.borrow().removed && restart::is_due_at_start(&container)
        {
            let daemon = Rc::clone(daemon);
            tokio::task::spawn_local(async move {
                if let Err(error) = start::start(&daemon, &container).await {
                    report("cannot start a container", &error);
                }
            });
        }
    }
}

async fn finish_removal(daemon: &Rc<Daemon>, container: &Rc<Container>) {
    let _operation = container.operation.lock().await;
    // Whether the client asked for them is not known: volumes that nobody named stay, unless they go with every end.
    let volumes = container.is_removed_at_end();
    if let Err(error) = remove::take_away(daemon, container, volumes).await {
        report("cannot remove a container", &error);
    }
}

/// Looks for the process of a container's pod.
async fn find(daemon: &Rc<Daemon>, container: &Rc<Container>) {
    let Ok(dir) = daemon.pods.of(&container.id) else { return };
    let of_thread = dir.clone();
    let adopted = daemon.blocking(move || process::adopt(&of_thread)).await;
    match adopted {
        Ok(Ok(Some(found))) if found.is_held() => {
            // It was read by requests to the daemon before this one.
            let of_thread = dir.clone();
            let ended = daemon.blocking(move || {
                // In order, so that what was written to it is on its disk.
                if found.stop(&of_thread, None).is_err() {
                    let _killed = found.kill();
                }
                let _ended = found.wait();
            });
            if let Err(error) = ended.await {
                report("cannot end a held pod", &error);
            }
            run::missed(daemon, container).await;
        }
        Ok(Ok(Some(found))) => match Process::new(found) {
            Ok(process) => adopt(daemon, container, process).await,
            Err(error) => report("cannot watch a pod", &error),
        },
        Ok(Ok(None)) => run::missed(daemon, container).await,
        Ok(Err(error)) => report(&format!("cannot look at the pod of {}", container.id), &error),
        Err(error) => report("cannot look at a pod", &error),
    }
}

/// Goes on with a run that a daemon before this one has started.
async fn adopt(daemon: &Rc<Daemon>, container: &Rc<Container>, process: Process) {
    let Ok(dir) = daemon.pods.of(&container.id) else { return };
    let process = Rc::new(process);
    container.is_reachable.set(true);
    networking::learn(daemon, container).await;
    exec::learn(daemon, container).await;
    container.process.replace(Some(Rc::clone(&process)));
    let events = start::follow(async move { Feed::open(client::connect(&dir)?).await });
    let (daemon, container) = (Rc::clone(daemon), Rc::clone(container));
    let beginning = if container.is_running() {
        let (daemon, container) = (Rc::clone(&daemon), Rc::clone(&container));
        tokio::task::spawn_local(async move { health::catch_up(&daemon, &container).await });
        run::Beginning::Recorded
    } else {
        begin(&daemon, &container)
    };
    tokio::task::spawn_local(async move {
        run::attend(&daemon, &container, &process, events, beginning).await;
    });
}

/// Goes on with a start that a daemon before this one was killed in, before it could write that down. Until it is known what
/// that comes to, no request starts, stops or removes the container.
fn begin(daemon: &Rc<Daemon>, container: &Rc<Container>) -> run::Beginning {
    let (acknowledge, started) = oneshot::channel();
    let (daemon, container) = (Rc::clone(daemon), Rc::clone(container));
    // It has the operation before the first request comes.
    tokio::task::spawn_local(async move {
        let operation = container.operation.lock().await;
        let started = started.await;
        drop(operation);
        if let Ok(Err(error)) = &started {
            report("a container did not start", error);
        }
        if !matches!(started, Ok(Ok(()))) && container.is_removed_at_end() {
            remove::at_end(&daemon, &container).await;
        }
    });
    run::Beginning::Awaited(acknowledge)
}

/// Removes directories without a record: of containers whose creation was not acknowledged.
async fn remove_strangers(daemon: &Rc<Daemon>) {
    let known: BTreeSet<String> =
        daemon.containers.all().iter().map(|container| container.id.clone()).collect();
    let root = daemon.pods.root().to_owned();
    let found = daemon.blocking(move || {
        let entries = std::fs::read_dir(root).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect::<Vec<_>>()
    });
    for name in found.await.unwrap_or_default() {
        let is_id = name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
        if is_id
            && !known.contains(&name)
            && let Err(error) = remove::remove_pod(daemon, &name).await
        {
            report("cannot remove what is left of a container", &error);
        }
    }
}
