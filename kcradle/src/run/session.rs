//! A running pod as seen from the host: one loop over all [`Event`]s, from the boot to the exit record.
//!
//! Runs in a thread of its own: the main thread is the virtual machine's. It owns the user's terminal and
//! `state.json`.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::mpsc::{Receiver, Sender};

use spec::ExitRecord;
use spec::control::{Reply, Verb};
use vmm::devices::net::NetConfig;
use vmm::{VmExit, VmHandle};

use pod::{StateFile, Status, state};

use super::console::Console;
use super::event::Event;
use super::frames::Frame;
use super::grow::Growth;
use super::links::{Links, Sockets};
use super::outcome::Outcome;
use super::signals::{Arrival, is_termination};
use super::terminal::{self, RawTerminal};
use super::throttles::Throttles;

/// What a session works with.
pub(crate) struct Session {
    pub(crate) machine: VmHandle,
    pub(crate) events: Receiver<Event>,
    pub(crate) frames: Sender<Frame>,
    pub(crate) console: Console,
    /// How the pod stands, where that is kept.
    pub(crate) state: Option<StateFile>,
    /// The limits of the disks.
    pub(crate) throttles: Throttles,
    /// The disks of volumes, which may become larger.
    pub(crate) growth: Growth,
    /// The interfaces, which may come and go.
    pub(crate) links: Links,
    /// The user's terminal, raw; put back when the session ends.
    pub(crate) terminal: Option<RawTerminal>,
    /// The container whose terminal follows the size of the user's.
    pub(crate) tty: Option<u8>,
    /// The pid of each container's process in the guest, while it runs.
    pub(crate) pids: Vec<Option<u32>>,
    /// No container has or will have a process.
    pub(crate) held: bool,
    /// A signal that asks for the end is for the pod, not for its first container.
    pub(crate) stops_on_signal: bool,
}

impl Sockets for VmHandle {
    fn plug(&self, index: usize, config: NetConfig) -> io::Result<()> {
        self.plug_net(index, config)
    }

    fn unplug(&self, index: usize) -> io::Result<()> {
        self.unplug_net(index)
    }
}

/// What the loop learns.
#[derive(Default)]
struct Progress {
    started: bool,
    record: Option<ExitRecord>,
    /// The record is on the disk, with whether the pod was told to stop.
    kept: Option<bool>,
    machine: Option<Result<VmExit, String>>,
    signal: Option<u32>,
    stopped: bool,
    breach: Option<String>,
    output_ended: bool,
}

impl Session {
    /// Handles events until the machine has ended and its output is written, and keeps how it ended.
    pub(crate) fn run(mut self) -> Outcome {
        let mut progress = Progress::default();
        self.send_size();
        while !(progress.output_ended && progress.machine.is_some()) {
            let Ok(event) = self.events.recv() else { break };
            if !self.handle(event, &mut progress) {
                break;
            }
        }
        let outcome = Outcome {
            record: progress.record,
            machine: progress.machine.unwrap_or_else(|| Err("its threads have gone".to_owned())),
            signal: progress.signal,
            stopped: progress.stopped,
            breach: progress.breach,
            last_lines: self.console.last_lines(),
        };
        let stopped = outcome.stopped || outcome.record.as_ref().is_some_and(|record| record.stopped);
        // Most pods have said it all in their record, which is on the disk.
        if progress.kept != Some(stopped) {
            self.keep(&outcome.record, outcome.code(), outcome.error(), stopped);
        }
        drop(self.terminal);
        outcome
    }

