//! From a pod directory to a [`vmm::VmConfig`]: every file is opened here, before the guest runs.

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::Instant;

use anyhow::Context as _;
use spec::LaunchSpec;
use spec::launch::DiskSpec;
use spec::package::Machine;
use vmm::devices::block::{self, DiskConfig};
use vmm::devices::vsock::VsockConfig;
use vmm::{InitrdPart, VmConfig};

use crate::failure::{Failure, HintExt as _};
use pod::Package;
use pod::{DiskRecord, Extent, PodDir, PodRecord};

use super::{archive, measured, volumes};

/// Kernel messages up to this severity are shown with `--console`: all but those for debugging.
const CONSOLE_LOG_LEVEL: u8 = 7;

/// What a machine is made of besides the pod's own files.
pub(crate) struct Parts {
    /// The host's end of the stdio stream goes elsewhere; this is the guest's.
    pub(crate) stdio: UnixStream,
    /// Where clients of the guest's Docker API come in.
    pub(crate) docker: UnixListener,
    /// Where the early console writes.
    pub(crate) console: File,
    /// Whether the user wants to see the kernel's messages.
    pub(crate) verbose: bool,
    /// What the timeline counts from.
    pub(crate) origin: Instant,
}

/// The machine of a pod. `launch` has no variables left that are to be taken from elsewhere.
pub(crate) fn config(
    dir: &PodDir,
    record: &PodRecord,
    launch: &mut LaunchSpec,
    parts: Parts,
) -> Result<VmConfig, Failure> {
    let package = Package::open(&dir.package())
        .map_err(anyhow::Error::from)
        .hint(format!("point {} at a runtime package: ln -sfn PACKAGE {0}", dir.package().display()))?;
    let open = |path: std::path::PathBuf| {
        File::open(&path).with_context(|| format!("cannot open {}", path.display()))
    };
    // What they are like is told to the guest.
    let disks = disks(dir, record, launch)?;
    let mut config = VmConfig::new(open(package.kernel())?);
    config.vcpus = u8::try_from(launch.resources.cpu).context("too many vCPUs")?;
    if config.vcpus > 1 {
        // guest-init starts the others when the kernel no longer has to wait for them at each step.
        config.cmdline_extra.push_str("maxcpus=1");
    }
    config.memory_mib = launch.resources.mem;
    config.initrd = vec![InitrdPart::File(open(package.initramfs())?)];
    match package.spec.machine {
        Machine::Default => config.initrd.push(launch_archive(launch)?),
        Machine::Snp => config.snp = Some(measured::config(dir, &package, launch)?),
    }
    config.disks = disks;
    config.vsock = Some(
        VsockConfig::new(
            vec![(parts.docker, spec::vsock::VDOCKER_PORT)],
            vec![(spec::vsock::STDIO_PORT, parts.stdio)],
        )
        .context("cannot set up the streams to the guest")?,
    );
    config.early_console = Some(parts.console);
    config.origin = parts.origin;
    if parts.verbose {
        config.log_level = CONSOLE_LOG_LEVEL;
    }
    Ok(config)
}

/// The archive with launch.json.
fn launch_archive(launch: &LaunchSpec) -> Result<InitrdPart, Failure> {
    let json = serde_json::to_vec(launch).context("cannot write the launch specification")?;
    let name = spec::LAUNCH_PATH.trim_start_matches('/');
    let archive = archive::with_file(name, &json).context("the launch specification is too large")?;
    Ok(InitrdPart::Bytes(archive))
}

/// The disks in the order of launch.json, which `pod.json` must have too.
fn disks(dir: &PodDir, record: &PodRecord, launch: &mut LaunchSpec) -> Result<Vec<DiskConfig>, Failure> {
    let same = |(spec, record): (&DiskSpec, &DiskRecord)| match (spec, record) {
        (DiskSpec::Image { .. }, DiskRecord::Image { .. }) | (DiskSpec::Scratch, DiskRecord::Scratch) => true,
        (
            DiskSpec::Volume { name, read_only, .. },
            DiskRecord::Volume { name: recorded, read_only: same, .. },
        ) => name == recorded && read_only == same,
        _ => false,
    };
    if launch.disks.len() != record.disks.len() || !launch.disks.iter().zip(&record.disks).all(same) {
        return Err(
            Failure::new("launch.json and pod.json name different disks").hint("summon the pod again")
        );
    }
    let disk = |(index, (disk, spec)): (usize, (&DiskRecord, &mut DiskSpec))| match disk {
        DiskRecord::Image { extents } => image_disk(extents, &format!("image{index}")),
        DiskRecord::Scratch => {
            let path = dir.scratch();
            let wrong = || format!("cannot use the writable disk {}", path.display());
            Ok(writable_disk(&path, "scratch").with_context(wrong)?)
        }
        DiskRecord::Volume { name, path, .. } => volumes::disk(dir, record, name, path, spec),
    };
    record.disks.iter().zip(&mut launch.disks).enumerate().map(disk).collect()
}

fn image_disk(extents: &[Extent], serial: &str) -> Result<DiskConfig, Failure> {
    let open = |extent: &Extent| {
        let path = extent.path.display();
        let file =
            File::open(&extent.path).with_context(|| format!("cannot open the image's file {path}"))?;
        let length = file.metadata().with_context(|| format!("cannot examine {path}"))?.len();
        if length != extent.length {
            return Err(Failure::new(format!(
                "the image's file {path} has {length} bytes, not {}",
                extent.length
            )));
        }
        Ok(block::Extent { file, offset: 0, len: length })
    };
    let extents: Result<Vec<_>, Failure> = extents.iter().map(open).collect();
    let extents = extents.hint("summon the pod again: the image store has changed under it")?;
    Ok(DiskConfig::image(extents, serial).context("cannot make the image's disk")?)
}

fn writable_disk(path: &Path, serial: &str) -> anyhow::Result<DiskConfig> {
    let flags = nix::libc::O_NOFOLLOW | nix::libc::O_CLOEXEC;
    let file = File::options().read(true).write(true).custom_flags(flags).open(path)?;
    Ok(DiskConfig::writable(file, serial)?)
}
