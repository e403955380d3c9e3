//! The grammar of the command line: every command, its arguments and its examples.

pub(crate) mod containers;
pub(crate) mod health;
pub(crate) mod limits;
pub(crate) mod network;
pub(crate) mod serve;
pub(crate) mod volume;

use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

use pod::RestartPolicy;
use spec::package::Machine;

use containers::{AttachArgs, CpArgs, ExecArgs, InspectArgs, LogsArgs, PsArgs, StatsArgs, TopArgs};
use health::HealthArgs;
use limits::{LimitArgs, ThrottleArgs};
use network::{NetworkArgs, NetworkCommand};
use serve::ServeArgs;
use volume::VolumeCommand;

/// Runs container images in microVMs of their own.
#[derive(Debug, Parser)]
#[command(
    name = "kcradle",
    version,
    about = "Runs any OCI or Docker image, unchanged, in a microVM of its own",
    disable_help_subcommand = true,
    after_help = "Examples:\n  \
        kcradle summon ./hello busybox echo hello   # make a pod of an image\n  \
        kcradle run ./hello                         # boot it; its exit code is the container's\n  \
        kcradle exec -it ./web sh                   # a shell in one that runs\n  \
        kcradle ls\n  \
        kcradle check                               # what this host lacks\n\n\
        Images and the list of pods are kept in $CRADLE_HOME: /var/lib/cradle for root,\n\
        ~/.local/share/cradle for others."
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// `kcradle run` without the other commands: to make the grammar of them all takes longer than to use it, and that is
/// part of each boot.
#[derive(Debug, Parser)]
#[command(name = "run", bin_name = "kcradle run", about = "Boot a pod and attach to it until it ends")]
pub(crate) struct RunCli {
    #[command(flatten)]
    pub(crate) args: RunArgs,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a pod directory of an image
    Summon(Box<SummonArgs>),
    /// Boot a pod and attach to it until it ends
    Run(RunArgs),
    /// Serve the Docker API of this host
    Serve(Box<ServeArgs>),
    /// List pods
    Ls(LsArgs),
    /// List the containers of a running pod
    Ps(PsArgs),
    /// Show what a container has written
    Logs(LogsArgs),
    /// Attach to a container of a running pod
    Attach(AttachArgs),
    /// Run a program in a container
    Exec(ExecArgs),
    /// Copy files from or into a container
    Cp(CpArgs),
    /// Show the processes of a container
    Top(TopArgs),
    /// Show what containers use
    Stats(StatsArgs),
    /// Describe containers
    Inspect(InspectArgs),
    /// Change how fast a pod's disks may be, also while it runs
    Throttle(ThrottleArgs),
    /// Stop running pods
    Stop(StopArgs),
    /// Remove pods
    Rm(RmArgs),
    /// Look after the images in the store
    #[command(
        subcommand,
        after_help = "Examples:\n  kcradle image ls\n  kcradle image rm redis:7\n  kcradle image prune --all"
    )]
    Image(ImageCommand),
    /// Look after volumes, which outlive pods
    #[command(
        subcommand,
        after_help = "Examples:\n  kcradle volume create -o size=20g db\n  kcradle summon ./db -v db:/var/lib/mysql mariadb\n  \
            kcradle volume resize db 40g"
    )]
    Volume(VolumeCommand),
    /// Look after networks of pods
    #[command(
        subcommand,
        after_help = "Examples:\n  kcradle network create shop\n  kcradle summon ./db --network shop mariadb\n  \
            kcradle network ls"
    )]
    Network(NetworkCommand),
    /// Judge, measure and compare attested pods
    #[command(subcommand)]
    Attest(attest::command::AttestCommand),
    /// Say what this host lacks to run pods, and how to mend it
    Check(CheckArgs),
    /// Print a completion script for a shell
    Completions(CompletionsArgs),
}

/// Kinds of machines by their names.
fn machines() -> impl TypedValueParser<Value = Machine> {
    const KINDS: [Machine; 2] = [Machine::Default, Machine::Snp];
    let find = |name: String| KINDS.into_iter().find(|kind| kind.name() == name).unwrap_or(Machine::Default);
    PossibleValuesParser::new(KINDS.map(Machine::name)).map(find)
}

