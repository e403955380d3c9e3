//! The grammar of `kcradle volume`. Names and forms are Docker's.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// `kcradle volume`.
#[derive(Debug, Subcommand)]
pub(crate) enum VolumeCommand {
    /// Make a volume
    #[command(after_help = "Drivers:\n  \
        local   a disk of its own: -o size=20g; one pod has it at a time, or several that only read\n  \
        gfs     a directory of this host: one pod writes, others read; several write with -o writers=many\n\n\
        Examples:\n  \
        kcradle volume create -o size=20g db\n  \
        kcradle volume create --driver gfs -o writers=many shared\n  \
        kcradle volume create --device /dev/vg/data data    # an ext4 on it is used, zeros are formatted, else it is refused")]
    Create(CreateArgs),
    /// List volumes
    #[command(after_help = "Examples:\n  kcradle volume ls\n  kcradle volume ls --json | jq -r '.[].name'")]
    Ls(LsArgs),
    /// Describe volumes, as JSON
    #[command(after_help = "Examples:\n  kcradle volume inspect db")]
    Inspect(NamesArgs),
    /// Remove volumes that no pod has; a device or a file of yours stays
    #[command(
        after_help = "Examples:\n  kcradle volume rm db\n  kcradle volume rm --force db    # no error where it is not there"
    )]
    Rm(RmArgs),
    /// Remove volumes without a name that no pod has
    #[command(
        after_help = "Examples:\n  kcradle volume prune\n  kcradle volume prune --all      # those with names too"
    )]
    Prune(PruneArgs),
    /// Make a volume larger, also while a pod has it
    #[command(after_help = "Examples:\n  \
        kcradle volume resize db 40g\n  \
        kcradle volume resize data      # of a device: to what it has now")]
    Resize(ResizeArgs),
}

/// `kcradle volume create`.
#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    /// Its name [default: a random one]
    pub(crate) name: Option<String>,
    /// What it is: local or gfs [default: local]
    #[arg(long, short)]
    pub(crate) driver: Option<String>,
    /// An option of the driver
    #[arg(long, short, value_name = "NAME=VALUE")]
    pub(crate) opt: Vec<String>,
    /// Use a block device or a file that is there
    #[arg(long, value_name = "PATH")]
    pub(crate) device: Option<PathBuf>,
    /// Give the volume a label
    #[arg(long, value_name = "NAME[=VALUE]")]
    pub(crate) label: Vec<String>,
}

/// `kcradle volume ls`.
#[derive(Debug, Args)]
pub(crate) struct LsArgs {
    /// Print the names alone
    #[arg(long, short)]
    pub(crate) quiet: bool,
    /// Print JSON
    #[arg(long, conflicts_with = "quiet")]
    pub(crate) json: bool,
}

/// `kcradle volume inspect`.
#[derive(Debug, Args)]
pub(crate) struct NamesArgs {
    /// Names of volumes
    #[arg(required = true, value_name = "VOLUME")]
    pub(crate) volumes: Vec<String>,
}

/// `kcradle volume rm`.
#[derive(Debug, Args)]
pub(crate) struct RmArgs {
    /// Names of volumes
    #[arg(required = true, value_name = "VOLUME")]
    pub(crate) volumes: Vec<String>,
    /// Pass over what is not there
    #[arg(long, short)]
    pub(crate) force: bool,
}

/// `kcradle volume prune`.
#[derive(Debug, Args)]
pub(crate) struct PruneArgs {
    /// Also the volumes that have names
    #[arg(long, short)]
    pub(crate) all: bool,
    /// Print what was removed as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `kcradle volume resize`.
#[derive(Debug, Args)]
pub(crate) struct ResizeArgs {
    /// The volume's name
    #[arg(value_name = "VOLUME")]
    pub(crate) name: String,
    /// Its new size, as in 40g
    pub(crate) size: Option<String>,
}
