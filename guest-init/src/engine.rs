//! The pod at run time: containers, their rules and the stream to the host, driven by events.
//!
//! Knows no waiting: [`crate::event_loop`] waits and calls in. All calls are quick; a start is finished by
//! the new process itself.

use crate::container::cgroup::{Cgroup, CgroupError};
use crate::container::process::{Output, Place, Process};
use crate::container::terminal;
use crate::disks::Disks;
use crate::input::Input;
use crate::lifecycle::{Action, Lifecycle};
use crate::stream::{Frame, Stream, StreamError};
use crate::{chain, signals, stage};
use rustix::process::{WaitOptions, WaitStatus};
use rustix::termios::Winsize;
use spec::frame::{Kind, MAX_PAYLOAD};
use spec::{ContainerExit, ContainerSpec, ExitRecord, LaunchSpec, Stage};
use std::time::Duration;

/// How far the pod's end has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Containers run, or will.
    No,
    /// All have ended; disks are to be flushed.
    Flush,
    /// The exit record is on its way to the host.
    Told,
    /// The host has it on its disk.
    Acknowledged,
}

/// A container at run time.
pub(crate) struct Container<'s> {
    pub(crate) spec: &'s ContainerSpec,
    pub(crate) process: Option<Process>,
    pub(crate) input: Input,
    cgroup: Cgroup,
    size: Winsize,
    /// Signals that came while the process was being set up, when it would have ignored them.
    held: Vec<u32>,
    last: Option<ContainerExit>,
}

/// The pod at run time.
pub(crate) struct Engine<'s> {
    pub(crate) containers: Vec<Container<'s>>,
    pub(crate) stream: Stream,
    pub(crate) ending: Ending,
    lifecycle: Lifecycle<'s>,
    disks: &'s Disks,
    started_any: bool,
    buffer: Vec<u8>,
}

