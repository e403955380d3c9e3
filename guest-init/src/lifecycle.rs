//! Which container starts, stops or starts again when: the pod's rules as a pure state machine.
//!
//! Fed by [`crate::engine`] with what happened and the time since boot; answers with what to do. Rules:
//! containers with `before: "volumes"` run one after another to their end, then all others side by side; the
//! pod ends when all have ended with no restart due, or a critical one has.

use spec::ContainerSpec;
use std::time::Duration;

/// The delay before a restart where the specification says 0.
const DEFAULT_RESTART_DELAY: Duration = Duration::from_millis(300);

/// The value of `before` that makes the pod wait for a container's end.
pub(crate) const BEFORE_VOLUMES: &str = "volumes";

/// What the engine is to do, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Start the container's process.
    Start(usize),
    /// Send the container its stop signal.
    Signal(usize),
    /// Kill the container's process.
    Kill(usize),
    /// All has ended: flush and power off.
    Finish,
}

/// Why a container is not stopped or started by hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// It is so already.
    Already,
    /// It starts after those that go first.
    Waits,
    /// All containers are being stopped for good.
    Ending,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Nothing is ever started.
    Held,
    Volumes,
    Beside,
    Stopping(Option<Duration>),
    Finished,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting,
    Running,
    Delayed(Duration),
    Stopping { kill_at: Duration },
    Killed,
    Done,
}

struct Tracked<'s> {
    spec: &'s ContainerSpec,
    state: State,
    starts: u32,
    code: Option<u8>,
    /// Stopped by hand since its last start: its rules do not start it again.
    by_hand: bool,
    /// To be started again, by hand, once it has ended.
    again: bool,
}

impl Tracked<'_> {
    fn restart_due(&self, code: u8) -> bool {
        let rules = &self.spec.lifecycle;
        let wanted = if code == 0 { rules.restart_on_success } else { rules.restart_on_failure };
        wanted && (rules.max_restarts == 0 || self.starts < rules.max_restarts)
    }

    fn goes_first(&self) -> bool {
        self.spec.lifecycle.before == BEFORE_VOLUMES
    }

    fn restart_delay(&self) -> Duration {
        match self.spec.lifecycle.restart_delay {
            0 => DEFAULT_RESTART_DELAY,
            millis => Duration::from_millis(millis),
        }
    }

    fn start_if_due(&mut self, now: Duration) -> bool {
        let due = match self.state {
            State::Waiting => true,
            State::Delayed(until) => until <= now,
            _ => false,
        };
        if due {
            self.state = State::Running;
            self.starts = self.starts.saturating_add(1);
            self.by_hand = false;
            self.again = false;
        }
        due
    }

    /// The time after a stop signal of now at which the container is killed.
    fn kill_at(&self, grace: Option<Duration>, now: Duration) -> Duration {
        let own = Duration::from_secs(u64::from(self.spec.process.stop_timeout));
        now.saturating_add(grace.unwrap_or(own))
    }
}

/// The state of the pod's containers. Times are measured since boot.
pub(crate) struct Lifecycle<'s> {
    containers: Vec<Tracked<'s>>,
    phase: Phase,
    ended_by: Option<u8>,
    reason: Option<String>,
    /// A user asked for the end.
    stopped: bool,
    /// The exit code where no container has one.
    code: u8,
}

impl<'s> Lifecycle<'s> {
    /// A pod of which nothing has started.
    pub(crate) fn new(specs: &'s [ContainerSpec]) -> Self {
        let containers = specs.iter().map(|spec| Tracked {
            spec,
            state: State::Waiting,
            starts: 0,
            code: None,
            by_hand: false,
            again: false,
        });
        Self {
            containers: containers.collect(),
            phase: Phase::Volumes,
            ended_by: None,
            reason: None,
            stopped: false,
            code: 125,
        }
    }

    /// A pod of which nothing is started, until it is stopped.
    pub(crate) fn held(specs: &'s [ContainerSpec]) -> Self {
        Self { phase: Phase::Held, code: 0, ..Self::new(specs) }
    }