    /// Handles an event; false where the session is to end at once.
    fn handle(&mut self, event: Event, progress: &mut Progress) -> bool {
        match event {
            Event::Started { container, pid } => {
                progress.started = true;
                self.pids[container] = Some(pid);
            }
            Event::Exited { container } => {
                self.pids[container] = None;
                if self.pids.iter().all(Option::is_none) {
                    self.throttles.pardon_once();
                }
            }
            Event::Log(line) => self.console.line(&line),
            // Each costs a write to the disk and an answer: a guest that repeats itself gets neither.
            Event::Grown { disk, why } => self.growth.done(disk, why),
            Event::Linked { slot, why } => self.links.done(slot, why, &self.machine),
            Event::Final(_) if progress.record.is_some() => {}
            Event::Final(record) => {
                // The guest powers off once this is on the disk.
                let stopped = progress.stopped || record.stopped;
                if self.keep(&Some(record.clone()), record.code, None, stopped) {
                    progress.kept = Some(stopped);
                }
                progress.record = Some(record);
                self.send(Frame::final_ack());
            }
            Event::OutputEnded(breach) => {
                progress.output_ended = true;
                if breach.is_some() {
                    progress.breach = breach;
                    self.machine.kill();
                }
            }
            Event::OutputClosed => {
                progress.stopped = true;
                self.throttles.pardon();
                self.send(Frame::stop(None));
            }
            Event::Signal(Arrival::Resized) => self.send_size(),
            Event::Signal(Arrival::Forward { number, .. }) => return self.forward(number, progress),
            Event::Control(verb, descriptors, reply) => {
                // The session outlives the request, or the asker has gone.
                let _ = reply.send(self.answer(verb, descriptors, progress));
            }
            Event::MachineEnded(end) => progress.machine = Some(end),
        }
        true
    }

    /// A signal for the pod. Before there is a process to get it, one that asks for the end ends the machine, as the
    /// second does where there never is one; after the machine's end it ends the wait for whoever does not read the rest
    /// of the output.
    fn forward(&mut self, number: u32, progress: &mut Progress) -> bool {
        if progress.machine.is_some() {
            return !is_termination(number);
        }
        if !is_termination(number) {
            self.send(Frame::signal(0, number));
            return true;
        }
        self.throttles.pardon();
        let waited_for = if self.held { !progress.stopped } else { progress.started };
        progress.stopped = true;
        if !waited_for {
            progress.signal = Some(number);
            self.machine.kill();
        } else if self.stops_on_signal {
            self.send(Frame::stop(None));
        } else {
            self.send(Frame::signal(0, number));
        }
        true
    }

    fn answer(&mut self, verb: Verb, descriptors: Vec<OwnedFd>, progress: &mut Progress) -> Reply {
        match verb {
            Verb::Stop { grace_seconds } => {
                progress.stopped = true;
                self.throttles.pardon();
                self.send(Frame::stop(grace_seconds));
            }
            Verb::Kill => {
                progress.stopped = true;
                self.machine.kill();
            }
            Verb::Signal { number } if (1..=64).contains(&number) => self.send(Frame::signal(0, number)),
            Verb::Signal { number } => return Reply::Error(format!("{number} is no signal")),
            Verb::Grow { volume } => {
                let machine = &self.machine;
                let (reply, frame) = self.growth.answer(&volume, |disk| machine.measure_disk(disk));
                frame.into_iter().for_each(|frame| self.send(frame));
                return reply;
            }
            Verb::Throttle { disk, changes } if self.throttles.set(&disk, changes) => {}
            Verb::Throttle { disk, .. } => return Reply::Error(format!("it has no disk {disk}")),
            Verb::Connect { interface, nameservers } => {
                let (reply, frame) = self.links.connect(interface, nameservers, descriptors, &self.machine);
                frame.into_iter().for_each(|frame| self.send(frame));
                return reply;
            }
            Verb::Disconnect { interface } => {
                let (reply, frame) = self.links.disconnect(&interface);
                frame.into_iter().for_each(|frame| self.send(frame));
                return reply;
            }
            Verb::Settle { interface, give_up } => {
                return self.links.settle(&interface, give_up, &self.machine);
            }
            Verb::Limits => return Reply::Limits(self.throttles.limits()),
            Verb::State => {
                return Reply::State { pid: std::process::id(), containers: self.pids.clone() };
            }
        }
        Reply::Ok
    }

    fn send_size(&self) {
        if let (Some(container), Some((rows, columns))) = (self.tty, terminal::size()) {
            self.send(Frame::resize(container, rows, columns));
        }
    }

    fn send(&self, frame: Frame) {
        // Where the guest takes no frames any more, the machine's end is on its way.
        let _ = self.frames.send(frame);
    }

    /// Writes down how the pod ended; answers whether nothing of it is left to be written.
    fn keep(&mut self, record: &Option<ExitRecord>, code: u8, error: Option<String>, stopped: bool) -> bool {
        let status = Status::Exited { finished: state::now(), code, record: record.clone(), error };
        let Some(state) = &mut self.state else { return true };
        let kept = state.end(status, stopped);
        if let Err(error) = &kept {
            eprintln!("kcradle: cannot write how the pod ended: {error}");
        }
        kept.is_ok()
    }
}
