//! What a container's health check found, as the pod tells it: there straight after the start, and kept current.

use std::rc::Rc;
use std::time::Duration;

use bollard_stubs::models::{self, HealthStatusEnum};
use serde::Deserialize;

use super::Container;
use super::record::Status;
use crate::daemon::Daemon;
use crate::failure::report;
use crate::pods::client;

/// How long a pod may take to say what it found: a guest that does not answer holds nobody up.
const PATIENCE: Duration = Duration::from_secs(2);

/// Checks that are remembered, and bytes of what each has said, as Docker has them.
const MAX_LOG: usize = 5;
const MAX_OUTPUT: usize = 4 << 10;

#[derive(Deserialize)]
struct Inspected {
    #[serde(rename = "State")]
    state: InspectedState,
}

#[derive(Deserialize)]
struct InspectedState {
    #[serde(rename = "Paused", default)]
    paused: bool,
    #[serde(rename = "Health")]
    health: Option<models::Health>,
}

/// The health of a container that has just been started; `None` where nothing asks for it.
pub(super) fn starting(container: &Container) -> Option<models::Health> {
    is_checked(container).then(|| models::Health {
        status: Some(HealthStatusEnum::STARTING),
        failing_streak: Some(0),
        log: Some(Vec::new()),
    })
}

/// The health of a container that has ended: nobody asks it any more.
pub(super) fn stopped(health: models::Health) -> models::Health {
    models::Health { status: Some(HealthStatusEnum::UNHEALTHY), ..health }
}

/// Asks the pod what its last checks found, where it runs and has any.
pub(super) async fn refresh(daemon: &Rc<Daemon>, container: &Rc<Container>) {
    if !is_checked(container) {
        return;
    }
    let inspected = inspect(daemon, container).await;
    if let Some(health) = inspected.and_then(|state| state.health).map(bounded) {
        container.life.send_modify(|life| {
            if life.is_running() {
                life.health = Some(health);
            }
        });
    }
}

/// Learns of a run that an earlier daemon has started what that could not write down: what its checks have found, and
/// whether it is paused.
pub(super) async fn catch_up(daemon: &Rc<Daemon>, container: &Rc<Container>) {
    let Some(inspected) = inspect(daemon, container).await else { return };
    let health = inspected.health.filter(|_| is_checked(container)).map(bounded);
    let status = if inspected.paused { Status::Paused } else { Status::Running };
    let learnt = container.change(
        daemon,
        |life| {
            if matches!(life.state.status, Status::Running | Status::Paused) {
                life.state.status = status;
                life.health = health.or(life.health.take());
            }
        },
        [],
    );
    if let Err(error) = learnt.await {
        report("cannot keep how a container stands", &error);
    }
}

/// What the pod says of its container, where it runs and answers in time.
async fn inspect(daemon: &Daemon, container: &Container) -> Option<InspectedState> {
    if !container.is_reachable.get() {
        return None;
    }
    let dir = daemon.pods.of(&container.id).ok()?;
    let target = format!("/containers/{}/json", container.id);
    let asked = tokio::time::timeout(PATIENCE, client::get::<Inspected>(&dir, &target));
    Some(asked.await.ok()?.ok()?.state)
}

/// What a guest says, as much of it as an honest one would.
fn bounded(mut health: models::Health) -> models::Health {
    if let Some(log) = &mut health.log {
        log.drain(..log.len().saturating_sub(MAX_LOG));
        for output in log.iter_mut().filter_map(|check| check.output.as_mut()) {
            let end = (0..=MAX_OUTPUT.min(output.len())).rev().find(|end| output.is_char_boundary(*end));
            output.truncate(end.unwrap_or_default());
        }
    }
    health
}

fn is_checked(container: &Container) -> bool {
    let record = container.record.borrow();
    let test = record.config.healthcheck.as_ref().and_then(|check| check.test.as_ref());
    test.and_then(|test| test.first()).is_some_and(|kind| !kind.is_empty() && kind != "NONE")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_guest_says_is_bounded() {
        let check = |output: String| models::HealthcheckResult { output: Some(output), ..Default::default() };
        let log = (0..100).map(|number| check(format!("{number}{}", "é".repeat(MAX_OUTPUT)))).collect();
        let health = bounded(models::Health { log: Some(log), ..Default::default() });
        let log = health.log.unwrap();
        assert_eq!(log.len(), MAX_LOG);
        let first = log[0].output.as_ref().unwrap();
        assert!(first.starts_with("95") && first.len() <= MAX_OUTPUT);
    }
}
