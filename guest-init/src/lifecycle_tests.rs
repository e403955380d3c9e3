//! Tests of the pod's rules, on a clock of their own.

use super::*;
use crate::launch::tests::container;

const SECOND: Duration = Duration::from_secs(1);

fn at(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn specs(count: usize) -> Vec<ContainerSpec> {
    (0..count).map(|index| container(&format!("c{index}"))).collect()
}

use Action::{Finish, Kill, Signal, Start};

#[test]
fn containers_run_side_by_side_and_the_first_gives_the_code() {
    let specs = specs(2);
    let mut pod = Lifecycle::new(&specs);
    assert_eq!(pod.advance(at(0)), [Start(0), Start(1)]);
    assert_eq!(pod.advance(at(1)), []);
    assert_eq!(pod.ended(0, 7, at(2)), []);
    assert_eq!(pod.ended(1, 0, at(3)), [Finish]);
    assert_eq!((pod.code(), pod.reason()), (7, None));
    assert_eq!(pod.advance(at(4)), []);
}

#[test]
fn volumes_come_first_one_after_another() {
    let mut specs = specs(4);
    specs[1].lifecycle.before = BEFORE_VOLUMES.into();
    specs[3].lifecycle.before = BEFORE_VOLUMES.into();
    let mut pod = Lifecycle::new(&specs);
    assert_eq!(pod.advance(at(0)), [Start(1)]);
    assert_eq!(pod.ended(1, 5, at(1)), [Start(3)], "a failure that is not critical holds nothing up");
    assert_eq!(pod.ended(3, 0, at(2)), [Start(0), Start(2)]);
    assert_eq!(pod.ended(2, 0, at(3)), []);
    assert_eq!(pod.ended(0, 0, at(4)), [Finish]);
}

#[test]
fn a_critical_volume_ends_the_pod_by_failing_only() {
    let mut specs = specs(2);
    specs[0].lifecycle.before = BEFORE_VOLUMES.into();
    specs[0].lifecycle.critical = true;
    let mut pod = Lifecycle::new(&specs);
    assert_eq!(pod.advance(at(0)), [Start(0)]);
    assert_eq!(pod.ended(0, 0, at(1)), [Start(1)]);

    let mut pod = Lifecycle::new(&specs);
    assert_eq!(pod.advance(at(0)), [Start(0)]);
    assert_eq!(pod.ended(0, 3, at(1)), [Finish]);
    assert_eq!(pod.code(), 3);
    assert_eq!(pod.reason(), Some("critical container c0 ended with code 3"));
    assert!(!pod.is_stopped());
}

#[test]
fn a_pod_of_volumes_alone_ends_with_the_last() {
    let mut specs = specs(1);
    specs[0].lifecycle.before = BEFORE_VOLUMES.into();
    let mut pod = Lifecycle::new(&specs);
    assert_eq!(pod.advance(at(0)), [Start(0)]);
    assert_eq!(pod.ended(0, 0, at(1)), [Finish]);
}

#[test]
fn restarts_follow_the_exit_code_and_wait() {
    let mut specs = specs(1);
    specs[0].lifecycle.restart_on_failure = true;
    let mut pod = Lifecycle::new(&specs);
    assert_eq!(pod.advance(at(0)), [Start(0)]);
    assert_eq!(pod.ended(0, 1, at(10)), []);
    assert_eq!(pod.deadline(), Some(at(310)), "a delay of 0 means 300 ms");
    assert_eq!(pod.advance(at(309)), []);
    assert_eq!(pod.advance(at(310)), [Start(0)]);
    assert_eq!((pod.restarts(0), pod.deadline()), (1, None));
    assert_eq!(pod.ended(0, 0, at(400)), [Finish], "success is no failure");

    specs[0].lifecycle.restart_on_success = true;
    specs[0].lifecycle.restart_on_failure = false;
    specs[0].lifecycle.restart_delay = 5;
    let mut pod = Lifecycle::new(&specs);
    assert_eq!(pod.advance(at(0)), [Start(0)]);
    assert_eq!(pod.ended(0, 0, at(10)), []);
    assert_eq!(pod.advance(at(15)), [Start(0)]);
    assert_eq!(pod.ended(0, 1, at(20)), [Finish]);
}

#[test]
fn the_first_start_counts() {
    let mut specs = specs(1);
    specs[0].lifecycle.restart_on_failure = true;
    specs[0].lifecycle.max_restarts = 2;
    let mut pod = Lifecycle::new(&specs);
    assert_eq!(pod.advance(at(0)), [Start(0)]);
    assert_eq!(pod.ended(0, 1, at(0)), []);
    assert_eq!(pod.advance(at(300)), [Start(0)]);
    assert_eq!(pod.ended(0, 9, at(301)), [Finish]);
    assert_eq!((pod.restarts(0), pod.code()), (1, 9));
}

#[test]
fn a_critical_end_stops_the_others_last_first() {
    let mut specs = specs(3);
    specs[1].lifecycle.critical = true;
    specs[0].process.stop_timeout = 2;
    let mut pod = Lifecycle::new(&specs);
    pod.advance(at(0));
    assert_eq!(pod.ended(1, 4, at(100)), [Signal(2)]);
    assert_eq!(pod.ended(2, 0, at(200)), [Signal(0)]);
    assert_eq!(pod.deadline(), Some(at(2200)));
    assert_eq!(pod.advance(at(2199)), []);
    assert_eq!(pod.advance(at(2200)), [Kill(0)]);
    assert_eq!(pod.deadline(), None);
    assert_eq!(pod.ended(0, 137, at(2300)), [Finish]);
    assert_eq!(pod.code(), 4);
    assert_eq!(pod.reason(), Some("critical container c1 ended with code 4"));
}

#[test]
fn a_critical_container_may_restart_before_it_counts() {
    let mut specs = specs(1);
    specs[0].lifecycle.critical = true;
    specs[0].lifecycle.restart_on_failure = true;
    let mut pod = Lifecycle::new(&specs);
    pod.advance(at(0));
    assert_eq!(pod.ended(0, 1, at(0)), []);
    assert_eq!(pod.advance(at(300)), [Start(0)]);
    assert_eq!(pod.ended(0, 0, at(301)), [Finish]);
    assert_eq!((pod.code(), pod.reason()), (0, None), "nothing else was running");
}

#[test]
fn a_stop_cancels_restarts_and_can_be_shortened() {
    let mut specs = specs(2);
    specs[1].lifecycle.restart_on_failure = true;
    let mut pod = Lifecycle::new(&specs);
    pod.advance(at(0));
    assert_eq!(pod.ended(1, 1, at(0)), []);
    assert_eq!(pod.stop(None, "stopped", at(100)), [Signal(0)]);
    assert_eq!(pod.deadline(), Some(at(100) + 10 * SECOND));
    assert_eq!(pod.stop(Some(60 * SECOND), "again", at(200)), [], "a second call cannot lengthen it");
    assert_eq!(pod.deadline(), Some(at(100) + 10 * SECOND));
    assert_eq!(pod.stop(Some(SECOND), "again", at(200)), []);
    assert_eq!(pod.deadline(), Some(at(1200)));
    assert_eq!(pod.stop(Some(Duration::ZERO), "again", at(300)), [Kill(0)]);
    assert_eq!(pod.ended(0, 137, at(400)), [Finish]);
    assert_eq!((pod.code(), pod.reason(), pod.is_stopped()), (137, Some("stopped"), true));
}

#[test]
fn a_short_stop_stays_short_for_containers_that_come_later() {
    let specs = specs(2);
    let mut pod = Lifecycle::new(&specs);
    pod.advance(at(0));
    assert_eq!(pod.stop(Some(SECOND), "stopped", at(0)), [Signal(1)]);
    assert_eq!(pod.stop(None, "the stream is broken", at(100)), []);
    assert_eq!(pod.stop(Some(60 * SECOND), "again", at(100)), []);
    assert_eq!(pod.ended(1, 143, at(200)), [Signal(0)]);
    assert_eq!(pod.deadline(), Some(at(1200)));
}

#[test]
fn a_stop_without_grace_kills_at_once() {
    let specs = specs(2);
    let mut pod = Lifecycle::new(&specs);
    pod.advance(at(0));
    assert_eq!(pod.stop(Some(Duration::ZERO), "stopped", at(1)), [Kill(1)]);
    assert_eq!(pod.ended(1, 137, at(2)), [Kill(0)]);
    assert_eq!(pod.ended(0, 137, at(3)), [Finish]);
}

#[test]
fn a_stop_before_the_start_ends_with_nothing_run() {
    let mut specs = specs(2);
    specs[1].lifecycle.before = BEFORE_VOLUMES.into();
    let mut pod = Lifecycle::new(&specs);
    assert_eq!(pod.advance(at(0)), [Start(1)]);
    assert_eq!(pod.stop(None, "stopped", at(1)), [Signal(1)]);
    assert_eq!(pod.ended(1, 143, at(2)), [Finish]);
    assert_eq!(pod.code(), 125);
}

#[test]
fn hostile_times_do_not_overflow() {
    let mut specs = specs(1);
    specs[0].lifecycle.restart_on_failure = true;
    specs[0].lifecycle.restart_delay = u64::MAX;
    specs[0].process.stop_timeout = u32::MAX;
    let mut pod = Lifecycle::new(&specs);
    pod.advance(at(0));
    assert_eq!(pod.ended(0, 1, Duration::MAX - SECOND), []);
    assert_eq!(pod.stop(None, "stopped", at(1)), [Finish]);
}

#[test]
fn a_container_stopped_by_hand_is_not_restarted_and_holds_up_no_other() {
    let mut specs = specs(2);
    specs[0].lifecycle.restart_on_failure = true;
    specs[0].lifecycle.restart_on_success = true;
    let mut pod = Lifecycle::new(&specs);
    pod.advance(at(0));
    assert_eq!(pod.stop_one(0, None, false, at(10)), Ok(vec![Signal(0)]));
    assert_eq!(pod.deadline(), Some(at(10) + 10 * SECOND));
    assert_eq!(
        pod.stop_one(0, Some(Some(SECOND)), false, at(20)),
        Ok(vec![]),
        "a second call can shorten it"
    );
    assert_eq!(pod.advance(at(1020)), [Kill(0)]);
    assert_eq!(pod.ended(0, 137, at(1030)), []);
    assert!(pod.is_done(0) && !pod.is_delayed(0));
    assert_eq!(pod.stop_one(0, None, false, at(1040)), Err(Refused::Already));
    assert_eq!(pod.start_one(0, at(1050)), Ok(vec![Start(0)]));
    assert_eq!(pod.start_one(0, at(1060)), Err(Refused::Already));
    assert_eq!(pod.ended(0, 1, at(1070)), [], "its rules hold again");
    assert!(pod.is_delayed(0));
    assert_eq!(pod.stop_one(0, None, false, at(1080)), Ok(vec![]), "which cancels the restart");
    assert_eq!(pod.ended(1, 0, at(1090)), [Finish]);
    assert!(!pod.is_stopped(), "the pod's end was the other's own");
}

#[test]
fn a_pod_that_ends_with_a_stop_by_hand_was_stopped() {
    let mut specs = specs(2);
    let mut pod = Lifecycle::new(&specs);
    pod.advance(at(0));
    assert_eq!(pod.ended(1, 0, at(10)), []);
    assert_eq!(pod.stop_one(0, None, false, at(20)), Ok(vec![Signal(0)]));
    assert!(!pod.is_stopped());
    assert_eq!(pod.ended(0, 143, at(30)), [Finish]);
    assert!(pod.is_stopped());

    specs[0].lifecycle.critical = true;
    let mut pod = Lifecycle::new(&specs);
    pod.advance(at(0));
    assert_eq!(pod.stop_one(0, None, false, at(10)), Ok(vec![Signal(0)]));
    assert_eq!(pod.ended(0, 143, at(20)), [Signal(1)], "the critical one takes the others with it");
    assert!(pod.is_stopped());

    specs[0].lifecycle = Default::default();
    specs[0].lifecycle.restart_on_failure = true;
    let mut pod = Lifecycle::new(&specs);
    pod.advance(at(0));
    assert_eq!(pod.ended(1, 0, at(10)), []);
    assert_eq!(pod.ended(0, 1, at(20)), []);
    assert_eq!(pod.stop_one(0, None, false, at(30)), Ok(vec![Finish]), "while it waits for its restart");
    assert!(pod.is_stopped());
}

#[test]
fn a_restart_by_hand_keeps_the_pod_alive() {
    let mut specs = specs(1);
    specs[0].lifecycle.critical = true;
    let mut pod = Lifecycle::new(&specs);
    pod.advance(at(0));
    assert_eq!(pod.stop_one(0, None, true, at(10)), Ok(vec![Signal(0)]));
    assert_eq!(pod.ended(0, 143, at(20)), [Start(0)]);
    assert_eq!(pod.restarts(0), 0, "only its own rules count");
    assert_eq!(pod.stop_one(0, Some(Some(Duration::ZERO)), true, at(30)), Ok(vec![Kill(0)]));
    assert_eq!(pod.ended(0, 137, at(40)), [Start(0)]);
    assert_eq!(pod.stop_one(0, None, false, at(50)), Ok(vec![Signal(0)]));
    assert_eq!(pod.ended(0, 143, at(60)), [Finish]);
}

#[test]
fn a_kill_by_hand_is_a_stop_by_hand() {
    let mut specs = specs(1);
    specs[0].lifecycle.restart_on_failure = true;
    let mut pod = Lifecycle::new(&specs);
    pod.advance(at(0));
    pod.killed_by_hand(0);
    assert_eq!(pod.ended(0, 137, at(10)), [Finish]);
    assert!(pod.is_stopped());
}

#[test]
fn the_end_of_the_pod_waits_for_no_stop_without_end() {
    let specs = specs(2);
    let mut pod = Lifecycle::new(&specs);
    pod.advance(at(0));
    assert_eq!(pod.stop_one(1, Some(None), true, at(10)), Ok(vec![Signal(1)]));
    assert_eq!(pod.deadline(), None);
    assert_eq!(pod.stop(Some(SECOND), "stopped", at(20)), []);
    assert_eq!(pod.deadline(), Some(at(1020)));
    assert_eq!(pod.start_one(1, at(30)), Err(Refused::Ending));
    assert_eq!(pod.stop_one(0, None, true, at(30)), Err(Refused::Ending));
    assert_eq!(pod.advance(at(1020)), [Kill(1)]);
    assert_eq!(pod.ended(1, 137, at(1030)), [Signal(0)], "and starts none again");
    assert_eq!(pod.ended(0, 0, at(1040)), [Finish]);
}

#[test]
fn a_container_that_waits_for_others_is_left_alone() {
    let mut specs = specs(2);
    specs[0].lifecycle.before = BEFORE_VOLUMES.into();
    let mut pod = Lifecycle::new(&specs);
    assert_eq!(pod.advance(at(0)), [Start(0)]);
    assert_eq!(pod.start_one(1, at(1)), Err(Refused::Waits));
    assert_eq!(pod.stop_one(1, None, false, at(1)), Err(Refused::Already));
    assert_eq!(pod.ended(0, 0, at(2)), [Start(1)]);
}

#[test]
fn a_held_pod_starts_nothing_and_ends_when_it_is_told_to() {
    let mut specs = specs(2);
    specs[0].lifecycle.before = BEFORE_VOLUMES.into();
    let mut pod = Lifecycle::held(&specs);
    assert_eq!((pod.advance(at(0)), pod.deadline()), (Vec::new(), None));
    assert_eq!(pod.start_one(0, at(1)), Err(Refused::Waits));
    assert_eq!(pod.stop_one(1, None, true, at(1)), Err(Refused::Waits));
    assert_eq!(pod.stop_one(1, None, false, at(1)), Err(Refused::Already));
    assert_eq!(pod.advance(at(2)), []);
    assert_eq!(pod.stop(None, "enough", at(3)), [Finish]);
    assert_eq!((pod.code(), pod.reason(), pod.is_stopped()), (0, Some("enough"), true));
}
