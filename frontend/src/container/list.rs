//! `GET /containers/json`: the containers, newest first, narrowed by filters.

use std::ops::RangeInclusive;
use std::rc::Rc;
use std::time::SystemTime;

use bollard_stubs::models::{
    ContainerSummary, ContainerSummaryHostConfig, ContainerSummaryNetworkSettings, ContainerSummaryStateEnum,
    HealthStatusEnum,
};
use hyper::StatusCode;
use vdocker::EngineError;
use vdocker::api::list::{FILTERS, HEALTHS, STATUSES, duration};
use vdocker::filters::Filters;
use vdocker::response::{self, Response};
use vdocker::time;

use super::record::{Record, Status};
use super::sizes::{self, Sizes};
use super::{Container, Life, ports};
use crate::context::Context;
use crate::daemon::Daemon;
use crate::patterns::Patterns;

/// What is listed.
struct Selection {
    exposed: Vec<PortRange>,
    published: Vec<PortRange>,
    filters: Filters,
    names: Patterns,
    ids: Patterns,
    exited: Vec<i64>,
    /// The ids of the images that are asked for, and what was asked.
    ancestors: Option<(Vec<String>, Vec<String>)>,
    /// Only containers older than that.
    before: Option<SystemTime>,
    /// Only containers newer than that.
    since: Option<SystemTime>,
    networks: Vec<String>,
    all: bool,
}

/// `GET /containers/json`.
pub(super) async fn list(context: Context) -> Result<Response, EngineError> {
    let daemon = &context.daemon;
    let limit = context
        .query
        .number("limit")?
        .and_then(|limit| usize::try_from(limit).ok())
        .filter(|&limit| limit > 0);
    let mut selection = Selection::new(daemon, Filters::from_query(&context.query, &FILTERS)?).await?;
    selection.all |= context.query.flag("all") || limit.is_some();
    let size = context.query.flag("size");
    let mut summaries = Vec::new();
    let found = daemon.containers.all().into_iter().filter(|container| selection.has(container));
    for container in found.take(limit.unwrap_or(usize::MAX)) {
        let mut summary = describe(&container);
        if size && let Some(Sizes { written, all }) = sizes::of(daemon, &container).await {
            (summary.size_rw, summary.size_root_fs) = (Some(written), Some(all));
        }
        summaries.push(summary);
    }
    response::json(StatusCode::OK, &summaries)
}

pub(crate) fn describe(container: &Container) -> ContainerSummary {
    let record = container.record.borrow();
    let life = container.life.borrow();
    ContainerSummary {
        id: Some(record.id.clone()),
        names: Some(vec![format!("/{}", record.name)]),
        image: Some(record.image.clone()),
        image_id: Some(record.image_id.clone()),
        image_manifest_descriptor: None,
        command: Some(command(&record)),
        created: Some(time::unix(record.created)),
        ports: Some(ports::list(container)),
        size_rw: None,
        size_root_fs: None,
        labels: Some(record.config.labels.clone().unwrap_or_default()),
        state: Some(state(life.state.status)),
        status: Some(sentence(&life)),
        host_config: Some(ContainerSummaryHostConfig {
            network_mode: record.host_config.network_mode.clone(),
            annotations: record.host_config.annotations.clone(),
        }),
        network_settings: Some(ContainerSummaryNetworkSettings { networks: Some(container.endpoints()) }),
        mounts: Some(record.mounts.clone()),
    }
}

/// Program and arguments in one line; arguments with blanks in single quotes.
fn command(record: &Record) -> String {
    let quoted =
        record.args.iter().map(|word| if word.contains(' ') { format!("'{word}'") } else { word.clone() });
    std::iter::once(record.path.clone()).chain(quoted).collect::<Vec<_>>().join(" ")
}

const fn state(status: Status) -> ContainerSummaryStateEnum {
    match status {
        Status::Created => ContainerSummaryStateEnum::CREATED,
        Status::Running => ContainerSummaryStateEnum::RUNNING,
        Status::Paused => ContainerSummaryStateEnum::PAUSED,
        Status::Restarting => ContainerSummaryStateEnum::RESTARTING,
        Status::Removing => ContainerSummaryStateEnum::REMOVING,
        Status::Exited => ContainerSummaryStateEnum::EXITED,
        Status::Dead => ContainerSummaryStateEnum::DEAD,
    }
}

