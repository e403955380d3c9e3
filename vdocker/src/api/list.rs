//! A container in `GET /containers/json`.

use std::collections::BTreeMap;

use serde::Serialize;

use super::container::Mount;
use super::network::{self, NetworkSummary};
use super::{NoItems, container};
use crate::container::{Container, ContainerState, Health, HealthStatus, Status};
use crate::time;

/// The filters of a list of containers.
pub const FILTERS: [&str; 15] = [
    "ancestor",
    "before",
    "exited",
    "expose",
    "health",
    "id",
    "is-task",
    "isolation",
    "label",
    "name",
    "network",
    "publish",
    "since",
    "status",
    "volume",
];

/// The words of its filter `status`.
pub const STATUSES: [&str; 7] = ["created", "running", "paused", "restarting", "removing", "exited", "dead"];

/// The words of its filter `health`.
pub const HEALTHS: [&str; 4] = ["none", "starting", "healthy", "unhealthy"];

/// A container, shortly.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[expect(missing_docs, reason = "the names are those of the Docker Engine API")]
pub struct Summary {
    pub id: String,
    pub names: [String; 1],
    pub image: String,
    #[serde(rename = "ImageID")]
    pub image_id: String,
    pub command: String,
    pub created: i64,
    pub ports: NoItems,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size_rw: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size_root_fs: Option<u64>,
    pub labels: BTreeMap<String, String>,
    pub state: &'static str,
    pub status: String,
    pub host_config: SummaryHostConfig,
    pub network_settings: NetworkSummary,
    pub mounts: Vec<Mount>,
}

/// `HostConfig`, shortly.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct SummaryHostConfig {
    /// The network mode.
    pub network_mode: &'static str,
}

impl Summary {
    /// Describes a container; `size` as the engine's `disk_usage` has it.
    #[must_use]
    pub fn new(container: &Container, state: &ContainerState, size: Option<(u64, u64)>) -> Self {
        let spec = &container.spec;
        Self {
            id: container.id.clone(),
            names: [format!("/{}", spec.name)],
            image: spec.image.reference.clone(),
            image_id: spec.image.digest.clone(),
            command: command(&spec.process.cmd),
            created: time::unix(container.created),
            ports: [],
            size_rw: size.map(|(written, _)| written).filter(|&bytes| bytes > 0),
            size_root_fs: size.map(|(_, all)| all).filter(|&bytes| bytes > 0),
            labels: spec.labels.clone(),
            state: state.status.word(),
            status: status(state),
            host_config: SummaryHostConfig { network_mode: network::MODE },
            network_settings: NetworkSummary::default(),
            mounts: container::mounts(spec),
        }
    }
}

/// Program and arguments in one line; arguments with blanks in single quotes.
fn command(cmd: &[String]) -> String {
    let quoted = cmd.iter().enumerate().map(|(index, word)| {
        let quote = index > 0 && word.contains(' ');
        if quote { format!("'{word}'") } else { word.clone() }
    });
    quoted.collect::<Vec<_>>().join(" ")
}

/// Docker's sentence about a container: `Up 5 seconds`, `Exited (137) 3 minutes ago`, …
#[must_use]
pub fn status(state: &ContainerState) -> String {
    let ago = |time: Option<std::time::SystemTime>| {
        time.and_then(|time| time.elapsed().ok()).unwrap_or_default().as_secs()
    };
    match state.status {
        Status::Created => "Created".into(),
        Status::Paused => format!("Up {} (Paused)", duration(ago(state.started))),
        Status::Restarting => {
            format!("Restarting ({}) {} ago", state.exit_code, duration(ago(state.finished)))
        }
        Status::Exited => {
            format!("Exited ({}) {} ago", state.exit_code, duration(ago(state.finished)))
        }
        Status::Running => {
            let health = state.health.as_ref().map(health_words).unwrap_or_default();
            format!("Up {}{health}", duration(ago(state.started)))
        }
    }
}

const fn health_words(health: &Health) -> &'static str {
    match health.status {
        HealthStatus::Starting => " (health: starting)",
        HealthStatus::Healthy => " (healthy)",
        HealthStatus::Unhealthy => " (unhealthy)",
    }
}

/// Seconds in Docker's rounded words.
#[must_use]
pub fn duration(seconds: u64) -> String {
    let (minutes, hours) = (seconds / 60, (seconds + 1800) / 3600);
    match seconds {
        0 => "Less than a second".into(),
        1 => "1 second".into(),
        2..60 => format!("{seconds} seconds"),
        _ if minutes == 1 => "About a minute".into(),
        _ if minutes < 60 => format!("{minutes} minutes"),
        _ if hours == 1 => "About an hour".into(),
        _ if hours < 48 => format!("{hours} hours"),
        _ if hours < 24 * 14 => format!("{} days", hours / 24),
        _ if hours < 24 * 60 => format!("{} weeks", hours / 24 / 7),
        _ if hours < 24 * 730 => format!("{} months", hours / 24 / 30),
        _ => format!("{} years", hours / 24 / 365),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, SystemTime};

    #[test]
    fn durations_are_rounded_as_docker_does() {
        for (seconds, words) in [
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (60, "About a minute"),
            (119, "About a minute"),
            (120, "2 minutes"),
            (3599, "59 minutes"),
            (3600, "About an hour"),
            (5399, "About an hour"),
            (5400, "2 hours"),
            (47 * 3600, "47 hours"),
            (49 * 3600, "2 days"),
            (15 * 86_400, "2 weeks"),
            (70 * 86_400, "2 months"),
            (800 * 86_400, "2 years"),
        ] {
            assert_eq!(duration(seconds), words, "{seconds}");
        }
    }

    #[test]
    fn states_have_their_sentence() {
        let past = Some(SystemTime::now() - Duration::from_secs(200));
        let mut state =
            ContainerState { started: past, finished: past, exit_code: 137, ..ContainerState::default() };
        let mut sentence = |status: Status| {
            state.status = status;
            super::status(&state)
        };
        assert_eq!(sentence(Status::Created), "Created");
        assert_eq!(sentence(Status::Running), "Up 3 minutes");
        assert_eq!(sentence(Status::Paused), "Up 3 minutes (Paused)");
        assert_eq!(sentence(Status::Restarting), "Restarting (137) 3 minutes ago");
        assert_eq!(sentence(Status::Exited), "Exited (137) 3 minutes ago");
        state.health = Some(Health { status: HealthStatus::Healthy, ..Health::default() });
        state.status = Status::Running;
        assert_eq!(super::status(&state), "Up 3 minutes (healthy)");
    }

    #[test]
    fn commands_are_quoted_where_they_have_blanks() {
        let words = ["sh", "-c", "sleep 1", "x"].map(str::to_owned);
        assert_eq!(command(&words), "sh -c 'sleep 1' x");
    }
}
