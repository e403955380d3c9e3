//! `GET /containers/{id}/json`: everything about a container.

use std::collections::HashMap;

use bollard_stubs::models::{
    self, ContainerInspectResponse, ContainerState, ContainerStateStatusEnum, NetworkSettings,
};
use hyper::StatusCode;
use vdocker::EngineError;
use vdocker::response::{self, Response};
use vdocker::time;

use super::record::{State, Status};
use super::sizes::{self, Sizes};
use super::{Container, health, ports};
use crate::context::Context;
use crate::daemon::Daemon;

/// `GET /containers/{id}/json`.
pub(super) async fn inspect(context: Context) -> Result<Response, EngineError> {
    let container = context.daemon.containers.find(&context.name)?;
    // What its checks have said is with the pod.
    health::refresh(&context.daemon, &container).await;
    let size = match context.query.flag("size") {
        true => sizes::of(&context.daemon, &container).await,
        false => None,
    };
    response::json(StatusCode::OK, &describe(&context.daemon, &container, size))
}

fn describe(daemon: &Daemon, container: &Container, size: Option<Sizes>) -> ContainerInspectResponse {
    let record = container.record.borrow();
    let life = container.life.borrow();
    let execs = daemon.execs.of(&container.id);
    ContainerInspectResponse {
        id: Some(record.id.clone()),
        created: Some(time::trimmed(record.created)),
        path: Some(record.path.clone()),
        args: Some(record.args.clone()),
        state: Some(state(&life.state, life.health.clone())),
        image: Some(record.image_id.clone()),
        resolv_conf_path: Some(String::new()),
        hostname_path: Some(String::new()),
        hosts_path: Some(String::new()),
        log_path: Some(String::new()),
        name: Some(format!("/{}", record.name)),
        restart_count: Some(life.state.restarts.into()),
        driver: Some("overlay2".into()),
        platform: Some("linux".into()),
        image_manifest_descriptor: None,
        mount_label: Some(String::new()),
        process_label: Some(String::new()),
        app_armor_profile: Some(String::new()),
        exec_ids: (!execs.is_empty()).then_some(execs),
        host_config: Some(record.host_config.clone()),
        graph_driver: Some(models::DriverData { name: "overlay2".into(), data: HashMap::new() }),
        size_rw: size.map(|size| size.written),
        size_root_fs: size.map(|size| size.all),
        mounts: Some(record.mounts.clone()),
        config: Some(record.config.clone()),
        network_settings: Some(network_settings(container)),
    }
}

/// `State`.
fn state(state: &State, health: Option<models::Health>) -> ContainerState {
    let is = |statuses: &[Status]| Some(statuses.contains(&state.status));
    ContainerState {
        status: Some(status(state.status)),
        running: is(&[Status::Running, Status::Paused, Status::Restarting]),
        paused: is(&[Status::Paused]),
        restarting: is(&[Status::Restarting]),
        oom_killed: Some(state.oom_killed),
        dead: is(&[Status::Dead]),
        pid: Some(state.pid.into()),
        exit_code: Some(state.exit_code),
        error: Some(state.error.clone()),
        started_at: Some(time::trimmed_or_never(state.started)),
        finished_at: Some(time::trimmed_or_never(state.finished)),
        health,
    }
}

const fn status(status: Status) -> ContainerStateStatusEnum {
    match status {
        Status::Created => ContainerStateStatusEnum::CREATED,
        Status::Running => ContainerStateStatusEnum::RUNNING,
        Status::Paused => ContainerStateStatusEnum::PAUSED,
        Status::Restarting => ContainerStateStatusEnum::RESTARTING,
        Status::Removing => ContainerStateStatusEnum::REMOVING,
        Status::Exited => ContainerStateStatusEnum::EXITED,
        Status::Dead => ContainerStateStatusEnum::DEAD,
    }
}

/// `NetworkSettings`: the networks by name, and the default network's addresses again on their own.
fn network_settings(container: &Container) -> NetworkSettings {
    let networks = container.endpoints();
    let bridge = networks.get("bridge").cloned().unwrap_or_default();
    NetworkSettings {
        bridge: Some(String::new()),
        sandbox_id: Some(String::new()),
        sandbox_key: Some(String::new()),
        hairpin_mode: Some(false),
        link_local_ipv6_address: Some(String::new()),
        link_local_ipv6_prefix_len: Some(0),
        ports: Some(ports::map(container)),
        gateway: Some(bridge.gateway.unwrap_or_default()),
        ip_address: Some(bridge.ip_address.unwrap_or_default()),
        ip_prefix_len: Some(bridge.ip_prefix_len.unwrap_or_default()),
        ipv6_gateway: Some(bridge.ipv6_gateway.unwrap_or_default()),
        global_ipv6_address: Some(bridge.global_ipv6_address.unwrap_or_default()),
        global_ipv6_prefix_len: Some(bridge.global_ipv6_prefix_len.unwrap_or_default()),
        mac_address: Some(bridge.mac_address.unwrap_or_default()),
        endpoint_id: Some(bridge.endpoint_id.unwrap_or_default()),
        networks: Some(networks),
        ..NetworkSettings::default()
    }
}