/// Docker's sentence about a container: `Up 5 seconds`, `Exited (137) 3 minutes ago`, …
fn sentence(life: &Life) -> String {
    let ago = |time: Option<SystemTime>| {
        duration(time.and_then(|time| time.elapsed().ok()).unwrap_or_default().as_secs())
    };
    let state = &life.state;
    let (up, down) = (ago(state.started), ago(state.finished));
    match state.status {
        Status::Created => "Created".into(),
        Status::Running => format!("Up {up}{}", health_words(life)),
        Status::Paused => format!("Up {up} (Paused)"),
        Status::Restarting => format!("Restarting ({}) {down} ago", state.exit_code),
        Status::Exited => format!("Exited ({}) {down} ago", state.exit_code),
        Status::Removing => "Removal In Progress".into(),
        Status::Dead => "Dead".into(),
    }
}

fn health(life: &Life) -> HealthStatusEnum {
    life.health.as_ref().and_then(|health| health.status).unwrap_or(HealthStatusEnum::NONE)
}

fn health_words(life: &Life) -> &'static str {
    match health(life) {
        HealthStatusEnum::STARTING => " (health: starting)",
        HealthStatusEnum::HEALTHY => " (healthy)",
        HealthStatusEnum::UNHEALTHY => " (unhealthy)",
        HealthStatusEnum::EMPTY | HealthStatusEnum::NONE => "",
    }
}

impl Selection {
    async fn new(daemon: &Rc<Daemon>, filters: Filters) -> Result<Self, EngineError> {
        let known = |key: &str, words: &[&str]| match filters.values(key).find(|value| !words.contains(value))
        {
            Some(value) => Err(invalid(key, value)),
            None => Ok(()),
        };
        known("status", &STATUSES)?;
        known("health", &HEALTHS)?;
        filters.truth("is-task")?;
        let exited = filters.values("exited").map(|code| code.parse().map_err(|_| invalid("exited", code)));
        let created = |key: &str| {
            let named = filters.values(key).next().map(|name| daemon.containers.find(name)).transpose();
            named.map(|found| found.map(|container| container.record.borrow().created))
        };
        let networks = filters.values("network").map(|wanted| {
            daemon.networks.find(wanted).map_or_else(|_| wanted.to_owned(), |network| network.name)
        });
        let ports =
            |key| filters.values(key).map(|value| PortRange::parse(key, value)).collect::<Result<_, _>>();
        Ok(Self {
            exposed: ports("expose")?,
            published: ports("publish")?,
            names: Patterns::read(&filters, "name")?,
            ids: Patterns::read(&filters, "id")?,
            exited: exited.collect::<Result<_, _>>()?,
            ancestors: ancestors(daemon, &filters).await?,
            before: created("before")?,
            since: created("since")?,
            networks: networks.collect(),
            all: ["status", "before", "since", "exited"].iter().any(|key| filters.has(key)),
            filters,
        })
    }

    fn has(&self, container: &Container) -> bool {
        (self.all || container.is_running())
            && self.has_identity(container)
            && self.has_state(&container.life.borrow())
            && self.has_resources(&container.record.borrow())
    }

    fn has_identity(&self, container: &Container) -> bool {
        let record = container.record.borrow();
        let slashed = format!("/{}", record.name);
        let labels = record.config.labels.iter().flatten().map(|(name, value)| (name.clone(), value.clone()));
        self.names.pass(&[&record.name, &slashed])
            && self.ids.pass(&[&record.id])
            && self.before.is_none_or(|other| record.created < other)
            && self.since.is_none_or(|other| record.created > other)
            && self
                .ancestors
                .as_ref()
                .is_none_or(|(ids, names)| ids.contains(&record.image_id) || names.contains(&record.image))
            && self.filters.labels("label", &labels.collect())
    }

