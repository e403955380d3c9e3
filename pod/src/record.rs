//! `pod.json`: what the host keeps about a pod and the guest is not told. Written when it is made.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::limits::Limits;
use crate::share::ShareRecord;

use crate::network::Networking;

/// The version of [`PodRecord`].
pub const VERSION: u32 = 1;

/// The content of `pod.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct PodRecord {
    /// [`VERSION`].
    pub version: u32,
    /// The pod's id, as in launch.json.
    pub id: String,
    /// Seconds since 1970 at which the pod was summoned.
    pub created: u64,
    /// The state directory whose store holds the images.
    pub home: PathBuf,
    /// The pod's labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// What `run` does when the virtual machine has ended.
    pub restart: RestartPolicy,
    /// The images, one a container.
    pub images: Vec<ImageRecord>,
    /// The disks, in the order of launch.json.
    pub disks: Vec<DiskRecord>,
    /// Directories and files of the host, in the order of launch.json.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shares: Vec<ShareRecord>,
    /// The networks that it is on while it runs, and what it asks of them.
    #[serde(default, skip_serializing_if = "Networking::is_none")]
    pub networking: Networking,
    /// How fast the disks may be.
    #[serde(default, skip_serializing_if = "Limits::is_empty")]
    pub limits: Limits,
}

/// The image of a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ImageRecord {
    /// As the user wrote it.
    pub reference: String,
    /// The manifest's digest; empty where the source had none.
    pub digest: String,
}

/// A disk of the virtual machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", tag = "kind")]
pub enum DiskRecord {
    /// Files of the store, one behind the other, read-only.
    Image {
        /// The files.
        extents: Vec<Extent>,
    },
    /// `scratch.ext4` of the pod directory.
    Scratch,
    /// A named volume.
    #[serde(rename_all = "camelCase")]
    Volume {
        /// Its name, as in launch.json.
        name: String,
        /// The file or device of its file system.
        path: PathBuf,
        /// Whether nobody in the pod writes to it.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        read_only: bool,
    },
}

/// A file that is a part of a disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Extent {
    /// The file.
    pub path: PathBuf,
    /// Its length in bytes when the pod was summoned; another length is refused at run.
    pub length: u64,
}

/// What `kcradle run` does when the virtual machine has ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum RestartPolicy {
    /// It ends too.
    #[default]
    No,
    /// It starts the machine again after a failure, so many times at most; 0: without end.
    OnFailure(u32),
    /// It starts the machine again until it is stopped.
    Always,
    /// As `Always`; they differ only where something starts pods at boot.
    UnlessStopped,
}

impl RestartPolicy {
    /// Whether to start again after an end with `code`, `restarts` restarts having been made.
    #[must_use]
    pub fn restarts(self, code: u8, restarts: u32) -> bool {
        match self {
            Self::No => false,
            Self::OnFailure(limit) => code != 0 && (limit == 0 || restarts < limit),
            Self::Always | Self::UnlessStopped => true,
        }
    }
}

impl fmt::Display for RestartPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::No => f.write_str("no"),
            Self::OnFailure(0) => f.write_str("on-failure"),
            Self::OnFailure(limit) => write!(f, "on-failure:{limit}"),
            Self::Always => f.write_str("always"),
            Self::UnlessStopped => f.write_str("unless-stopped"),
        }
    }
}

impl FromStr for RestartPolicy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("\"{text}\" is no restart policy; write no, on-failure[:N], always or unless-stopped");
        match text.split_once(':') {
            None => match text {
                "" | "no" => Ok(Self::No),
                "on-failure" => Ok(Self::OnFailure(0)),
                "always" => Ok(Self::Always),
                "unless-stopped" => Ok(Self::UnlessStopped),
                _ => Err(wrong()),
            },
            Some(("on-failure", count)) => Ok(Self::OnFailure(count.parse().map_err(|_| wrong())?)),
            Some(_) => Err(wrong()),
        }
    }
}

impl From<RestartPolicy> for String {
    fn from(policy: RestartPolicy) -> Self {
        policy.to_string()
    }
}

impl TryFrom<String> for RestartPolicy {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_survive_their_text() {
        for text in ["no", "on-failure", "on-failure:3", "always", "unless-stopped"] {
            assert_eq!(text.parse::<RestartPolicy>().unwrap().to_string(), text);
        }
        for text in ["never", "always:1", "on-failure:x", "on-failure:-1"] {
            assert!(text.parse::<RestartPolicy>().unwrap_err().contains(text));
        }
    }

    #[test]
    fn policies_decide() {
        assert!(!RestartPolicy::No.restarts(1, 0));
        assert!(!RestartPolicy::OnFailure(0).restarts(0, 0));
        assert!(RestartPolicy::OnFailure(0).restarts(1, 1000));
        assert!(RestartPolicy::OnFailure(2).restarts(1, 1));
        assert!(!RestartPolicy::OnFailure(2).restarts(1, 2));
        assert!(RestartPolicy::Always.restarts(0, 7));
    }

    #[test]
    fn the_record_has_this_form() {
        let record = PodRecord {
            version: VERSION,
            id: "ab".into(),
            created: 1,
            home: "/var/lib/cradle".into(),
            labels: BTreeMap::from([("a".into(), "b".into())]),
            restart: RestartPolicy::OnFailure(3),
            images: vec![ImageRecord { reference: "busybox".into(), digest: String::new() }],
            disks: vec![
                DiskRecord::Image { extents: vec![Extent { path: "/x".into(), length: 4096 }] },
                DiskRecord::Scratch,
                DiskRecord::Volume { name: "db".into(), path: "/volumes/db.ext4".into(), read_only: false },
            ],
            shares: vec![ShareRecord {
                tag: "share0".into(),
                path: "/srv".into(),
                file: false,
                read_only: true,
                create: false,
                cache: crate::share::Cache::Auto,
                volume: None,
                untrusted: false,
            }],
            networking: Networking::default(),
            limits: Limits::from([("/".into(), spec::DiskLimits { write_bps: 512, ..Default::default() })]),
        };
        let golden = concat!(
            r#"{"version":1,"id":"ab","created":1,"home":"/var/lib/cradle","labels":{"a":"b"},"#,
            r#""restart":"on-failure:3","images":[{"reference":"busybox","digest":""}],"#,
            r#""disks":[{"kind":"image","extents":[{"path":"/x","length":4096}]},{"kind":"scratch"},"#,
            r#"{"kind":"volume","name":"db","path":"/volumes/db.ext4"}],"#,
            r#""shares":[{"tag":"share0","path":"/srv","readOnly":true}],"limits":{"/":{"writeBps":512}}}"#,
        );
        assert_eq!(serde_json::to_string(&record).unwrap(), golden);
        assert_eq!(serde_json::from_str::<PodRecord>(golden).unwrap(), record);
    }
}