impl<'s> Engine<'s> {
    /// A pod of which nothing has started.
    ///
    /// # Errors
    /// A control group that cannot be made.
    pub(crate) fn new(spec: &'s LaunchSpec, disks: &'s Disks, stream: Stream) -> Result<Self, CgroupError> {
        let containers = spec.containers.iter().map(|spec| {
            Ok(Container {
                spec,
                process: None,
                input: Input::default(),
                cgroup: Cgroup::create(&spec.name, &spec.limits)?,
                size: Winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 },
                held: Vec::new(),
                last: None,
            })
        });
        Ok(Self {
            containers: containers.collect::<Result<_, CgroupError>>()?,
            stream,
            ending: Ending::No,
            lifecycle: Lifecycle::new(&spec.containers),
            disks,
            started_any: false,
            buffer: vec![0; MAX_PAYLOAD],
        })
    }

    /// When [`Self::advance`] is due without any event, as time since boot.
    pub(crate) fn deadline(&self) -> Option<Duration> {
        self.lifecycle.deadline()
    }

    /// Does what is due at that time.
    pub(crate) fn advance(&mut self, now: Duration) {
        let actions = self.lifecycle.advance(now);
        self.act(actions, now);
    }

    /// Stops all containers, as the host's [`Kind::Stop`] does.
    pub(crate) fn stop(&mut self, grace: Option<Duration>, reason: &str, now: Duration) {
        let actions = self.lifecycle.stop(grace, reason, now);
        self.act(actions, now);
    }

    /// Obeys a frame from the host.
    ///
    /// # Errors
    /// [`StreamError::Window`].
    pub(crate) fn obey(&mut self, frame: &Frame, now: Duration) -> Result<(), StreamError> {
        let payload = frame.payload.as_slice();
        match frame.kind {
            Kind::Stop => {
                let grace = payload.try_into().ok().map(|seconds| u32::from_le_bytes(seconds).into());
                self.stop(grace.map(Duration::from_secs), "stopped by the host", now);
            }
            Kind::FinalAck if self.ending == Ending::Told => self.ending = Ending::Acknowledged,
            _ => {
                let done = self.lifecycle.is_done(frame.container);
                let Some(container) = self.containers.get_mut(frame.container) else { return Ok(()) };
                container.obey(frame.kind, payload)?;
                if done || !container.spec.process.stdin {
                    container.input.discard();
                }
                self.feed(frame.container);
            }
        }
        Ok(())
    }

    /// Gives the container's process the input it takes now, and reports it to the host.
    pub(crate) fn feed(&mut self, index: usize) {
        let Some(container) = self.containers.get_mut(index) else { return };
        if let Some(process) = &mut container.process {
            container.input.feed(&mut process.stdin, process.terminal.is_some());
            if process.stdin.is_none() && process.status.is_none() {
                container.input.discard();
            }
        }
        if let Some(taken) = container.input.take_taken() {
            self.stream.push(Kind::StdinTaken, index, &taken.to_le_bytes());
        }
    }

    /// Takes output of the container's process to the stream, one read.
    pub(crate) fn take_output(&mut self, index: usize, which: usize) {
        let Some(process) = self.containers.get_mut(index).and_then(|c| c.process.as_mut()) else { return };
        if let Output::Bytes(count) = process.read_output(which, &mut self.buffer) {
            let kind = if which == 0 { Kind::Stdout } else { Kind::Stderr };
            self.stream.push(kind, index, &self.buffer[..count]);
        }
    }

    /// Looks whether the container's new process has executed its program.
    pub(crate) fn poll_start(&mut self, index: usize) {
        let Some(container) = self.containers.get_mut(index) else { return };
        let Some(process) = &mut container.process else { return };
        if process.poll_start() {
            let pid = process.pid.as_raw_nonzero().get().unsigned_abs();
            self.stream.push(Kind::Started, index, &pid.to_le_bytes());
            for signal in container.held.drain(..) {
                signals::send(process.pid, signal);
            }
        }
    }

    /// Reaps every child that has ended: the containers' processes and orphans, which have no other parent.
    pub(crate) fn reap(&mut self) {
        while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
            let owner = self.containers.iter_mut().filter_map(|c| c.process.as_mut()).find(|p| p.pid == pid);
            if let Some(process) = owner {
                process.status = Some(status);
            }
        }
    }

    /// Takes the last output of processes that have ended, and then their ends.
    pub(crate) fn settle(&mut self, now: Duration) {
        for index in 0..self.containers.len() {
            let ended =
                |container: &Container<'_>| container.process.as_ref().is_some_and(|p| p.status.is_some());
            if !ended(&self.containers[index]) {
                continue;
            }
            self.poll_start(index);
            for which in 0..2 {
                while self.stream.has_room()
                    && self.containers[index].process.as_ref().is_some_and(|p| p.outputs[which].is_some())
                {
                    self.take_output(index, which);
                }
            }
            if self.containers[index].process.as_ref().is_some_and(Process::is_over) {
                self.ended(index, now);
            }
        }
    }

    /// The pod's exit record.
    pub(crate) fn record(&self) -> ExitRecord {
        let never = |container: &Container<'_>| ContainerExit {
            name: container.spec.name.clone(),
            code: 125,
            error: Some("never started: the pod ended before".to_owned()),
            ..ContainerExit::default()
        };
        ExitRecord {
            code: self.lifecycle.code(),
            reason: self.lifecycle.reason().map(str::to_owned),
            containers: self.containers.iter().map(|c| c.last.clone().unwrap_or_else(|| never(c))).collect(),
        }
    }

    fn act(&mut self, actions: Vec<Action>, now: Duration) {
        for action in actions {
            match action {
                Action::Start(index) => self.start(index, now),
                Action::Signal(index) => {
                    let signal = self.containers[index].spec.process.stop_signal;
                    self.containers[index].signal(signal);
                }
                Action::Kill(index) => self.containers[index].kill(),
                Action::Finish => {
                    stage::reached(Stage::Exited);
                    self.ending = Ending::Flush;
                }
            }
        }
    }

    fn start(&mut self, index: usize, now: Duration) {
        let container = &mut self.containers[index];
        let place =
            Place { tree: &self.disks.trees[index], cgroup: &container.cgroup, volumes: &self.disks.volumes };
        let first = !std::mem::replace(&mut self.started_any, true);
        match Process::start(container.spec, place, container.size, first) {
            Ok(process) => {
                container.process = Some(process);
                self.feed(index);
            }
            Err(error) => {
                let cause = format!("cannot make a process: {}", chain(&error));
                self.report(
                    index,
                    ContainerExit { code: 125, error: Some(cause), ..ContainerExit::default() },
                    now,
                );
            }
        }
    }

    fn ended(&mut self, index: usize, now: Duration) {
        let container = &mut self.containers[index];
        let Some(process) = container.process.take() else { return };
        container.held.clear();
        let oom_killed = container.cgroup.take_oom_killed();
        let code = process.status.and_then(WaitStatus::exit_status);
        let signal = process.status.and_then(WaitStatus::terminating_signal);
        let mut exit = ContainerExit { oom_killed, ..exit_of(code, signal) };
        if let Some(failure) = process.failure {
            exit = ContainerExit {
                code: failure.code,
                error: Some(failure.message),
                ..ContainerExit::default()
            };
        }
        self.report(index, exit, now);
    }

    /// Tells host and rules of an end.
    fn report(&mut self, index: usize, exit: ContainerExit, now: Duration) {
        let container = &mut self.containers[index];
        let name = container.spec.name.clone();
        let exit = ContainerExit { name, restarts: self.lifecycle.restarts(index), ..exit };
        let code = exit.code;
        let json = serde_json::to_vec(&exit).unwrap_or_default();
        self.stream.push(Kind::Exited, index, &json);
        container.last = Some(exit);
        let actions = self.lifecycle.ended(index, code, now);
        if self.lifecycle.is_done(index) {
            self.containers[index].input.discard();
            self.feed(index);
        }
        self.act(actions, now);
    }
}

