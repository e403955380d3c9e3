//! Restart policies (Docker Engine API, `RestartPolicy`): whether a container that has ended is started again, and when.

use std::rc::Rc;
use std::time::Duration;

use bollard_stubs::models::RestartPolicyNameEnum as Name;

use super::record::Status;
use super::{Container, start};
use crate::daemon::Daemon;
use crate::failure::report;

/// The first and the longest wait before a restart; it doubles in between.
const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(60);

/// A run of this length makes the next wait the first again.
const LONG_RUN: Duration = Duration::from_secs(10);

/// Whether a container is to be started again that has ended with that code.
pub(super) fn is_due(container: &Container, code: i64, is_stopped: bool) -> bool {
    let record = container.record.borrow();
    let Some(policy) = &record.host_config.restart_policy else { return false };
    let (name, limit) = (policy.name, policy.maximum_retry_count.unwrap_or_default());
    due(name, limit, container.life.borrow().state.restarts, code, is_stopped)
}

fn due(name: Option<Name>, limit: i64, restarts: u32, code: i64, is_stopped: bool) -> bool {
    !is_stopped
        && match name {
            Some(Name::ALWAYS | Name::UNLESS_STOPPED) => true,
            Some(Name::ON_FAILURE) => code != 0 && (limit <= 0 || i64::from(restarts) < limit),
            _ => false,
        }
}

/// Whether a container that does not run is started when the daemon is.
pub(super) fn is_due_at_start(container: &Container) -> bool {
    let record = container.record.borrow();
    let life = container.life.borrow();
    let name = record.host_config.restart_policy.as_ref().and_then(|policy| policy.name);
    let has_run = life.state.started.is_some();
    match name {
        Some(Name::ALWAYS) => has_run,
        Some(Name::UNLESS_STOPPED) => has_run && !life.state.stopped,
        _ => false,
    }
}

/// Starts a container again after a while, unless somebody stops, starts or removes it meanwhile.
pub(super) fn schedule(daemon: &Rc<Daemon>, container: &Rc<Container>, lasted: Duration) {
    let delay = next(container.delay.get(), lasted);
    container.delay.set(delay);
    let (daemon, container) = (Rc::clone(daemon), Rc::clone(container));
    tokio::task::spawn_local(async move {
        let mut life = container.life.subscribe();
        let exits = life.borrow().exits;
        let is_other = |life: &super::Life| {
            life.state.status != Status::Restarting || life.exits != exits || life.removed
        };
        tokio::select! {
            _changed = life.wait_for(is_other) => return,
            () = daemon.open.closing() => return,
            () = tokio::time::sleep(delay) => {}
        }
        let _operation = container.operation.lock().await;
        if is_other(&container.life.borrow()) {
            return;
        }
        container.life.send_if_modified(|life| {
            life.state.restarts += 1;
            false
        });
        if let Err(error) = start::begin(&daemon, &container).await {
            report("cannot restart a container", &error);
        }
    });
}

/// The wait before a restart, after a run of that length and a wait before it.
fn next(before: Duration, lasted: Duration) -> Duration {
    if before.is_zero() || lasted >= LONG_RUN { FIRST } else { (before * 2).min(LONGEST) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_are_dockers() {
        for (name, limit, restarts, code, expected) in [
            (None, 0, 0, 1, false),
            (Some(Name::NO), 0, 0, 1, false),
            (Some(Name::ALWAYS), 0, 9, 0, true),
            (Some(Name::UNLESS_STOPPED), 0, 9, 0, true),
            (Some(Name::ON_FAILURE), 0, 9, 1, true),
            (Some(Name::ON_FAILURE), 0, 0, 0, false),
            (Some(Name::ON_FAILURE), 3, 2, 1, true),
            (Some(Name::ON_FAILURE), 3, 3, 1, false),
        ] {
            assert_eq!(
                due(name, limit, restarts, code, false),
                expected,
                "{name:?} {limit} {restarts} {code}"
            );
            assert!(!due(name, limit, restarts, code, true), "{name:?}");
        }
    }

    #[test]
    fn waits_double_up_to_a_minute() {
        let short = Duration::from_secs(1);
        let mut wait = Duration::ZERO;
        let waits: Vec<_> = (0..12)
            .map(|_| {
                wait = next(wait, short);
                wait.as_millis()
            })
            .collect();
        assert_eq!(waits[..4], [100, 200, 400, 800]);
        assert_eq!(waits[10..], [60_000, 60_000]);
        assert_eq!(next(LONGEST, LONG_RUN), FIRST);
    }
}