/// `kcradle summon`.
#[derive(Debug, Args)]
#[command(after_help = "Images:\n  \
        redis:7, docker://redis:7              from the store or a registry; from a registry\n  \
        docker-archive:FILE[:NAME]             what `docker save` wrote\n  \
        oci:DIR[:TAG], oci-archive:FILE[:TAG]  an OCI image layout\n  \
        docker-daemon:NAME                     from the local Docker daemon\n  \
        bundle:DIR                             an unpacked image: rootfs and config.json\n\n\
        Examples:\n  \
        kcradle summon ./web --memory 256m -e TZ=UTC nginx:1.27\n  \
        kcradle summon ./sh -it debian bash\n  \
        kcradle summon ./db --disk-size 20g --restart on-failure:3 docker-archive:mariadb.tar\n  \
        kcradle summon ./shop --file shop.yaml")]
pub(crate) struct SummonArgs {
    /// The pod directory to make; it must not exist, or be empty
    pub(crate) dir: PathBuf,
    /// The image, and a command with its arguments in place of the image's
    // One argument of many values: clap then takes what follows the first one, the image, as it is.
    #[arg(
        required_unless_present = "file",
        conflicts_with = "file",
        trailing_var_arg = true,
        value_names = ["IMAGE", "COMMAND"]
    )]
    pub(crate) image: Vec<String>,
    /// Make a pod of several containers as this JSON or YAML file says
    #[arg(long, short, value_name = "POD", conflicts_with_all = CONTAINER_ARGS.into_iter().chain(HealthArgs::NAMES))]
    pub(crate) file: Option<PathBuf>,
    /// CPUs, as in 2 or 1.5 [default: 1]
    #[arg(long, value_name = "NUMBER")]
    pub(crate) cpus: Option<String>,
    /// Memory of the virtual machine, as in 512m or 2g [default: 512m]
    #[arg(long, short, value_name = "SIZE")]
    pub(crate) memory: Option<String>,
    /// The most that the pod can write, as in 10g; the disk is sparse [default: 10g]
    #[arg(long, value_name = "SIZE")]
    pub(crate) disk_size: Option<String>,
    /// The kind of machine: default, or snp, whose memory the host cannot read and whose start is measured
    #[arg(long, value_name = "KIND", default_value = "default", value_parser = machines())]
    pub(crate) variant: Machine,
    /// What `run` does when the pod has ended: no, on-failure[:N], always, unless-stopped [default: no]
    #[arg(long, value_name = "POLICY")]
    pub(crate) restart: Option<RestartPolicy>,
    /// Give the pod and its containers a label
    #[arg(long, short, value_name = "NAME[=VALUE]")]
    pub(crate) label: Vec<String>,
    /// Name the container; its name in the output of several and in logs
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Set an environment variable; NAME alone takes this environment's value
    #[arg(long, short, value_name = "NAME[=VALUE]")]
    pub(crate) env: Vec<String>,
    /// Set the environment variables of a file, NAME=VALUE a line
    #[arg(long, value_name = "FILE")]
    pub(crate) env_file: Vec<PathBuf>,
    /// Replace the image's entry point
    #[arg(long, value_name = "PROGRAM")]
    pub(crate) entrypoint: Option<String>,
    /// Run as this user
    #[arg(long, short, value_name = "USER[:GROUP]")]
    pub(crate) user: Option<String>,
    /// Start in this directory
    #[arg(long, short, value_name = "DIR")]
    pub(crate) workdir: Option<String>,
    /// The host name inside
    #[arg(long, value_name = "NAME")]
    pub(crate) hostname: Option<String>,
    /// Run an init inside, which passes signals on to the command and reaps orphans
    #[arg(long)]
    pub(crate) init: bool,
    /// Give the container a terminal
    #[arg(long, short)]
    pub(crate) tty: bool,
    /// Keep standard input open
    #[arg(long, short)]
    pub(crate) interactive: bool,
    /// Make the root file system read-only
    #[arg(long)]
    pub(crate) read_only: bool,
    /// Mount a memory file system, as in /run:size=64m,mode=755,exec
    #[arg(long, value_name = "PATH[:OPTIONS]")]
    pub(crate) tmpfs: Vec<String>,
    /// Mount a volume, or a directory or file of the host
    #[arg(long, short, value_name = "[NAME|SOURCE:]PATH[:ro,nocopy]")]
    pub(crate) volume: Vec<String>,
    /// The same with more words, as in type=volume,source=db,target=/data,volume-opt=size=20g
    #[arg(long, value_name = "type=volume|bind|tmpfs,…")]
    pub(crate) mount: Vec<String>,
    /// The size of volumes that are made, as in 20g; their disks are sparse [default: 10g]
    #[arg(long, value_name = "SIZE")]
    pub(crate) volume_size: Option<String>,
    /// Seconds between the stop signal and the kill [default: 10]
    #[arg(long, value_name = "SECONDS")]
    pub(crate) stop_timeout: Option<u32>,
    #[command(flatten)]
    pub(crate) health: HealthArgs,
    #[command(flatten)]
    pub(crate) networks: NetworkArgs,
    #[command(flatten)]
    pub(crate) limits: LimitArgs,
    /// Print nothing but errors
    #[arg(long, short)]
    pub(crate) quiet: bool,
    /// Print the finished pod as JSON on standard output
    #[arg(long)]
    pub(crate) json: bool,
}

