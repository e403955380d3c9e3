//! The pod at run time: containers, their rules and what the host is told of them.
//!
//! Shared by all tasks of [`crate::runtime`]. Knows no waiting but for the host: all calls are quick; a start is
//! finished by the new process itself.

use crate::attend::Birth;
use crate::container::cgroup::CgroupError;
use crate::container::failure::Failure;
use crate::container::process::{Place, Process};
use crate::container::terminal;
use crate::disks::Disks;
use crate::host::Host;
use crate::latch::Latch;
use crate::lifecycle::{Action, Lifecycle, Refused};
use crate::member::{Member, Running};
use crate::reaper::Reaper;
use crate::runtime::now;
use crate::stream::{Frame, Stream, StreamError};
use crate::{chain, stage};
use bytes::Bytes;
use rustix::process::WaitStatus;
use spec::frame::{Kind, MAX_PAYLOAD};
use spec::launch::NetworkSpec;
use spec::{ContainerExit, ExitRecord, LaunchSpec, Stage};
use std::cell::{Cell, RefCell};
use std::time::Duration;
use tokio::sync::{Notify, mpsc};
use vdocker::events::Events;
use vdocker::{Status, log};

/// Signals that are held for a process that is being set up, at most.
const MAX_HELD: usize = 64;

/// How a run of a container ended.
pub(crate) struct End {
    /// The process's status.
    pub(crate) status: Option<WaitStatus>,
    /// Why its program could not be executed.
    pub(crate) failure: Option<Failure>,
}

/// The pod at run time.
pub(crate) struct Pod {
    pub(crate) spec: &'static LaunchSpec,
    pub(crate) members: Vec<Member>,
    pub(crate) host: Host,
    pub(crate) reaper: Reaper,
    pub(crate) events: Events,
    pub(crate) disks: &'static Disks,
    /// One read of any output; empty between two.
    pub(crate) buffer: RefCell<Vec<u8>>,
    /// [`Self::deadline`] may have changed.
    pub(crate) rescheduled: Notify,
    /// The network as it is now.
    pub(crate) network: RefCell<NetworkSpec>,
    /// Held while an interface comes or goes.
    pub(crate) plugging: tokio::sync::Mutex<()>,
    /// All containers have ended for good.
    pub(crate) finished: Latch,
    /// The host has the exit record on its disk.
    pub(crate) acknowledged: Latch,
    lifecycle: RefCell<Lifecycle<'static>>,
    births: mpsc::UnboundedSender<Birth>,
    started_any: Cell<bool>,
}

impl Pod {
    /// A pod of which nothing has started. Each new process is sent to `births`.
    ///
    /// # Errors
    /// A control group that cannot be made.
    pub(crate) fn new(
        spec: &'static LaunchSpec,
        disks: &'static Disks,
        stream: Stream,
        births: mpsc::UnboundedSender<Birth>,
    ) -> Result<Self, CgroupError> {
        let lifecycle = if spec.hold { Lifecycle::held } else { Lifecycle::new };
        let members = (0..spec.containers.len()).map(|index| Member::new(spec, index, disks));
        Ok(Self {
            spec,
            members: members.collect::<Result<_, CgroupError>>()?,
            host: Host::new(stream),
            reaper: Reaper::default(),
            events: Events::default(),
            disks,
            buffer: RefCell::new(vec![0; MAX_PAYLOAD]),
            rescheduled: Notify::new(),
            network: RefCell::new(spec.network.clone()),
            plugging: tokio::sync::Mutex::new(()),
            finished: Latch::default(),
            acknowledged: Latch::default(),
            lifecycle: RefCell::new(lifecycle(&spec.containers)),
            births,
            started_any: Cell::new(false),
        })
    }

    /// When [`Self::advance`] is due without any event, as time since boot.
    pub(crate) fn deadline(&self) -> Option<Duration> {
        self.lifecycle.borrow().deadline()
    }

    /// Does what is due now.
    pub(crate) fn advance(&self) {
        let actions = self.lifecycle.borrow_mut().advance(now());
        self.act(actions);
    }

    /// Stops all containers, as the host's [`Kind::Stop`] does.
    pub(crate) fn stop(&self, grace: Option<Duration>, reason: &str) {
        let actions = self.lifecycle.borrow_mut().stop(grace, reason, now());
        self.act(actions);
    }

    /// Stops one container by hand with its own signal or another, and where `again`, starts it again. Does not
    /// wait for either. `grace` as in [`vdocker::engine::StopOptions`].
    ///
    /// # Errors
    /// Where there is nothing to stop.
    pub(crate) fn stop_one(
        &self,
        index: usize,
        signal: Option<u32>,
        grace: Option<Option<Duration>>,
        again: bool,
    ) -> Result<(), Refused> {
        let actions = self.lifecycle.borrow_mut().stop_one(index, grace, again, now())?;
        if actions.contains(&Action::Signal(index)) {
            self.members[index].stop_signal.set(signal);
        }
        self.act(actions);
        Ok(())
    }

