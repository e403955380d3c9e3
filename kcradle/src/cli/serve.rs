//! The grammar of `kcradle serve`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use image::{Insecure, Mirror};

use crate::serve::log::{LogFormat, LogLevel};

/// `kcradle serve`.
#[derive(Debug, Args)]
#[command(
    after_help = "Containers go on running when the daemon ends, and it finds them again. A socket that systemd passes\n\
        (LISTEN_FDS) is served in place of --socket.\n\n\
        Examples:\n  \
        kcradle serve &\n  \
        export DOCKER_HOST=unix:///run/cradle/docker.sock\n  \
        docker run --rm busybox echo hello\n\n  \
        kcradle serve --registry-mirror https://mirror.example --log-format json\n  \
        kcradle serve --tcp 0.0.0.0:2376 --tls-cert cert.pem --tls-key key.pem --tls-ca ca.pem"
)]
pub(crate) struct ServeArgs {
    /// Where to listen [default: /run/cradle/docker.sock, for others than root in $XDG_RUNTIME_DIR]
    #[arg(long, value_name = "PATH")]
    pub(crate) socket: Option<PathBuf>,
    /// The group that may connect, too [default for root: docker or cradle, where there is one]
    #[arg(long, value_name = "NAME")]
    pub(crate) group: Option<String>,
    /// Listen at this address, too, for clients with a certificate
    #[arg(long, value_name = "ADDRESS:PORT", requires_all = ["tls_cert", "tls_key", "tls_ca"])]
    pub(crate) tcp: Option<SocketAddr>,
    /// The daemon's certificate, and those between it and its authority's (PEM)
    #[arg(long, value_name = "FILE", requires = "tcp")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// The key of the daemon's certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "tcp")]
    pub(crate) tls_key: Option<PathBuf>,
    /// The authority that signs the certificates of clients (PEM)
    #[arg(long, value_name = "FILE", requires = "tcp")]
    pub(crate) tls_ca: Option<PathBuf>,
    /// Where containers, volumes and networks are kept [default: serve in $CRADLE_HOME]
    #[arg(long, value_name = "DIR")]
    pub(crate) state: Option<PathBuf>,
    /// Ask this registry first for images of docker.io; may be given several times
    #[arg(long, value_name = "URL")]
    pub(crate) registry_mirror: Vec<Mirror>,
    /// Do not check this registry's certificate, and take plain HTTP; may be given several times
    #[arg(long, value_name = "HOST[:PORT]|CIDR")]
    pub(crate) insecure_registry: Vec<Insecure>,
    /// Answer GET /metrics for Prometheus at this address, too; anybody who reaches it can read them
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) metrics: Option<SocketAddr>,
    /// The form of the log's lines on standard error
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub(crate) log_format: LogFormat,
    /// What is logged, and all that is graver
    #[arg(long, value_enum, default_value_t, value_name = "LEVEL")]
    pub(crate) log_level: LogLevel,
}