/// The arguments of `summon` that speak of one container.
const CONTAINER_ARGS: [&str; 15] = [
    "name",
    "env",
    "env_file",
    "entrypoint",
    "user",
    "workdir",
    "hostname",
    "init",
    "tty",
    "interactive",
    "read_only",
    "tmpfs",
    "volume",
    "mount",
    "stop_timeout",
];

/// `kcradle run`.
#[derive(Debug, Args)]
#[command(after_help = "Exit codes:\n  \
        the container's own; 128 + N where signal N ended it; 125 where kcradle or the virtual\n  \
        machine failed; 126 where the command cannot be executed; 127 where it is not found\n\n\
        Examples:\n  \
        kcradle run ./hello\n  \
        kcradle run --timeline ./hello     # where the time of the boot went\n  \
        kcradle run --console ./hello      # with the kernel's messages\n  \
        kcradle run --network shop -p 8080:80 ./web\n  \
        kcradle run --restart always ./web")]
pub(crate) struct RunArgs {
    /// The pod directory
    pub(crate) dir: PathBuf,
    /// Print the time of each stage of the boot to standard error
    #[arg(long)]
    pub(crate) timeline: bool,
    /// Print the timeline as JSON, on one line of standard error
    #[arg(long, requires = "timeline")]
    pub(crate) json: bool,
    /// Copy the kernel's messages to standard error
    #[arg(long)]
    pub(crate) console: bool,
    /// In place of the pod's restart policy: no, on-failure[:N], always, unless-stopped
    #[arg(long, value_name = "POLICY")]
    pub(crate) restart: Option<RestartPolicy>,
    #[command(flatten)]
    pub(crate) networks: NetworkArgs,
    #[command(flatten)]
    pub(crate) limits: LimitArgs,
    /// How often the parent process, which holds the pod's lock, has started the pod again.
    #[arg(long, hide = true)]
    pub(crate) supervised: Option<u32>,
    /// The process belongs to the API frontend: standard input is the listening docker.sock, standard output the pod's
    /// lock, nothing is printed of what the containers write, and the pod is not started again.
    #[arg(long, hide = true, conflicts_with_all = ["restart", "supervised"])]
    pub(crate) served: bool,
    /// No container's process is started: what the containers left can be read through docker.sock until the pod is
    /// stopped. `state.json` stays as it is.
    #[arg(long, hide = true, conflicts_with_all = ["restart", "supervised"])]
    pub(crate) hold: bool,
}

/// `kcradle ls`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  kcradle ls\n  kcradle ls --json | jq -r '.[].dir'")]
pub(crate) struct LsArgs {
    /// Print the directories alone
    #[arg(long, short)]
    pub(crate) quiet: bool,
    /// Print JSON
    #[arg(long, conflicts_with = "quiet")]
    pub(crate) json: bool,
}

/// `kcradle stop`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  kcradle stop ./web\n  kcradle stop -t 30 ./db ./web")]
pub(crate) struct StopArgs {
    /// The pod directories
    #[arg(required = true)]
    pub(crate) dirs: Vec<PathBuf>,
    /// Seconds between the stop signal and the kill, in place of the containers' own
    #[arg(long, short = 't', value_name = "SECONDS")]
    pub(crate) time: Option<u32>,
}

/// `kcradle rm`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  kcradle rm ./hello\n  kcradle rm -f ./web    # also while it runs")]
pub(crate) struct RmArgs {
    /// The pod directories
    #[arg(required = true)]
    pub(crate) dirs: Vec<PathBuf>,
    /// Kill running pods first, and pass over what is not there
    #[arg(long, short)]
    pub(crate) force: bool,
}