    /// What is due now; to be called at the start and when [`Self::deadline`] has passed.
    pub(crate) fn advance(&mut self, now: Duration) -> Vec<Action> {
        let mut actions = Vec::new();
        if matches!(self.phase, Phase::Volumes | Phase::Beside) {
            for (index, container) in self.containers.iter_mut().enumerate() {
                if matches!(container.state, State::Stopping { kill_at } if kill_at <= now) {
                    container.state = State::Killed;
                    actions.push(Action::Kill(index));
                }
            }
        }
        if self.phase == Phase::Volumes {
            match self
                .containers
                .iter_mut()
                .enumerate()
                .find(|(_, c)| c.goes_first() && c.state != State::Done)
            {
                Some((index, container)) => {
                    if container.start_if_due(now) {
                        actions.push(Action::Start(index));
                    }
                }
                None => self.phase = Phase::Beside,
            }
        }
        match self.phase {
            Phase::Beside => {
                for (index, container) in self.containers.iter_mut().enumerate() {
                    if container.start_if_due(now) {
                        actions.push(Action::Start(index));
                    }
                }
            }
            Phase::Stopping(grace) => actions.extend(self.stop_next(grace, now)),
            Phase::Held | Phase::Volumes | Phase::Finished => {}
        }
        if self.phase != Phase::Finished && self.containers.iter().all(|c| c.state == State::Done) {
            self.phase = Phase::Finished;
            actions.push(Action::Finish);
        }
        actions
    }

    /// A container's process has ended, or could not be started.
    pub(crate) fn ended(&mut self, index: usize, code: u8, now: Duration) -> Vec<Action> {
        let Some(container) = self.containers.get_mut(index) else { return Vec::new() };
        container.code = Some(code);
        let stopping = matches!(self.phase, Phase::Stopping(_));
        if !stopping && container.again {
            container.starts = 0;
            container.state = State::Delayed(now);
        } else if !stopping && !container.by_hand && container.restart_due(code) {
            container.state = State::Delayed(now.saturating_add(container.restart_delay()));
        } else {
            self.done(index, code, now);
        }
        self.advance(now)
    }

    /// Stops one container by hand, and where `again`, starts it again then, whether it runs or not. `grace` as in
    /// [`vdocker::engine::StopOptions`].
    ///
    /// # Errors
    /// [`Refused`] where there is nothing to stop, or the pod ends anyway.
    pub(crate) fn stop_one(
        &mut self,
        index: usize,
        grace: Option<Option<Duration>>,
        again: bool,
        now: Duration,
    ) -> Result<Vec<Action>, Refused> {
        self.check_goes_on()?;
        let Some(container) = self.containers.get_mut(index) else { return Err(Refused::Already) };
        let kill_at = grace.map_or_else(
            || container.kill_at(None, now),
            |grace| grace.map_or(Duration::MAX, |grace| now.saturating_add(grace)),
        );
        let mut actions = Vec::new();
        match &mut container.state {
            State::Running => {
                container.state = State::Stopping { kill_at };
                // Without any time to stop in, it is killed below and nothing else.
                if kill_at > now {
                    actions.push(Action::Signal(index));
                }
            }
            State::Stopping { kill_at: earlier } => *earlier = kill_at.min(*earlier),
            State::Killed => {}
            _ if again => return self.start_one(index, now),
            State::Delayed(_) => {
                let code = container.code.unwrap_or_default();
                container.by_hand = true;
                self.done(index, code, now);
                return Ok(self.advance(now));
            }
            State::Waiting | State::Done => return Err(Refused::Already),
        }
        container.by_hand = true;
        container.again = again;
        actions.extend(self.advance(now));
        Ok(actions)
    }

    /// Starts one container by hand.
    ///
    /// # Errors
    /// [`Refused`] where it runs, or waits for those that go first, or the pod ends.
    pub(crate) fn start_one(&mut self, index: usize, now: Duration) -> Result<Vec<Action>, Refused> {
        self.check_goes_on()?;
        match self.containers.get_mut(index) {
            Some(container) if matches!(container.state, State::Done | State::Delayed(_)) => {
                container.starts = 0;
                container.state = State::Delayed(now);
                Ok(self.advance(now))
            }
            Some(container) if container.state == State::Waiting => Err(Refused::Waits),
            _ => Err(Refused::Already),
        }
    }

    /// The container got a signal by hand that is to end it: its rules do not start it again.
    pub(crate) fn killed_by_hand(&mut self, index: usize) {
        if let Some(container) = self.containers.get_mut(index) {
            container.by_hand = true;
        }
    }

    fn check_goes_on(&self) -> Result<(), Refused> {
        match self.phase {
            Phase::Held | Phase::Volumes | Phase::Beside => Ok(()),
            Phase::Stopping(_) | Phase::Finished => Err(Refused::Ending),
        }
    }

