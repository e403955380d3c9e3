//! Health checks (Docker's HEALTHCHECK): one task a container runs its check while the container runs and keeps
//! `State.Health`.
//!
//! Engines put [`initial`] into a container's state when they make and when they start it, and spawn [`supervise`]
//! once a container that has a check.

mod probe;

use std::rc::Rc;
use std::time::{Duration, SystemTime};

use spec::ContainerSpec;
use spec::launch::HealthSpec;
use tokio::sync::watch;

use crate::container::{Container, ContainerState, Health, HealthCheck, HealthStatus, Status};
use crate::engine::Engine;
use crate::events::Event;

/// The shortest time that a check can ask for, as Docker has it: images are not to keep a pod busy with less.
const SHORTEST: Duration = Duration::from_millis(1);

/// The checks that are kept.
const KEPT: usize = 5;

/// What a check is, Docker's defaults filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Rules {
    cmd: Vec<String>,
    interval: Duration,
    timeout: Duration,
    start_period: Duration,
    start_interval: Duration,
    retries: u32,
}

impl Rules {
    /// `None` where there is nothing to run.
    fn of(spec: &ContainerSpec) -> Option<Self> {
        let spec = spec.healthcheck.as_ref()?;
        let or = |nanos: u64, seconds| match Duration::from_nanos(nanos) {
            Duration::ZERO => Duration::from_secs(seconds),
            wanted => wanted.max(SHORTEST),
        };
        Some(Self {
            cmd: command(spec)?,
            interval: or(spec.interval, 30),
            timeout: or(spec.timeout, 30),
            start_period: Duration::from_nanos(spec.start_period),
            start_interval: or(spec.start_interval, 5),
            retries: if spec.retries > 0 { spec.retries } else { 3 },
        })
    }

    /// From now to the next check.
    fn pause(&self, state: &ContainerState) -> Duration {
        let is_starting = status(state) == HealthStatus::Starting;
        if is_starting && in_start_period(self, state, SystemTime::now()) {
            self.start_interval
        } else {
            self.interval
        }
    }
}

fn command(spec: &HealthSpec) -> Option<Vec<String>> {
    let (form, rest) = spec.test.split_first()?;
    match form.as_str() {
        "CMD" if !rest.is_empty() => Some(rest.to_vec()),
        "CMD-SHELL" => Some(["/bin/sh", "-c", rest.first()?].map(str::to_owned).to_vec()),
        _ => None,
    }
}

/// The health of a container that has just been made or started; `None` where it has no check.
#[must_use]
pub fn initial(spec: &ContainerSpec) -> Option<Health> {
    Rules::of(spec).map(|_| Health::default())
}

/// Runs a container's check for as long as the container can run; returns at once where it has none.
pub async fn supervise<E: Engine>(engine: Rc<E>, container: Rc<Container>) {
    let Some(rules) = Rules::of(&container.spec) else { return };
    let mut changes = container.state.subscribe();
    while let Some(run) = next_run(&mut changes).await {
        container.state.send_if_modified(begin);
        tokio::select! {
            () = check_run(&*engine, &container, &rules, run) => {}
            () = end_of_run(&mut changes, run) => {}
        }
    }
}

/// Waits for the container to run; a run is known by its start. `None`: it never will again.
async fn next_run(changes: &mut watch::Receiver<ContainerState>) -> Option<Option<SystemTime>> {
    let state = changes.wait_for(|state| state.removed || state.status == Status::Running).await.ok()?;
    (!state.removed).then_some(state.started)
}

/// Waits until that run has ended or is frozen: a frozen container is not checked.
async fn end_of_run(changes: &mut watch::Receiver<ContainerState>, run: Option<SystemTime>) {
    let over =
        |state: &ContainerState| state.removed || state.status != Status::Running || state.started != run;
    // The sender lives in the container, which outlives its task.
    let _over = changes.wait_for(over).await;
}

/// Puts a state without a verdict there, where the engine has put none.
fn begin(state: &mut ContainerState) -> bool {
    let is_missing = state.health.is_none();
    state.health.get_or_insert_default();
    is_missing
}

/// Checks a run again and again.
async fn check_run<E: Engine>(engine: &E, container: &Container, rules: &Rules, run: Option<SystemTime>) {
    loop {
        let pause = rules.pause(&container.state.borrow());
        tokio::time::sleep(pause).await;
        let check = probe::run(engine, container, &rules.cmd, rules.timeout).await;
        let mut verdict = None;
        container.state.send_if_modified(|state| {
            let is_same = state.started == run && state.status == Status::Running;
            if is_same {
                verdict = judge(state, rules, check);
            }
            is_same
        });
        if let Some(verdict) = verdict {
            let action = format!("health_status: {}", verdict.word());
            engine.events().push(Event::now(container, &action, &[]));
        }
    }
}