/// `kcradle image`.
#[derive(Debug, Subcommand)]
pub(crate) enum ImageCommand {
    /// List the images in the store
    #[command(after_help = "Examples:\n  kcradle image ls\n  kcradle image ls --json")]
    Ls(ImageLsArgs),
    /// Remove images from the store
    #[command(after_help = "Examples:\n  kcradle image rm redis:7")]
    Rm(ImageRmArgs),
    /// Remove what no pod and no name uses
    #[command(after_help = "Examples:\n  kcradle image prune\n  kcradle image prune --all")]
    Prune(ImagePruneArgs),
}

/// `kcradle image ls`.
#[derive(Debug, Args)]
pub(crate) struct ImageLsArgs {
    /// Print the names alone
    #[arg(long, short)]
    pub(crate) quiet: bool,
    /// Print JSON
    #[arg(long, conflicts_with = "quiet")]
    pub(crate) json: bool,
}

/// `kcradle image rm`.
#[derive(Debug, Args)]
pub(crate) struct ImageRmArgs {
    /// The images' names
    #[arg(required = true)]
    pub(crate) images: Vec<String>,
}

/// `kcradle image prune`.
#[derive(Debug, Args)]
pub(crate) struct ImagePruneArgs {
    /// Also the named images that no pod uses
    #[arg(long, short)]
    pub(crate) all: bool,
    /// Print what was removed as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `kcradle check`.
#[derive(Debug, Args)]
#[command(
    after_help = "Exits with 1 if a pod cannot run here.\n\nExamples:\n  kcradle check\n  kcradle check --json\n  kcradle check --snp"
)]
pub(crate) struct CheckArgs {
    /// What SNP guests need, a row a precondition
    #[arg(long)]
    pub(crate) snp: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `kcradle completions`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  source <(kcradle completions bash)\n  \
        kcradle completions zsh >~/.zfunc/_kcradle")]
pub(crate) struct CompletionsArgs {
    /// The shell
    pub(crate) shell: Shell,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn summon(arguments: &[&str]) -> SummonArgs {
        let all = ["kcradle", "summon"].iter().chain(arguments);
        match Cli::try_parse_from(all).unwrap().command {
            Command::Summon(args) => *args,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_grammar_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn run_alone_is_as_among_the_others() {
        let mut all = Cli::command();
        all.build();
        let among = all.find_subcommand_mut("run").unwrap();
        assert_eq!(RunCli::command().render_help().to_string(), among.render_help().to_string());
        for arguments in [&["run"][..], &["run", "--jsn", "d"], &["run", "--json", "d"], &["run", "a", "b"]] {
            let among = Cli::try_parse_from(["kcradle"].iter().chain(arguments)).unwrap_err();
            assert_eq!(RunCli::try_parse_from(arguments).unwrap_err().to_string(), among.to_string());
        }
    }

    #[test]
    fn what_follows_the_image_is_the_commands() {
        let args = summon(&["-it", "-e", "A=1", "d", "debian", "bash", "-c", "-e", "--memory", "--", "x"]);
        assert!(args.tty && args.interactive);
        assert_eq!(args.env, ["A=1"]);
        assert_eq!(args.image, ["debian", "bash", "-c", "-e", "--memory", "--", "x"]);
        assert_eq!(summon(&["d", "debian", "-e", "x"]).image, ["debian", "-e", "x"]);
        let args = summon(&["d", "--user", "root", "debian", "id"]);
        assert_eq!(args.image, ["debian", "id"]);
        assert_eq!(args.user.as_deref(), Some("root"));
    }

    #[test]
    fn a_file_stands_in_for_image_and_container_arguments() {
        assert!(summon(&["d", "--file", "p.yaml", "--memory", "1g"]).image.is_empty());
        for wrong in [
            &["d"][..],
            &["--file", "p", "d", "i"],
            &["d", "--file", "p", "-e", "A=1"],
            &["d", "--file", "p", "--stop-timeout", "3"],
            &["d", "--file", "p", "--no-healthcheck"],
        ] {
            assert!(Cli::try_parse_from(["kcradle", "summon"].iter().chain(wrong)).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn every_command_has_an_example() {
        fn visit(command: &clap::Command) {
            if command.has_subcommands() {
                command.get_subcommands().for_each(visit);
            } else {
                let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
                assert!(help.contains("Examples:"), "{}", command.get_name());
            }
        }
        visit(&Cli::command());
    }
}