impl Container<'_> {
    fn obey(&mut self, kind: Kind, payload: &[u8]) -> Result<(), StreamError> {
        match kind {
            Kind::Stdin => self.input.push(payload).map_err(|_| StreamError::Window)?,
            Kind::StdinEof => self.input.end(),
            Kind::Resize => {
                if let Some(size) = terminal::size_of_payload(payload) {
                    self.size = size;
                    if let Some(terminal) = self.process.as_ref().and_then(|p| p.terminal.as_ref()) {
                        // A terminal whose other side is closed has no use for a size.
                        let _closed = rustix::termios::tcsetwinsize(terminal, size);
                    }
                }
            }
            Kind::Signal => {
                if let Ok(number) = payload.try_into().map(u32::from_le_bytes)
                    && (1..=64).contains(&number)
                {
                    self.signal(number);
                }
            }
            // Kinds that only the guest sends, or that need no container.
            _ => {}
        }
        Ok(())
    }

    fn signal(&mut self, number: u32) {
        let Some(process) = self.process.as_ref().filter(|process| process.status.is_none()) else { return };
        if process.starting.is_none() || number == libc::SIGKILL.unsigned_abs() {
            signals::send(process.pid, number);
        } else if self.held.len() < 64 {
            self.held.push(number);
        }
    }

    fn kill(&mut self) {
        self.signal(libc::SIGKILL.unsigned_abs());
        self.cgroup.kill();
    }
}

/// The exit code and signal of a process that ran.
fn exit_of(code: Option<i32>, signal: Option<i32>) -> ContainerExit {
    let small = |number: i32| u8::try_from(number & 0xff).unwrap_or(u8::MAX);
    let (code, signal) = (code.map(small), signal.map(small));
    let code = code.or(signal.map(|signal| signal.saturating_add(128))).unwrap_or(u8::MAX);
    ContainerExit { code, signal, ..ContainerExit::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_the_shells() {
        let of = |code, signal| {
            let exit = exit_of(code, signal);
            (exit.code, exit.signal)
        };
        assert_eq!(of(Some(0), None), (0, None));
        assert_eq!(of(Some(255), None), (255, None));
        assert_eq!(of(None, Some(9)), (137, Some(9)));
        assert_eq!(of(None, Some(64)), (192, Some(64)));
    }
}
