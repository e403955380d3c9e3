//! The arguments of the commands that speak to containers of a running pod, with Docker's names.

use std::path::PathBuf;

use clap::{ArgAction, Args};

use vdocker::detach::DetachKeys;

/// The pod, and a container of it.
#[derive(Debug, Args)]
pub(crate) struct PodArgs {
    /// The pod directory
    pub(crate) dir: PathBuf,
    /// The container, by name, id or container.N [default: the first]
    #[arg(long, short, value_name = "NAME")]
    pub(crate) container: Option<String>,
}

/// `kcradle logs`.
#[derive(Debug, Args)]
#[command(
    after_help = "Times are durations back from now, as in 10m, dates as in 2026-01-31T12:00:00 (UTC without a \
        zone), or seconds since 1970.\n\n\
        Examples:\n  \
        kcradle logs ./web\n  \
        kcradle logs -f --tail 20 -t ./web\n  \
        kcradle logs --since 10m ./shop -c db\n  \
        kcradle logs ./web -c cradle        # the kernel's and the init's"
)]
pub(crate) struct LogsArgs {
    #[command(flatten)]
    pub(crate) pod: PodArgs,
    /// Go on with what is written from now on
    #[arg(long, short)]
    pub(crate) follow: bool,
    /// Show the time of each line
    #[arg(long, short)]
    pub(crate) timestamps: bool,
    /// So many of the last lines
    #[arg(long, short = 'n', value_name = "NUMBER", default_value = "all")]
    pub(crate) tail: String,
    /// From this time on
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
    /// Up to this time
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<String>,
    /// Show extra attributes that were given to the log
    #[arg(long)]
    pub(crate) details: bool,
}

/// `kcradle attach`.
#[derive(Debug, Args)]
#[command(
    after_help = "Ctrl-P Ctrl-Q leaves a container's terminal; the container goes on. The exit code is the \
        container's.\n\n\
        Examples:\n  \
        kcradle attach ./sh\n  \
        kcradle attach --no-stdin ./shop -c web\n  \
        kcradle attach --detach-keys ctrl-x,x ./sh"
)]
pub(crate) struct AttachArgs {
    #[command(flatten)]
    pub(crate) pod: PodArgs,
    /// Leave standard input alone
    #[arg(long)]
    pub(crate) no_stdin: bool,
    /// The keys that leave a terminal [default: ctrl-p,ctrl-q]
    #[arg(long, value_name = "KEYS")]
    pub(crate) detach_keys: Option<DetachKeys>,
    /// Pass signals on to the container, where it has no terminal
    #[arg(
        long,
        value_name = "BOOL",
        action = ArgAction::Set,
        num_args = 0..=1,
        require_equals = true,
        default_value_t = true,
        default_missing_value = "true"
    )]
    pub(crate) sig_proxy: bool,
}

/// `kcradle exec`.
#[derive(Debug, Args)]
#[command(after_help = "Exit codes:\n  \
        the program's own; 126 where it cannot be executed; 127 where it is not found\n\n\
        Examples:\n  \
        kcradle exec ./web nginx -t\n  \
        kcradle exec -it ./web sh                 # Ctrl-P Ctrl-Q leaves it\n  \
        kcradle exec -u postgres ./shop -c db psql -c 'select 1'\n  \
        tar c . | kcradle exec -i -w /srv ./web tar x")]
pub(crate) struct ExecArgs {
    #[command(flatten)]
    pub(crate) pod: PodArgs,
    /// The program and its arguments
    #[arg(required = true, trailing_var_arg = true, value_names = ["COMMAND", "ARG"])]
    pub(crate) command: Vec<String>,
    /// Keep standard input open
    #[arg(long, short)]
    pub(crate) interactive: bool,
    /// Give the program a terminal
    #[arg(long, short)]
    pub(crate) tty: bool,
    /// Do not wait for the program
    #[arg(long, short)]
    pub(crate) detach: bool,
    /// Set an environment variable; NAME alone takes this environment's value
    #[arg(long, short, value_name = "NAME[=VALUE]")]
    pub(crate) env: Vec<String>,
    /// Set the environment variables of a file, NAME=VALUE a line
    #[arg(long, value_name = "FILE")]
    pub(crate) env_file: Vec<PathBuf>,
    /// Run as this user
    #[arg(long, short, value_name = "USER[:GROUP]")]
    pub(crate) user: Option<String>,
    /// Start in this directory
    #[arg(long, short, value_name = "DIR")]
    pub(crate) workdir: Option<String>,
    /// Give the program all capabilities
    #[arg(long)]
    pub(crate) privileged: bool,
    /// The keys that leave a terminal [default: ctrl-p,ctrl-q]
    #[arg(long, value_name = "KEYS")]
    pub(crate) detach_keys: Option<DetachKeys>,
}

