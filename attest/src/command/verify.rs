//! `attest verify`: a report, what it is to hold, and the rows that came of it.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use clap::Args;

use crate::binding;
use crate::check::{Outcome, Verdict};
use crate::hex;
use crate::roots::Roots;
use crate::time;
use crate::verify::{Evidence, Expected, verify};

use super::input::{self, InputError};
use super::{CommandError, output, pod};

/// The exit code of a report in which all that was checked holds, and too little was.
const CODE_INCOMPLETE: u8 = 3;

/// `attest verify`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    attest verify --report report.bin --certs vcek.der --pod ./web --nonce $NONCE --spki key.der\n  \
    attest verify --report report.bin --certs vcek.pem chain.pem --measurement 5fee… --report-data 27ab… --json\n  \
    attest verify --report report.bin --certs vcek.der --crl Milan.crl --policy policy.json --unbound\n\n\
    Exit codes: 0 verified; 1 a file cannot be read; 2 arguments; 3 nothing failed, but measurement or report data\n\
    were not compared; 10 malformed input; 11 signature; 12 chain; 13 expired or revoked; 14 TCB; 15 measurement;\n\
    16 host or report data; 17 policy.")]
pub struct VerifyArgs {
    /// The report: 1184 bytes as the guest got them
    #[arg(long, value_name = "FILE")]
    report: PathBuf,

    /// Certificates of the signing key and its issuer: PEM, DER, or the host's table; AMD's roots are built in
    #[arg(long, value_name = "FILE", num_args = 1..)]
    certs: Vec<PathBuf>,

    /// The pod that must have been launched: its directory, or what `attest measure --json` wrote of it
    #[arg(long, value_name = "DIR", conflicts_with_all = ["measurement", "config", "host_data"])]
    pod: Option<PathBuf>,

    /// The launch digest that the report must have, in hexadecimal digits
    #[arg(long, value_name = "HEX", value_parser = hex::decode_exact::<48>)]
    measurement: Option<[u8; 48]>,

    /// The nonce that the report answers, 32 to 64 bytes in hexadecimal digits; needs --spki, and --pod, --config
    /// or --host-data
    #[arg(long, value_name = "HEX", value_parser = nonce, requires = "spki", conflicts_with = "report_data")]
    nonce: Option<Nonce>,

    /// The public key of the guest's TLS connection: SubjectPublicKeyInfo, DER or PEM
    #[arg(long, value_name = "FILE", requires = "nonce")]
    spki: Option<PathBuf>,

    /// The guest's launch.json: HOST_DATA must be its SHA-256
    #[arg(long, value_name = "FILE", conflicts_with = "host_data")]
    config: Option<PathBuf>,

    /// HOST_DATA, where it is not the hash of a file
    #[arg(long, value_name = "HEX", value_parser = hex::decode_exact::<32>)]
    host_data: Option<[u8; 32]>,

    /// REPORT_DATA, where it is not made of a nonce
    #[arg(long, value_name = "HEX", value_parser = hex::decode_exact::<64>)]
    report_data: Option<[u8; 64]>,

    /// What else is wanted: oldest TCB versions, digests of keys, what is allowed (docs/snp.md)
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,

    /// Lists of revoked certificates: PEM or DER
    #[arg(long, value_name = "FILE", num_args = 1..)]
    crl: Vec<PathBuf>,

    /// Take a report that a cloud provider's key has signed (VLEK), not the chip's own
    #[arg(long)]
    vlek: bool,

    /// Judge as of then, such as 2026-11-22T10:00:00Z, not as of now
    #[arg(long, value_name = "TIME", value_parser = time::parse)]
    at: Option<u64>,

    /// Do not ask for a measurement and report data: the report may be any guest's, and old
    #[arg(long)]
    unbound: bool,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// A nonce of a length that can be.
#[derive(Clone, Debug)]
struct Nonce(Vec<u8>);

fn nonce(text: &str) -> Result<Nonce, String> {
    let bytes = hex::decode(text).map_err(|error| error.to_string())?;
    match binding::NONCE.contains(&bytes.len()) {
        true => Ok(Nonce(bytes)),
        false => Err(format!("{} bytes, where a nonce has 32 to 64", bytes.len())),
    }
}

/// Prints the rows. The exit code is the first failure's.
pub(super) fn run(args: &VerifyArgs) -> Result<u8, CommandError> {
    let report = input::read(&args.report)?;
    let certificates = input::certificates(&args.certs)?;
    let crls = input::crls(&args.crl)?;
    let mut policy = input::policy(args.policy.as_deref())?;
    policy.allow_vlek |= args.vlek;
    let expected = expected(args)?;
    let now = args.at.unwrap_or_else(now);
    let evidence = Evidence { report: &report, certificates: &certificates, crls: &crls, now };
    let outcome = verify(evidence, &expected, &policy, &Roots::amd());
    let verdict = outcome.verdict(args.unbound);
    let code = code(&outcome, verdict);
    if args.json {
        output::json(&outcome, verdict, code)?;
    } else {
        output::table(&outcome, verdict)?;
    }
    Ok(code)
}

/// What the arguments say that the report holds.
fn expected(args: &VerifyArgs) -> Result<Expected, CommandError> {
    let (measurement, host_data) = match (&args.pod, &args.config) {
        (Some(pod), _) => {
            let measured = pod::measurement(pod)?;
            (Some(digest(pod, &measured.digest)?), Some(digest(pod, &measured.host_data)?))
        }
        (None, Some(config)) => (args.measurement, Some(binding::host_data(&input::read(config)?))),
        (None, None) => (args.measurement, args.host_data),
    };
    let report_data = match (&args.nonce, &args.spki) {
        (Some(Nonce(nonce)), Some(spki)) => {
            let host_data = host_data.ok_or(InputError::Usage(
                "--nonce needs the guest's configuration as well: --pod, --config or --host-data",
            ))?;
            binding::report_data(nonce, &input::public_key(spki)?, &host_data)
        }
        _ => args.report_data,
    };
    Ok(Expected { measurement, host_data, report_data })
}

/// A digest of a measurement, which a document may have in any form.
fn digest<const N: usize>(pod: &Path, text: &str) -> Result<[u8; N], InputError> {
    hex::decode_exact(text).map_err(|source| InputError::Digest { path: pod.to_owned(), source })
}

/// The clock, in seconds since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn code(outcome: &Outcome, verdict: Verdict) -> u8 {
    match (outcome.failure(), verdict) {
        (Some(class), _) => class.exit_code(),
        (None, Verdict::Incomplete) => CODE_INCOMPLETE,
        (None, _) => 0,
    }
}