    /// The container will not be started again by its rules.
    fn done(&mut self, index: usize, code: u8, now: Duration) {
        let container = &mut self.containers[index];
        container.state = State::Done;
        let by_hand = container.by_hand;
        let passed_on = container.goes_first() && code == 0;
        let stopping = matches!(self.phase, Phase::Stopping(_));
        let ends_pod = !stopping && container.spec.lifecycle.critical && !passed_on;
        let others = self.containers.iter().any(|c| c.state != State::Done);
        if !stopping && by_hand && (ends_pod || !others) {
            // As under Docker, what was stopped by hand is not started again by any policy.
            self.stopped = true;
        }
        if ends_pod {
            self.ended_by = Some(code);
            let name = &self.containers[index].spec.name;
            self.reason = others.then(|| format!("critical container {name} ended with code {code}"));
            self.begin_stop(None, now);
        }
    }

    /// Stops all containers, last first. `grace` is the time from each one's stop signal to its kill, `None`
    /// for its own. A second call can only shorten the time.
    pub(crate) fn stop(&mut self, grace: Option<Duration>, reason: &str, now: Duration) -> Vec<Action> {
        if self.phase == Phase::Finished {
            return Vec::new();
        }
        self.stopped = true;
        self.reason.get_or_insert_with(|| reason.to_owned());
        if let (Phase::Stopping(_), Some(grace)) = (self.phase, grace) {
            for container in &mut self.containers {
                if let State::Stopping { kill_at } = &mut container.state {
                    *kill_at = (*kill_at).min(now.saturating_add(grace));
                }
            }
        }
        let earlier = if let Phase::Stopping(earlier) = self.phase { earlier } else { None };
        self.begin_stop([earlier, grace].into_iter().flatten().min(), now);
        self.advance(now)
    }

    /// The time since boot at which [`Self::advance`] has something to do without any event.
    pub(crate) fn deadline(&self) -> Option<Duration> {
        let waits = self.containers.iter().filter_map(|container| match container.state {
            State::Delayed(until) => Some(until),
            State::Stopping { kill_at } if kill_at < Duration::MAX => Some(kill_at),
            _ => None,
        });
        waits.min()
    }

    /// How often the container was started again.
    pub(crate) fn restarts(&self, index: usize) -> u32 {
        self.containers.get(index).map_or(0, |c| c.starts.saturating_sub(1))
    }

    /// Whether the container will never start again, so that its input can be thrown away.
    pub(crate) fn is_done(&self, index: usize) -> bool {
        self.containers.get(index).is_none_or(|c| c.state == State::Done)
    }

    /// Whether the container waits for its next start by its rules.
    pub(crate) fn is_delayed(&self, index: usize) -> bool {
        self.containers.get(index).is_some_and(|c| matches!(c.state, State::Delayed(_)))
    }

    /// The pod's exit code: the critical container's that ended it, else the first container's; where that was never
    /// started 125, or 0 if it was not to be.
    pub(crate) fn code(&self) -> u8 {
        self.ended_by.or_else(|| self.containers.first().and_then(|c| c.code)).unwrap_or(self.code)
    }

    /// Why the pod ended when it was not simply that its containers had.
    pub(crate) fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }

    /// Whether a user asked for the end.
    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped
    }

    fn begin_stop(&mut self, grace: Option<Duration>, now: Duration) {
        self.phase = Phase::Stopping(grace);
        for container in &mut self.containers {
            container.again = false;
            match container.state {
                State::Waiting | State::Delayed(_) => container.state = State::Done,
                // Somebody wanted to wait for ever, which the pod does not.
                State::Stopping { kill_at: Duration::MAX } => {
                    container.state = State::Stopping { kill_at: container.kill_at(grace, now) };
                }
                _ => {}
            }
        }
    }

    fn stop_next(&mut self, grace: Option<Duration>, now: Duration) -> Option<Action> {
        let (index, container) =
            self.containers.iter_mut().enumerate().rev().find(|(_, c)| c.state != State::Done)?;
        match container.state {
            State::Running => {
                let kill_at = container.kill_at(grace, now);
                if kill_at <= now {
                    container.state = State::Killed;
                    return Some(Action::Kill(index));
                }
                container.state = State::Stopping { kill_at };
                Some(Action::Signal(index))
            }
            State::Stopping { kill_at } if kill_at <= now => {
                container.state = State::Killed;
                Some(Action::Kill(index))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
#[path = "lifecycle_tests.rs"]
mod tests;
