//! `POST /containers/{id}/update`: other limits and another restart policy, at once and for the runs to come.

use std::rc::Rc;

use bollard_stubs::models::{ContainerUpdateBody, HostConfig};
use bytes::Bytes;
use hyper::{Method, StatusCode};
use pod::{PodDir, atomic_file};
use serde_json::{Value, json};
use vdocker::EngineError;
use vdocker::response::{self, Response};

use super::record::Status;
use super::{Container, lifecycle, options, process};
use crate::context::Context;
use crate::daemon::Daemon;
use crate::failure::{chain, failed};
use crate::pods::client::{self, Upload};

/// `POST /containers/{id}/update`.
pub(super) async fn update(mut context: Context) -> Result<Response, EngineError> {
    let container = context.daemon.containers.find(&context.name)?;
    let daemon = Rc::clone(&context.daemon);
    let wish: ContainerUpdateBody = context.json().await?;
    let headers = context.headers;
    let warnings = lifecycle::whole(async move {
        let _operation = container.operation.lock().await;
        change(&daemon, &container, &wish, &headers).await
    });
    let warnings = warnings.await?;
    response::json(StatusCode::OK, &json!({ "Warnings": (!warnings.is_empty()).then_some(warnings) }))
}

async fn change(
    daemon: &Rc<Daemon>,
    container: &Rc<Container>,
    wish: &ContainerUpdateBody,
    headers: &hyper::HeaderMap,
) -> Result<Vec<String>, EngineError> {
    if matches!(container.status(), Status::Removing | Status::Dead) {
        return Err(EngineError::Conflict(
            "Container is marked for removal and cannot be \"update\".".into(),
        ));
    }
    let mut host = container.record.borrow().host_config.clone();
    let before = host.clone();
    merge(&mut host, wish);
    let mut warnings = options::check(&host)?;
    let had = options::check(&before).unwrap_or_default();
    if container.is_reachable.get() {
        tell_pod(daemon, container, &before, &host, headers).await?;
        if process::memory(&host) > process::memory(&before) {
            warnings.push(
                "A microVM that runs does not grow: it gets its memory with the next start.".to_owned(),
            );
        }
    }
    container.record.borrow_mut().host_config = host;
    container.change(daemon, |_| {}, [container.event("update", &[])]).await?;
    rewrite(daemon, container).await?;
    Ok(warnings.into_iter().filter(|warning| !had.contains(warning)).collect())
}

/// What is given and not 0 takes the place of what was.
fn merge(host: &mut HostConfig, wish: &ContainerUpdateBody) {
    let or = |number: &mut Option<i64>, wish: Option<i64>| {
        if let Some(wish) = wish.filter(|wish| *wish != 0) {
            *number = Some(wish);
        }
    };
    // Either form of a limit replaces the other.
    if wish.nano_cpus.unwrap_or_default() != 0 {
        (host.cpu_quota, host.cpu_period) = (Some(0), Some(0));
    } else if wish.cpu_quota.unwrap_or_default() != 0 {
        host.nano_cpus = Some(0);
    }
    or(&mut host.memory, wish.memory);
    or(&mut host.memory_swap, wish.memory_swap);
    or(&mut host.memory_reservation, wish.memory_reservation);
    or(&mut host.nano_cpus, wish.nano_cpus);
    or(&mut host.cpu_quota, wish.cpu_quota);
    or(&mut host.cpu_period, wish.cpu_period);
    or(&mut host.cpu_shares, wish.cpu_shares);
    or(&mut host.pids_limit, wish.pids_limit);
    let text = |text: &mut Option<String>, wish: &Option<String>| {
        if wish.as_deref().is_some_and(|wish| !wish.is_empty()) {
            text.clone_from(wish);
        }
    };
    text(&mut host.cpuset_cpus, &wish.cpuset_cpus);
    text(&mut host.cpuset_mems, &wish.cpuset_mems);
    if let Some(policy) = wish.restart_policy.clone()
        && policy.name.is_some_and(|name| !name.to_string().is_empty())
    {
        host.restart_policy = Some(policy);
    }
}

/// Changes the limits of a container that runs.
async fn tell_pod(
    daemon: &Daemon,
    container: &Container,
    before: &HostConfig,
    host: &HostConfig,
    headers: &hyper::HeaderMap,
) -> Result<(), EngineError> {
    if process::limits(before)? == process::limits(host)? {
        return Ok(());
    }
    let mut body = json!({});
    let mut set = |name: &str, before: Option<i64>, wish: Option<i64>| {
        if let Some(wish) = wish.filter(|_| before != wish) {
            body[name] = Value::from(wish);
        }
    };
    set("Memory", before.memory, host.memory);
    set(
        "NanoCpus",
        before.nano_cpus.filter(|number| *number != 0),
        host.nano_cpus.filter(|number| *number != 0),
    );
    set(
        "CpuQuota",
        before.cpu_quota.filter(|number| *number != 0),
        host.cpu_quota.filter(|number| *number != 0),
    );
    set(
        "CpuPeriod",
        before.cpu_period.filter(|number| *number != 0),
        host.cpu_period.filter(|number| *number != 0),
    );
    set("PidsLimit", before.pids_limit, host.pids_limit);
    let dir = daemon.pods.of(&container.id).map_err(|error| failed(&error))?;
    let target = format!("/containers/{}/update", container.id);
    let body = Upload::Bytes(Bytes::from(body.to_string()));
    client::good(client::send(client::connect(&dir)?, Method::POST, &target, headers, body).await?).await?;
    Ok(())
}

/// Tells the pod's next start what has been changed since it was made.
async fn rewrite(daemon: &Rc<Daemon>, container: &Container) -> Result<(), EngineError> {
    let dir = daemon.pods.of(&container.id).map_err(|error| failed(&error))?;
    let host = container.record.borrow().host_config.clone();
    let rewritten = daemon.blocking(move || rewrite_launch(&dir, &host)).await?;
    rewritten.map_err(|error| EngineError::Failed(format!("cannot change the pod: {error}")))
}

fn rewrite_launch(dir: &PodDir, host: &HostConfig) -> Result<(), String> {
    let mut launch = dir.read_launch().map_err(|error| chain(&error))?;
    let before = launch.clone();
    (launch.resources.cpu, launch.resources.mem) =
        (process::cpus(host).map_err(|error| error.to_string())?, process::memory(host));
    if let Some(container) = launch.containers.first_mut() {
        container.limits = process::limits(host).map_err(|error| error.to_string())?;
    }
    if launch == before {
        return Ok(());
    }
    let json = serde_json::to_vec_pretty(&launch).map_err(|error| error.to_string())?;
    atomic_file::write(&dir.launch(), &json, 0o600).map_err(|error| error.to_string())
}
