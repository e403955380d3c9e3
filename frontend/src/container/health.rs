//! What a container's health check found, as the pod tells it: there straight after the start, and kept current.

use std::rc::Rc;

use bollard_stubs::models::{self, HealthStatusEnum};
use serde::Deserialize;

use super::Container;
use crate::daemon::Daemon;
use crate::pods::client;

#[derive(Deserialize)]
struct Inspected {
    #[serde(rename = "State")]
    state: InspectedState,
}

#[derive(Deserialize)]
struct InspectedState {
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
    if !is_checked(container) || !container.is_reachable.get() {
        return;
    }
    let Ok(dir) = daemon.pods.of(&container.id) else { return };
    let Ok(inspected) = client::get::<Inspected>(&dir, &format!("/containers/{}/json", container.id)).await
    else {
        return;
    };
    if let Some(health) = inspected.state.health {
        container.life.send_modify(|life| {
            if life.is_running() {
                life.health = Some(health);
            }
        });
    }
}

fn is_checked(container: &Container) -> bool {
    let record = container.record.borrow();
    let test = record.config.healthcheck.as_ref().and_then(|check| check.test.as_ref());
    test.and_then(|test| test.first()).is_some_and(|kind| !kind.is_empty() && kind != "NONE")
}