    /// Starts one container by hand, and does not wait for it.
    ///
    /// # Errors
    /// Where it cannot be started.
    pub(crate) fn start_one(&self, index: usize) -> Result<(), Refused> {
        let actions = self.lifecycle.borrow_mut().start_one(index, now())?;
        self.act(actions);
        Ok(())
    }

    /// Sends a container's first process a signal by hand. As Docker does, one that is to end it keeps its rules from
    /// starting it again, and wakes it where it is frozen.
    pub(crate) fn kill_one(&self, index: usize, number: u32) {
        let member = &self.members[index];
        self.signal(member, number);
        if number == libc::SIGKILL.unsigned_abs() || number == member.spec.process.stop_signal {
            self.lifecycle.borrow_mut().killed_by_hand(index);
            member.thaw();
        }
    }

    /// Obeys a frame from the host.
    ///
    /// # Errors
    /// [`StreamError::Window`].
    pub(crate) fn obey(&self, frame: &Frame) -> Result<(), StreamError> {
        let payload = frame.payload.as_slice();
        match frame.kind {
            Kind::Stop => {
                let grace = payload.try_into().ok().map(|seconds| u32::from_le_bytes(seconds).into());
                self.stop(grace.map(Duration::from_secs), "stopped by the host");
            }
            // No process would get it.
            Kind::Signal if self.spec.hold => self.stop(None, "ended by a signal"),
            Kind::FinalAck if self.finished.is_set() => self.acknowledged.set(),
            _ => {
                let Some(member) = self.members.get(frame.container) else { return Ok(()) };
                self.obey_for(member, frame.kind, payload)?;
                let done = self.lifecycle.borrow().is_done(frame.container);
                if done || !member.spec.process.stdin {
                    member.input.discard();
                    self.report_taken(frame.container);
                }
            }
        }
        Ok(())
    }

    fn obey_for(&self, member: &Member, kind: Kind, payload: &[u8]) -> Result<(), StreamError> {
        match kind {
            Kind::Stdin => member.input.push(payload).map_err(|_| StreamError::Window)?,
            // A terminal's input has no end, and others may write to it yet.
            Kind::StdinEof if !member.spec.process.tty => member.input.end(),
            Kind::Resize => {
                if let Some(size) = terminal::size_of_payload(payload) {
                    member.resize(size);
                }
            }
            Kind::Signal => {
                if let Ok(number) = payload.try_into().map(u32::from_le_bytes)
                    && (1..=64).contains(&number)
                {
                    self.signal(member, number);
                }
            }
            // Kinds that only the guest sends, or that need no container.
            _ => {}
        }
        Ok(())
    }

    /// Tells the host what the container's process has taken of its input.
    pub(crate) fn report_taken(&self, index: usize) {
        if let Some(taken) = self.members[index].input.take_taken() {
            self.host.push(Kind::StdinTaken, index, &taken.to_le_bytes());
        }
    }

    /// Waits until there is room for output of the container.
    pub(crate) async fn room(&self, index: usize) {
        self.host.room().await;
        self.members[index].model.log.room().await;
    }

    /// Passes on output of the container's process (0 standard output or the terminal, 1 standard error).
    pub(crate) fn deliver(&self, index: usize, which: usize, bytes: &[u8]) {
        let (kind, stream) = match which {
            0 => (Kind::Stdout, log::Stream::Stdout),
            _ => (Kind::Stderr, log::Stream::Stderr),
        };
        if !self.spec.quiet {
            self.host.push(kind, index, bytes);
        }
        let member = &self.members[index];
        if !member.wrote.replace(true) {
            self.disks.make_logs();
        }
        member.model.log.push(stream, Bytes::copy_from_slice(bytes));
    }

    /// The container's new process has executed its program.
    pub(crate) fn executed(&self, index: usize) {
        let (pid, held) = {
            let mut running = self.members[index].running.borrow_mut();
            let Some(running) = running.as_mut() else { return };
            (running.pid, running.held.take().unwrap_or_default())
        };
        let number = pid.as_raw_nonzero().get().unsigned_abs();
        self.host.push(Kind::Started, index, &number.to_le_bytes());
        let restarts = self.lifecycle.borrow().restarts(index);
        self.members[index].has_started(number, restarts, &self.events);
        for signal in held {
            self.reaper.signal(pid, signal);
        }
    }

    /// The container's process has ended and all its output is taken.
    pub(crate) fn ended(&self, index: usize, end: End) {
        let member = &self.members[index];
        member.running.take();
        member.thaw();
        if member.wrote.get() {
            member.model.log.end_run();
        }
        let oom_killed = member.cgroup.take_oom_killed();
        let exit = match end.failure {
            Some(Failure { code, message }) => {
                ContainerExit { code, error: Some(message), ..ContainerExit::default() }
            }
            None => ContainerExit { oom_killed, ..end.status.map_or_else(|| exit_by(None, None), exit_of) },
        };
        self.report(index, exit);
    }