/// `kcradle cp`.
#[derive(Debug, Args)]
#[command(
    override_usage = "kcradle cp [OPTIONS] DIR:PATH HOST_PATH|-\n       kcradle cp [OPTIONS] HOST_PATH|- DIR:PATH",
    after_help = "The place in the container is the pod directory, a colon and a path. `-` is a tar archive on standard \
        output or input. A directory is copied whole, with its name into a directory that exists; `DIR:PATH/.` and \
        `HOST_PATH/.` mean what is in it.\n\
        On the host nothing is written outside HOST_PATH, and files belong to who copies; -a keeps owners and \
        set-user-id bits. Devices are left out.\n\n\
        Examples:\n  \
        kcradle cp ./web:/etc/nginx/nginx.conf .\n  \
        kcradle cp site/. ./web:/usr/share/nginx/html\n  \
        kcradle cp -c db ./shop:/var/lib/db - | gzip >db.tar.gz"
)]
pub(crate) struct CpArgs {
    /// What to copy
    pub(crate) source: String,
    /// Where to
    pub(crate) destination: String,
    /// The container, by name, id or container.N [default: the first]
    #[arg(long, short, value_name = "NAME")]
    pub(crate) container: Option<String>,
    /// Keep user and group ids
    #[arg(long, short)]
    pub(crate) archive: bool,
    /// Copy what a link at the source leads to
    #[arg(long, short = 'L')]
    pub(crate) follow_link: bool,
    /// Do not say what was copied
    #[arg(long, short)]
    pub(crate) quiet: bool,
}

/// `kcradle ps`.
#[derive(Debug, Args)]
#[command(after_help = "Without DIR it is `kcradle ls`.\n\n\
        Examples:\n  \
        kcradle ps                 # the pods\n  \
        kcradle ps ./shop          # the containers of one that runs\n  \
        kcradle ps -aq ./shop")]
pub(crate) struct PsArgs {
    /// The pod directory
    pub(crate) dir: Option<PathBuf>,
    /// Also containers that have ended
    #[arg(long, short, requires = "dir")]
    pub(crate) all: bool,
    /// Print ids alone
    #[arg(long, short)]
    pub(crate) quiet: bool,
    /// Print whole ids and commands
    #[arg(long, requires = "dir")]
    pub(crate) no_trunc: bool,
    /// Print JSON
    #[arg(long, conflicts_with = "quiet")]
    pub(crate) json: bool,
}

/// `kcradle top`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
        kcradle top ./web\n  \
        kcradle top ./shop -c db -- -eo pid,rss,args")]
pub(crate) struct TopArgs {
    #[command(flatten)]
    pub(crate) pod: PodArgs,
    /// Options of ps(1), behind `--`
    #[arg(last = true, value_name = "PS_OPTIONS")]
    pub(crate) ps_options: Vec<String>,
}

/// `kcradle stats`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  kcradle stats ./web\n  kcradle stats --no-stream ./shop -c db")]
pub(crate) struct StatsArgs {
    /// The pod directory
    pub(crate) dir: PathBuf,
    /// A container, by name, id or container.N; may be repeated [default: all]
    #[arg(long, short, value_name = "NAME")]
    pub(crate) container: Vec<String>,
    /// Also containers that have ended
    #[arg(long, short)]
    pub(crate) all: bool,
    /// Print one reading and end
    #[arg(long)]
    pub(crate) no_stream: bool,
    /// Print whole ids
    #[arg(long)]
    pub(crate) no_trunc: bool,
}

/// `kcradle inspect`.
#[derive(Debug, Args)]
#[command(
    after_help = "Prints a JSON array, or a line a container. Of Go's templates, paths are understood; the docker client \
        on DIR/docker.sock has all of them.\n\n\
        Examples:\n  \
        kcradle inspect ./web -f '{{.State.Status}} {{json .State.Health}}'\n  \
        kcradle inspect ./shop -c web -c db"
)]
pub(crate) struct InspectArgs {
    /// The pod directory
    pub(crate) dir: PathBuf,
    /// A container, by name, id or container.N; may be repeated [default: all]
    #[arg(long, short, value_name = "NAME")]
    pub(crate) container: Vec<String>,
    /// Also sizes of the containers' files
    #[arg(long, short)]
    pub(crate) size: bool,
    /// Print this instead, with {{.Path.To.Value}} and {{json .Path}} filled in
    #[arg(long, short, value_name = "TEMPLATE")]
    pub(crate) format: Option<String>,
}
