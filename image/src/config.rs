//! The image configuration (OCI image specification 1.1, "Image Configuration", and Docker's image JSON), as far
//! as a container needs it. Every list may be missing or null: Docker writes both.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

use crate::digest::Digest;

/// An image's configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct ImageConfig {
    /// When the image was made, RFC 3339; empty where unknown.
    #[serde(default, deserialize_with = "null_is_default")]
    pub created: String,
    /// The processor architecture, as in `amd64`.
    #[serde(default, deserialize_with = "null_is_default")]
    pub architecture: String,
    /// The operating system, as in `linux`.
    #[serde(default, deserialize_with = "null_is_default")]
    pub os: String,
    /// What a container of this image runs.
    #[serde(default, deserialize_with = "null_is_default")]
    pub config: RunConfig,
    /// The layers.
    pub rootfs: RootFs,
}

/// The layers of an image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct RootFs {
    /// Digests of the uncompressed layers, lowest first.
    #[serde(default, deserialize_with = "null_is_default")]
    pub diff_ids: Vec<Digest>,
}

/// What a container of an image runs where the user says nothing else.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct RunConfig {
    /// `user[:group]`, names or numbers; empty: root.
    #[serde(deserialize_with = "null_is_default")]
    pub user: String,
    /// `NAME=value` each.
    #[serde(deserialize_with = "null_is_default")]
    pub env: Vec<String>,
    /// The entry point.
    #[serde(deserialize_with = "null_is_default")]
    pub entrypoint: Vec<String>,
    /// The command, or the entry point's default arguments.
    #[serde(deserialize_with = "null_is_default")]
    pub cmd: Vec<String>,
    /// The working directory; empty: `/`.
    #[serde(deserialize_with = "null_is_default")]
    pub working_dir: String,
    /// Paths of anonymous volumes (the keys).
    #[serde(deserialize_with = "null_is_default")]
    pub volumes: BTreeMap<String, serde_json::Value>,
    /// Ports such as `80/tcp` (the keys).
    #[serde(deserialize_with = "null_is_default")]
    pub exposed_ports: BTreeMap<String, serde_json::Value>,
    /// Labels.
    #[serde(deserialize_with = "null_is_default")]
    pub labels: BTreeMap<String, String>,
    /// The stop signal by name or number; empty: SIGTERM.
    #[serde(deserialize_with = "null_is_default")]
    pub stop_signal: String,
    /// What runs lines of commands, with its arguments; empty: `/bin/sh -c`.
    #[serde(deserialize_with = "null_is_default")]
    pub shell: Vec<String>,
    /// How to find out whether a container works.
    pub healthcheck: Option<Healthcheck>,
}

/// A health check as an image has it (Docker's `HealthConfig`). Times are nanoseconds; 0 takes Docker's default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Healthcheck {
    /// `["NONE"]`, `["CMD", program, arguments…]` or `["CMD-SHELL", line]`.
    #[serde(deserialize_with = "null_is_default")]
    pub test: Vec<String>,
    /// From the end of one check to the start of the next.
    #[serde(deserialize_with = "null_is_default")]
    pub interval: i64,
    /// After which a check is killed and counts as failed.
    #[serde(deserialize_with = "null_is_default")]
    pub timeout: i64,
    /// After a start, in which failures do not count.
    #[serde(deserialize_with = "null_is_default")]
    pub start_period: i64,
    /// In place of `interval` during `start_period`.
    #[serde(deserialize_with = "null_is_default")]
    pub start_interval: i64,
    /// Failures in a row that make a container unhealthy.
    #[serde(deserialize_with = "null_is_default")]
    pub retries: i64,
}

fn null_is_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(from: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nulls_and_gaps_are_defaults() {
        let json = r#"{"architecture":"amd64","os":"linux","config":{"Cmd":null,"Volumes":null,"Env":["A=b"],
            "OnBuild":null,"Shell":null,"Healthcheck":{"Test":["NONE"],"Interval":null}},"rootfs":{"type":"layers","diff_ids":null}}"#;
        let config: ImageConfig = serde_json::from_str(json).unwrap();
        assert_eq!(config.config.env, ["A=b"]);
        assert!(config.config.cmd.is_empty() && config.rootfs.diff_ids.is_empty());
        assert_eq!(config.config.healthcheck.unwrap().test, ["NONE"]);
        let json = r#"{"config":{"Healthcheck":null},"rootfs":{}}"#;
        assert_eq!(serde_json::from_str::<ImageConfig>(json).unwrap().config.healthcheck, None);
        let json = r#"{"config":{"Healthcheck":{"Test":["CMD-SHELL","x"],"Interval":30000000000,"Timeout":1000000000,
            "StartPeriod":5000000000,"StartInterval":2000000000,"Retries":3}},"rootfs":{}}"#;
        let health = serde_json::from_str::<ImageConfig>(json).unwrap().config.healthcheck.unwrap();
        assert_eq!((health.interval, health.timeout), (30_000_000_000, 1_000_000_000));
        assert_eq!((health.start_period, health.start_interval), (5_000_000_000, 2_000_000_000));
        assert_eq!((health.retries, health.test.len()), (3, 2));
    }
}
