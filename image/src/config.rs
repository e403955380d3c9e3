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
            "OnBuild":null,"Healthcheck":{"Test":["NONE"]}},"rootfs":{"type":"layers","diff_ids":null}}"#;
        let config: ImageConfig = serde_json::from_str(json).unwrap();
        assert_eq!(config.config.env, ["A=b"]);
        assert!(config.config.cmd.is_empty() && config.rootfs.diff_ids.is_empty());
    }
}