    /// The pod's exit record.
    pub(crate) fn record(&self) -> ExitRecord {
        let never = |member: &Member| ContainerExit {
            name: member.spec.name.clone(),
            code: if self.spec.hold { 0 } else { 125 },
            error: (!self.spec.hold).then(|| "never started: the pod ended before".to_owned()),
            ..ContainerExit::default()
        };
        let lifecycle = self.lifecycle.borrow();
        let containers = self.members.iter();
        ExitRecord {
            code: lifecycle.code(),
            reason: lifecycle.reason().map(str::to_owned),
            stopped: lifecycle.is_stopped(),
            containers: containers
                .map(|member| member.last.borrow().clone().unwrap_or_else(|| never(member)))
                .collect(),
        }
    }

    fn act(&self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Start(index) => self.start(index),
                Action::Signal(index) => {
                    let member = &self.members[index];
                    self.signal(member, member.stop_signal.take().unwrap_or(member.spec.process.stop_signal));
                    member.thaw();
                }
                Action::Kill(index) => self.kill(&self.members[index]),
                Action::Finish => {
                    stage::reached(Stage::Exited);
                    for member in &self.members {
                        member.model.state.send_modify(|state| state.removed = true);
                    }
                    self.finished.set();
                }
            }
        }
        for (index, member) in self.members.iter().enumerate() {
            let goes_on = self.lifecycle.borrow().is_delayed(index) || member.running.borrow().is_some();
            member.model.state.send_if_modified(|state| {
                // A stop cancels a restart that was due.
                let cancelled = state.status == Status::Restarting && !goes_on;
                if cancelled {
                    state.status = state.at_rest();
                }
                cancelled
            });
        }
        self.rescheduled.notify_one();
    }

    fn start(&self, index: usize) {
        let member = &self.members[index];
        let place =
            Place { tree: &self.disks.trees[index], cgroup: &member.cgroup, volumes: &self.disks.volumes };
        let first = !self.started_any.replace(true);
        member.model.log.begin_run();
        match Process::start(member.spec, place, member.size.get(), first) {
            Ok((mut process, devpts)) => {
                let exit = self.reaper.expect(process.pid);
                let (pid, terminal) = (process.pid, process.terminal.take());
                member.running.replace(Some(Running { pid, held: Some(Vec::new()), terminal, devpts }));
                // The other end lives as long as the pod.
                let _received = self.births.send(Birth { index, process, exit });
            }
            Err(error) => {
                let cause = format!("cannot make a process: {}", chain(&error));
                self.report(
                    index,
                    ContainerExit { code: 125, error: Some(cause), ..ContainerExit::default() },
                );
            }
        }
    }

    /// Tells host and rules of an end.
    fn report(&self, index: usize, exit: ContainerExit) {
        let member = &self.members[index];
        let name = member.spec.name.clone();
        let restarts = self.lifecycle.borrow().restarts(index);
        let exit = ContainerExit { name, restarts, ..exit };
        let code = exit.code;
        let json = serde_json::to_vec(&exit).unwrap_or_default();
        self.host.push(Kind::Exited, index, &json);
        let actions = self.lifecycle.borrow_mut().ended(index, code, now());
        member.has_ended(&exit, self.lifecycle.borrow().is_delayed(index), &self.events);
        member.last.replace(Some(exit));
        if self.lifecycle.borrow().is_done(index) {
            member.input.discard();
            self.report_taken(index);
        }
        self.act(actions);
    }

    fn signal(&self, member: &Member, number: u32) {
        let mut running = member.running.borrow_mut();
        let Some(running) = running.as_mut() else { return };
        match &mut running.held {
            Some(held) if number != libc::SIGKILL.unsigned_abs() => {
                if held.len() < MAX_HELD {
                    held.push(number);
                }
            }
            _ => self.reaper.signal(running.pid, number),
        }
    }

    fn kill(&self, member: &Member) {
        self.signal(member, libc::SIGKILL.unsigned_abs());
        member.cgroup.kill();
        member.thaw();
    }
}

/// The exit code and signal of a process that ran.
pub(crate) fn exit_of(status: WaitStatus) -> ContainerExit {
    exit_by(status.exit_status(), status.terminating_signal())
}

fn exit_by(code: Option<i32>, signal: Option<i32>) -> ContainerExit {
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
            let exit = exit_by(code, signal);
            (exit.code, exit.signal)
        };
        assert_eq!(of(Some(0), None), (0, None));
        assert_eq!(of(Some(255), None), (255, None));
        assert_eq!(of(None, Some(9)), (137, Some(9)));
        assert_eq!(of(None, Some(64)), (192, Some(64)));
    }
}
