//! What `summon`, `run` and `throttle` say of the speed of disks. Names and forms are Docker's.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use pod::limits::{LimitKind, LimitWish};

use crate::failure::Failure;

/// Limits of disks.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Limits of disks: PATH is /, where a volume is mounted, or a volume's name")]
pub(crate) struct LimitArgs {
    /// Read at most so many bytes a second, as in /:10m; 0: any number
    #[arg(long, value_name = "PATH:BYTES")]
    pub(crate) device_read_bps: Vec<String>,
    /// Write at most so many bytes a second
    #[arg(long, value_name = "PATH:BYTES")]
    pub(crate) device_write_bps: Vec<String>,
    /// Make at most so many requests a second that read, as in /:100
    #[arg(long, value_name = "PATH:NUMBER")]
    pub(crate) device_read_iops: Vec<String>,
    /// Make at most so many requests a second that write
    #[arg(long, value_name = "PATH:NUMBER")]
    pub(crate) device_write_iops: Vec<String>,
}

impl LimitArgs {
    fn all(&self) -> [(LimitKind, &'static str, &[String]); 4] {
        [
            (LimitKind::ReadBps, "device-read-bps", &self.device_read_bps),
            (LimitKind::WriteBps, "device-write-bps", &self.device_write_bps),
            (LimitKind::ReadIops, "device-read-iops", &self.device_read_iops),
            (LimitKind::WriteIops, "device-write-iops", &self.device_write_iops),
        ]
    }

    /// What is asked for.
    pub(crate) fn wishes(&self) -> Result<Vec<LimitWish>, Failure> {
        let all = self.all().into_iter().flat_map(|(kind, name, values)| {
            values.iter().map(move |value| {
                let wish = kind.parse(value).with_context(|| format!("invalid value for --{name}"));
                wish.map_err(Failure::from)
            })
        });
        all.collect()
    }

    /// The arguments once more, for a process that is to have the same.
    pub(crate) fn arguments(&self) -> Vec<String> {
        let option = |name: &'static str| move |value: &String| format!("--{name}={value}");
        self.all().into_iter().flat_map(|(_, name, values)| values.iter().map(option(name))).collect()
    }
}

/// `kcradle throttle`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
        kcradle throttle --device-write-bps /:10m --device-write-iops /:200 ./web\n  \
        kcradle throttle --device-write-bps /:0 ./web    # as fast as the host again\n  \
        kcradle throttle ./web                           # what holds, as JSON")]
pub(crate) struct ThrottleArgs {
    /// The pod directory
    pub(crate) dir: PathBuf,
    #[command(flatten)]
    pub(crate) limits: LimitArgs,
}
