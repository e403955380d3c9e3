//! The pod's one event loop: tasks of one thread that carry streams, see children end and keep time.

use crate::attend::{self, Birth};
use crate::boot::Booted;
use crate::engine::Engine;
use crate::grow;
use crate::listener::Api;
use crate::plug;
use crate::pod::Pod;
use crate::stream::{Frame, StreamError};
use rustix::fd::OwnedFd;
use spec::frame::Kind;
use std::error::Error;
use std::future::Future;
use std::io;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::{JoinSet, LocalSet};
use vdocker::task;

/// How long the host may take to acknowledge the exit record. That comes behind all output, so a reader who pauses, in a
/// pager say, holds it up, and power cut meanwhile would lose what is still on its way. The machine ends with the
/// host's process anyway, and a broken stream ends the wait at once.
const ACKNOWLEDGE: Duration = Duration::from_secs(10 * 60);

/// How long a log may take to reach the disk at the end of the pod.
const LOG_FLUSH: Duration = Duration::from_secs(10);

/// Runs the pod to its end: on return the host knows all it can, and power can be cut.
///
/// # Errors
/// What keeps the pod from beginning; a stream that broke before the end of the pod. The containers have been stopped
/// and the disks flushed then.
pub(crate) fn run(booted: Booted) -> Result<(), Box<dyn Error>> {
    let Booted { spec, stream, listener, disks, children } = booted;
    let (births, born) = mpsc::unbounded_channel();
    let pod = Rc::new(Pod::new(Box::leak(Box::new(spec)), Box::leak(Box::new(disks)), stream, births)?);
    // The first containers are on their way before there is anything to wait with.
    pod.advance();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    let reaping = {
        let pod = Rc::clone(&pod);
        async move { pod.reaper.run(children).await }
    };
    let ended = LocalSet::new().block_on(&runtime, serve(pod, listener, reaping, born));
    // A thread that a disk holds up does not keep the machine on.
    runtime.shutdown_background();
    Ok(ended?)
}

/// Has everything done until the pod is over.
async fn serve(
    pod: Rc<Pod>,
    listener: OwnedFd,
    reaping: impl Future<Output = io::Result<()>> + 'static,
    mut born: mpsc::UnboundedReceiver<Birth>,
) -> Result<(), StreamError> {
    let mut tasks = JoinSet::new();
    let engine = Rc::new(Engine::new(Rc::clone(&pod)));
    let api = Rc::new(Api::new(Rc::clone(&engine), listener));
    tasks.spawn_local(task::boxed(async {
        if let Err(error) = reaping.await {
            // Without the ends of its children PID 1 is of no use.
            panic!("cannot see processes end: {error}");
        }
    }));
    tasks.spawn_local(task::boxed(talk(Rc::clone(&pod))));
    tasks.spawn_local(task::boxed(keep_time(Rc::clone(&pod))));
    tasks.spawn_local(task::boxed({
        let api = Rc::clone(&api);
        async move {
            if let Err(error) = api.run().await {
                crate::last_words(&format!("the pod's API cannot be reached: {error}"));
            }
        }
    }));
    check_health(&pod, &engine);
    let end = end(&pod, &api);
    tokio::pin!(end);
    loop {
        tokio::select! {
            biased;
            Some(birth) = born.recv() => attend::attend(&mut tasks, &pod, birth),
            Some(done) = tasks.join_next() => {
                // A panic in one of these is PID 1's own.
                if let Err(panic) = done.map_err(tokio::task::JoinError::try_into_panic)
                    && let Ok(panic) = panic
                {
                    std::panic::resume_unwind(panic);
                }
            }
            result = &mut end => return result,
        }
    }
}

/// Runs the health checks of the containers that have one.
fn check_health(pod: &Pod, engine: &Rc<Engine>) {
    let checked = pod.members.iter().filter(|member| member.spec.healthcheck.is_some());
    for member in checked {
        // On its own: what goes wrong with a check is not PID 1's end.
        task::spawn(vdocker::health::supervise(Rc::clone(engine), Rc::clone(&member.model)));
    }
}

/// Talks with the host; without it the pod ends.
async fn talk(pod: Rc<Pod>) {
    let obey = |frame: &Frame| match frame.kind {
        Kind::Grow => {
            grow::obey(&pod, &frame.payload);
            Ok(())
        }
        Kind::Link => {
            plug::obey(&pod, &frame.payload);
            Ok(())
        }
        _ => pod.obey(frame),
    };
    pod.host.run(obey).await;
    pod.stop(None, "the stdio stream is broken");
}

/// Does what is due without any event: restarts, and kills of what does not stop.
async fn keep_time(pod: Rc<Pod>) {
    loop {
        let due = async {
            match pod.deadline() {
                Some(at) => tokio::time::sleep(at.saturating_sub(now())).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = pod.rescheduled.notified() => {}
            () = due => pod.advance(),
        }
    }
}

/// Waits for the end of all containers, and for the host to have it on its disk.
async fn end(pod: &Pod, api: &Api) -> Result<(), StreamError> {
    pod.finished.wait().await;
    let all_ended = api.end().await;
    for member in pod.members.iter().filter(|member| member.wrote.get()) {
        // A disk that takes no more has said so in the log.
        let _stuck = tokio::time::timeout(LOG_FLUSH, member.model.log.flush()).await;
    }
    pod.disks.flush();
    if !all_ended {
        // Whoever still works on files keeps the disk mounted: what is written so far is to be on it.
        rustix::fs::sync();
    }
    pod.host.push(Kind::Final, 0, &crate::final_payload(pod.record()));
    let given_up = async {
        pod.host.sent().await;
        tokio::time::sleep(ACKNOWLEDGE).await;
    };
    tokio::select! {
        biased;
        () = pod.acknowledged.wait() => Ok(()),
        () = pod.host.broken.wait() => Err(pod.host.error()),
        () = given_up => Ok(()),
    }
}

/// Time since boot.
pub(crate) fn now() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::try_from(time).unwrap_or_default()
}
