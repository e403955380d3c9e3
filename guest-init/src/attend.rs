//! The tasks of one run of a container, from the clone of its first process to the last of its output.

use crate::container::failure::Failure;
use crate::container::process::Process;
use crate::latch::Latch;
use crate::output::Output;
use crate::pod::{End, Pod};
use rustix::fd::OwnedFd;
use rustix::process::WaitStatus;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, ready};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use vdocker::task;

/// A run that has begun.
pub(crate) struct Birth {
    /// The container's index.
    pub(crate) index: usize,
    /// Its new process.
    pub(crate) process: Process,
    /// How that will have ended.
    pub(crate) exit: oneshot::Receiver<WaitStatus>,
}

/// Starts the tasks of a run.
pub(crate) fn attend(tasks: &mut JoinSet<()>, pod: &Rc<Pod>, birth: Birth) {
    let Birth { index, process, exit } = birth;
    let ended = Rc::new(Latch::default());
    let mut closed = Vec::new();
    // First, so that the start is seen before the output.
    let (reported, report) = oneshot::channel();
    tasks.spawn_local(task::boxed(learn(Rc::clone(pod), index, process.starting, reported)));
    for (which, fd) in process.outputs.into_iter().enumerate() {
        // Where the kernel is out of memory for watching a pipe, the process learns that nobody reads it.
        let Some(output) = fd.and_then(|fd| Output::new(fd, Rc::clone(&ended)).ok()) else { continue };
        let (done, taken) = oneshot::channel::<()>();
        closed.push(taken);
        tasks.spawn_local(task::boxed(carry(Rc::clone(pod), index, which, output, done)));
    }
    if let Some(stdin) = process.stdin {
        let terminal = process.terminal.is_some();
        let ended = Rc::clone(&ended);
        tasks.spawn_local(task::boxed(feed(Rc::clone(pod), index, stdin, terminal, ended)));
    }
    let pod = Rc::clone(pod);
    tasks.spawn_local(task::boxed(async move {
        let failure = report.await.ok().flatten();
        let status = exit.await.ok();
        ended.set();
        for taken in closed {
            // Ends with an error, when the sender is dropped.
            let _done = taken.await;
        }
        pod.ended(index, End { status, failure });
    }));
}

/// Waits until the program is executed.
async fn learn(pod: Rc<Pod>, index: usize, starting: OwnedFd, reported: oneshot::Sender<Option<Failure>>) {
    let failure = Failure::wait(starting).await;
    if failure.is_none() {
        pod.executed(index);
    }
    let _gone = reported.send(failure);
}

/// Carries an output to host and log, one read a turn: what became readable first is read first.
async fn carry(pod: Rc<Pod>, index: usize, which: usize, mut output: Output, _done: oneshot::Sender<()>) {
    loop {
        pod.room(index).await;
        let taken = poll_fn(|context| {
            let mut buffer = pod.buffer.borrow_mut();
            let count = ready!(output.poll_bytes(context, &mut buffer));
            if count > 0 {
                pod.deliver(index, which, &buffer[..count]);
            }
            Poll::Ready(count)
        });
        if taken.await == 0 {
            return;
        }
        tokio::task::yield_now().await;
    }
}

/// Gives the process its standard input until it ends.
async fn feed(pod: Rc<Pod>, index: usize, stdin: OwnedFd, terminal: bool, ended: Rc<Latch>) {
    let input = Rc::clone(&pod.members[index].input);
    tokio::select! {
        () = input.run(stdin, terminal, || pod.report_taken(index)) => {}
        () = ended.wait() => {}
    }
}