fn status(state: &ContainerState) -> HealthStatus {
    state.health.as_ref().map(|health| health.status).unwrap_or_default()
}

fn in_start_period(rules: &Rules, state: &ContainerState, time: SystemTime) -> bool {
    let age = state.started.and_then(|started| time.duration_since(started).ok()).unwrap_or_default();
    age < rules.start_period
}

/// Enters a check; returns the new verdict where it differs from the one before.
fn judge(state: &mut ContainerState, rules: &Rules, check: HealthCheck) -> Option<HealthStatus> {
    let is_excused = in_start_period(rules, state, check.start);
    let health = state.health.get_or_insert_default();
    let before = health.status;
    if check.exit_code == 0 {
        (health.failing_streak, health.status) = (0, HealthStatus::Healthy);
    } else if !(is_excused && before == HealthStatus::Starting) {
        health.failing_streak = health.failing_streak.saturating_add(1);
        if health.failing_streak >= rules.retries {
            health.status = HealthStatus::Unhealthy;
        }
    }
    health.log.push(check);
    let surplus = health.log.len().saturating_sub(KEPT);
    health.log.drain(..surplus);
    (health.status != before).then_some(health.status)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> Rules {
        Rules {
            cmd: vec!["true".into()],
            interval: Duration::from_secs(30),
            timeout: Duration::from_secs(30),
            start_period: Duration::from_secs(10),
            start_interval: Duration::from_secs(5),
            retries: 2,
        }
    }

    fn check(state: &mut ContainerState, after: u64, exit_code: i32) -> Option<HealthStatus> {
        let start = state.started.unwrap() + Duration::from_secs(after);
        judge(state, &rules(), HealthCheck { start, end: start, exit_code, output: String::new() })
    }

    fn started() -> ContainerState {
        ContainerState { started: Some(SystemTime::now()), ..ContainerState::default() }
    }

    #[test]
    fn failures_count_after_the_start_period() {
        let mut state = started();
        assert_eq!(check(&mut state, 1, 1), None);
        assert_eq!(check(&mut state, 9, 1), None);
        assert_eq!(state.health.as_ref().unwrap().failing_streak, 0);
        assert_eq!(check(&mut state, 10, 1), None);
        assert_eq!(check(&mut state, 40, -1), Some(HealthStatus::Unhealthy));
        assert_eq!(check(&mut state, 70, 1), None);
        assert_eq!(check(&mut state, 100, 0), Some(HealthStatus::Healthy));
        assert_eq!(state.health.as_ref().unwrap().failing_streak, 0);
        assert_eq!(state.health.unwrap().log.len(), KEPT);
    }

    #[test]
    fn a_success_ends_the_start_period() {
        let mut state = started();
        assert_eq!(check(&mut state, 1, 0), Some(HealthStatus::Healthy));
        assert_eq!(check(&mut state, 2, 1), None);
        assert_eq!(check(&mut state, 3, 1), Some(HealthStatus::Unhealthy));
    }

    #[test]
    fn the_start_period_has_its_own_interval() {
        let mut state = started();
        assert_eq!(rules().pause(&state), Duration::from_secs(5));
        state.health = Some(Health { status: HealthStatus::Healthy, ..Health::default() });
        assert_eq!(rules().pause(&state), Duration::from_secs(30));
        state.health = None;
        state.started = Some(SystemTime::now() - Duration::from_secs(60));
        assert_eq!(rules().pause(&state), Duration::from_secs(30));
    }

    #[test]
    fn forms_of_checks() {
        let command = |test: &[&str]| {
            let test = test.iter().map(|&word| word.to_owned()).collect();
            command(&HealthSpec { test, ..HealthSpec::default() })
        };
        assert_eq!(command(&["CMD", "a", "b"]).unwrap(), ["a", "b"]);
        assert_eq!(command(&["CMD-SHELL", "a b"]).unwrap(), ["/bin/sh", "-c", "a b"]);
        for nothing in [&[][..], &["NONE"], &["CMD"], &["CMD-SHELL"], &["x", "y"]] {
            assert_eq!(command(nothing), None);
        }
    }
}
