//! `kcradle check`: what this host lacks to make and run pods, and how to mend it. Boots nothing.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use rustix::process::geteuid;
use serde::Serialize;

use crate::cli::CheckArgs;
use crate::failure::Failure;
use crate::hint;
use crate::home;
use crate::run::shares::{INSTALL as INSTALL_VIRTIOFSD, find as find_virtiofsd};
use crate::share::is_of_qemu;
use crate::size::human;
use crate::stdout;
use pod::Package;
use spec::package::Machine;

/// Free space under which a pull of an ordinary image is likely to fail, in bytes.
const LITTLE_SPACE: u64 = 2 << 30;

/// What was found about one need.
#[derive(Debug, Serialize)]
struct Finding {
    /// The need.
    name: &'static str,
    /// Whether it is met.
    level: Level,
    /// What is there, or what is missing.
    detail: String,
    /// How to mend it.
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    Ok,
    Warning,
    /// A pod cannot run.
    Missing,
}

/// Prints what was found. The exit code is 1 if a pod cannot run.
pub(crate) fn run(args: &CheckArgs) -> Result<u8, Failure> {
    let findings =
        if args.snp { snp() } else { vec![kvm(), package(), mkfs(), space(), networks(), shares()] };
    let pods = if args.snp { "pods of the SNP variant" } else { "pods" };
    let fit = findings.iter().all(|finding| finding.level != Level::Missing);
    if args.json {
        let report = serde_json::json!({ "fit": fit, "findings": findings });
        stdout::line(format_args!(
            "{}",
            serde_json::to_string_pretty(&report).context("cannot print the findings")?
        ));
    } else {
        let width = findings.iter().map(|finding| finding.name.len() + 1).max().unwrap_or_default();
        for finding in &findings {
            let mark = match finding.level {
                Level::Ok => "ok     ",
                Level::Warning => "warning",
                Level::Missing => "MISSING",
            };
            stdout::line(format_args!("{mark}  {:width$}{}", finding.name, finding.detail));
            if let Some(remedy) = &finding.remedy {
                stdout::line(format_args!("{:indent$}-> {remedy}", "", indent = width + 9));
            }
        }
        stdout::line(format_args!(
            "{}",
            if fit {
                format!("{pods} can run on this host")
            } else {
                format!("{pods} cannot run on this host")
            }
        ));
    }
    Ok(u8::from(!fit))
}

fn ok(name: &'static str, detail: impl Into<String>) -> Finding {
    Finding { name, level: Level::Ok, detail: detail.into(), remedy: None }
}

fn lacking(
    name: &'static str,
    level: Level,
    detail: impl Into<String>,
    remedy: impl Into<String>,
) -> Finding {
    Finding { name, level, detail: detail.into(), remedy: Some(remedy.into()) }
}

fn kvm() -> Finding {
    match vmm::host::check() {
        Ok(_) => ok("KVM", "/dev/kvm works (no vhost or vsock device is needed)"),
        Err(error) => {
            let remedy = error.remedy();
            lacking("KVM", Level::Missing, Failure::from(anyhow::Error::from(error)).line(), remedy)
        }
    }
}

fn package() -> Finding {
    match Package::find(Machine::Default) {
        Ok(package) => ok(
            "runtime package",
            format!("{}, Linux {}", package.path.display(), package.spec.kernel.release),
        ),
        Err(error) => {
            let line = Failure::from(anyhow::Error::from(error)).line();
            lacking("runtime package", Level::Missing, line, hint::PACKAGE)
        }
    }
}

/// Each precondition of an SNP guest, and the package.
fn snp() -> Vec<Finding> {
    let row = |row: vmm::snp::host::Precondition| match row.lack {
        None => ok(row.name, "as it should be"),
        Some(lack) => lacking(row.name, Level::Missing, lack, row.remedy),
    };
    let package = match Package::find(Machine::Snp) {
        Ok(package) => ok("runtime package", package.path.display().to_string()),
        Err(error) => {
            let line = Failure::from(anyhow::Error::from(error)).line();
            lacking("runtime package", Level::Missing, line, hint::PACKAGE)
        }
    };
    vmm::snp::host::check().into_iter().map(row).chain([package]).collect()
}

/// Templates of writable disks are made with it, once a size.
fn mkfs() -> Finding {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain(["/usr/sbin", "/sbin"].map(PathBuf::from));
    match places.map(|folder| folder.join("mkfs.ext4")).find(|program| program.is_file()) {
        Some(program) => ok("mkfs.ext4", program.display().to_string()),
        None => lacking(
            "mkfs.ext4",
            Level::Missing,
            "not found in PATH",
            "install e2fsprogs: apt-get install e2fsprogs",
        ),
    }
}

/// Pods without networks need none of it. What is missing is named by the process that would make one.
fn networks() -> Finding {
    match net::check(Path::new("/proc/self/exe")) {
        Ok(()) if geteuid().is_root() => ok("networks", "nft and /dev/net/tun work"),
        Ok(()) => ok("networks", "nft, pasta, /dev/net/tun and user namespaces work"),
        Err(error) => {
            let line = Failure::from(anyhow::Error::from(error)).line();
            let remedy = "networks take nft (Debian: nftables) and /dev/net/tun, those of ordinary users also pasta (passt) and \
                          user namespaces; pods without a network run";
            lacking("networks", Level::Warning, line, remedy)
        }
    }
}

/// Pods without directories and files of the host need none.
fn shares() -> Finding {
    match find_virtiofsd() {
        Ok(program) if is_of_qemu(&program) && !geteuid().is_root() => lacking(
            "virtiofsd",
            Level::Warning,
            format!("{} shares files of the host for root alone", program.display()),
            INSTALL_VIRTIOFSD,
        ),
        Ok(program) => ok("virtiofsd", program.display().to_string()),
        Err(failure) => lacking("virtiofsd", Level::Warning, failure.line(), INSTALL_VIRTIOFSD),
    }
}

fn space() -> Finding {
    let home = match home::find() {
        Ok(home) => home.path().to_owned(),
        Err(failure) => return lacking("disk space", Level::Missing, failure.line(), "set CRADLE_HOME"),
    };
    let existing = home.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
    match rustix::fs::statvfs(existing) {
        Ok(found) => {
            let free = found.f_bavail.saturating_mul(found.f_frsize);
            let detail = format!("{} free for images in {}", human(free), home.display());
            let remedy =
                "`kcradle image prune` removes images that nothing uses; CRADLE_HOME names another place";
            if free < LITTLE_SPACE {
                lacking("disk space", Level::Warning, detail, remedy)
            } else {
                ok("disk space", detail)
            }
        }
        Err(error) => lacking(
            "disk space",
            Level::Warning,
            format!("cannot examine {}: {error}", existing.display()),
            "set CRADLE_HOME to another place",
        ),
    }
}