    fn has_state(&self, life: &Life) -> bool {
        let state = &life.state;
        let has_ended = state.status == Status::Exited && state.started.is_some();
        self.filters.exact("status", state.status.word())
            && self.filters.exact("health", health(life).as_ref())
            && (!self.filters.has("exited") || (has_ended && self.exited.contains(&state.exit_code)))
    }

    fn has_resources(&self, record: &Record) -> bool {
        let endpoints = record.networks.endpoints_config.iter().flatten();
        let mut on: Vec<_> = endpoints.map(|(name, _)| name).collect();
        on.retain(|name| self.networks.contains(name));
        let has = |ranges: &[PortRange], port: &String| ranges.iter().any(|range| range.has(port));
        let mut exposed = record.config.exposed_ports.iter().flatten();
        let mut published = record.host_config.port_bindings.iter().flatten();
        (self.networks.is_empty() || !on.is_empty())
            && self.filters.truth("is-task") != Ok(Some(true))
            && (self.exposed.is_empty() || exposed.any(|(port, _)| has(&self.exposed, port)))
            && (self.published.is_empty() || published.any(|(port, _)| has(&self.published, port)))
            && self.filters.any("volume", |wanted| {
                record.mounts.iter().any(|mount| {
                    mount.name.as_deref() == Some(wanted) || mount.destination.as_deref() == Some(wanted)
                })
            })
    }
}

/// `80`, `80/tcp` or `8000-8080/tcp`, among the filters.
struct PortRange {
    numbers: RangeInclusive<u16>,
    kind: String,
}

impl PortRange {
    fn parse(key: &str, text: &str) -> Result<Self, EngineError> {
        let (range, kind) = text.split_once('/').unwrap_or((text, "tcp"));
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let numbers = first.parse().ok().zip(last.parse().ok()).filter(|(first, last)| first <= last);
        let (first, last) = numbers.ok_or_else(|| invalid(key, text))?;
        Ok(Self { numbers: first..=last, kind: kind.to_ascii_lowercase() })
    }

    /// Whether a container's port, `80/tcp`, is in it.
    fn has(&self, port: &str) -> bool {
        let (number, kind) = port.split_once('/').unwrap_or((port, "tcp"));
        kind == self.kind && number.parse().is_ok_and(|number| self.numbers.contains(&number))
    }
}

/// The images that are asked for, and those that are made of them: theirs begin with the same layers.
async fn ancestors(
    daemon: &Rc<Daemon>,
    filters: &Filters,
) -> Result<Option<(Vec<String>, Vec<String>)>, EngineError> {
    if !filters.has("ancestor") {
        return Ok(None);
    }
    let names: Vec<_> = filters.values("ancestor").map(str::to_owned).collect();
    let (images, wanted) = (daemon.images.clone(), names.clone());
    let ids = daemon.blocking(move || {
        let found: Vec<_> = wanted.iter().filter_map(|name| images.image(name).ok()).collect();
        let all = images.images().unwrap_or_default();
        let below = |image: &image::StoredImage| {
            let layers = &image.config.rootfs.diff_ids;
            found
                .iter()
                .any(|above| above.id == image.id || layers.starts_with(&above.config.rootfs.diff_ids))
        };
        all.iter().filter(|image| below(image)).map(|image| image.id.to_string()).collect()
    });
    Ok(Some((ids.await?, names)))
}

fn invalid(key: &str, value: &str) -> EngineError {
    EngineError::BadRequest(format!("invalid filter '{key}={value}'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_found_by_number_range_and_protocol() {
        let has = |text: &str, port| PortRange::parse("publish", text).unwrap().has(port);
        assert!(has("80", "80/tcp") && has("80/tcp", "80/tcp") && has("70-90/TCP", "80/tcp"));
        assert!(!has("80/udp", "80/tcp") && !has("81", "80/tcp") && !has("80", "x"));
        for text in ["x", "", "90-70", "80-", "65536", "-1"] {
            assert!(PortRange::parse("publish", text).is_err(), "{text}");
        }
    }
}
