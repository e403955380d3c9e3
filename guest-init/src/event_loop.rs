//! The one place where PID 1 waits: for the host, for containers' streams, for ended children, for time.

use crate::engine::{Ending, Engine};
use crate::signals::ChildSignal;
use crate::stream::StreamError;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use spec::frame::Kind;
use std::time::Duration;

/// How long the host may take to acknowledge the exit record. That comes behind all output, so a reader who pauses, in a
/// pager say, holds it up, and power cut meanwhile would lose what is still on its way. The machine ends with the
/// host's process anyway, and a broken stream ends the wait at once.
const ACKNOWLEDGE: Duration = Duration::from_secs(10 * 60);

/// What a polled descriptor is.
#[derive(Clone, Copy)]
enum Source {
    Children,
    Stream,
    Start(usize),
    Input(usize),
    Output(usize, usize),
}

/// Runs the pod to its end: on return the host knows all it can, and power can be cut.
///
/// # Errors
/// A stream that broke before the end of the pod. The containers have been stopped and the disks flushed.
pub(crate) fn run(
    engine: &mut Engine<'_>,
    children: &ChildSignal,
    flush_disks: impl Fn(),
) -> Result<(), StreamError> {
    let mut broken = None;
    let mut acknowledge_by = None;
    engine.advance(now());
    loop {
        if engine.ending == Ending::Flush {
            flush_disks();
            let record = engine.record();
            engine.stream.push(Kind::Final, 0, &crate::final_payload(record));
            engine.ending = Ending::Told;
        }
        if broken.is_none()
            && let Err(error) = engine.stream.flush()
        {
            broken = Some(error);
            engine.stop(None, "the stdio stream is broken", now());
        }
        match (engine.ending, broken) {
            (Ending::Acknowledged, _) => return Ok(()),
            (Ending::Told, Some(error)) => return Err(error),
            (_, error) => broken = error,
        }
        if engine.ending == Ending::Told && !engine.stream.has_output() {
            let by = *acknowledge_by.get_or_insert_with(|| now() + ACKNOWLEDGE);
            if by <= now() {
                return Ok(());
            }
        }
        if broken.is_some() {
            engine.stream.throw_away();
        }
        let deadline = [engine.deadline(), acknowledge_by].into_iter().flatten().min();
        for source in wait(engine, children, broken.is_none(), deadline) {
            if let Err(error) = handle(engine, children, source) {
                engine.stop(None, "the stdio stream is broken", now());
                broken.get_or_insert(error);
            }
        }
        engine.settle(now());
        engine.advance(now());
    }
}

fn handle(engine: &mut Engine<'_>, children: &ChildSignal, source: Source) -> Result<(), StreamError> {
    match source {
        Source::Children => {
            children.clear();
            engine.reap();
        }
        Source::Stream => {
            for frame in engine.stream.receive()? {
                engine.obey(&frame, now())?;
            }
        }
        Source::Start(index) => engine.poll_start(index),
        Source::Input(index) => engine.feed(index),
        Source::Output(index, which) => engine.take_output(index, which),
    }
    Ok(())
}

/// Waits for the next events. Containers' output is left alone while the host does not take what it has.
fn wait(
    engine: &Engine<'_>,
    children: &ChildSignal,
    talking: bool,
    deadline: Option<Duration>,
) -> Vec<Source> {
    let mut sources = vec![Source::Children];
    let mut fds = vec![PollFd::new(children, PollFlags::IN)];
    if talking {
        let write = if engine.stream.has_output() { PollFlags::OUT } else { PollFlags::empty() };
        sources.push(Source::Stream);
        fds.push(PollFd::new(&engine.stream, PollFlags::IN | write));
    }
    for (index, container) in engine.containers.iter().enumerate() {
        let Some(process) = &container.process else { continue };
        if let Some(pipe) = &process.starting {
            sources.push(Source::Start(index));
            fds.push(PollFd::new(pipe, PollFlags::IN));
        }
        if let Some(stdin) = process.stdin.as_ref().filter(|_| container.input.is_waiting()) {
            sources.push(Source::Input(index));
            fds.push(PollFd::new(stdin, PollFlags::OUT));
        }
        for (which, output) in process.outputs.iter().enumerate() {
            if let Some(output) = output.as_ref().filter(|_| engine.stream.has_room()) {
                sources.push(Source::Output(index, which));
                fds.push(PollFd::new(output, PollFlags::IN));
            }
        }
    }
    let timeout = deadline.map(|at| at.saturating_sub(now()));
    let timeout = timeout.and_then(|left| Timespec::try_from(left).ok());
    match poll(&mut fds, timeout.as_ref()) {
        Ok(_) => {}
        Err(Errno::INTR) => return Vec::new(),
        // Out of memory for the call itself: the events are still there at the next.
        Err(_) => return Vec::new(),
    }
    let ready = fds.iter().map(|fd| !fd.revents().is_empty());
    sources.into_iter().zip(ready).filter(|(_, ready)| *ready).map(|(source, _)| source).collect()
}

/// Time since boot.
fn now() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::try_from(time).unwrap_or_default()
}
