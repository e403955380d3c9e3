//! `kcradle volume resize`: first the file, then the disk of the machine that has it, then the file system in the guest. Where
//! it is cut short, the volume is as it was, and the next boot does the rest.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use pod::size::parse_disk;
use pod::volume::Volumes;
use pod::volume::device::Identity;
use pod::volume::users::Users;
use pod::{DiskRecord, Home, PodDir, control};
use spec::control::{Reply, Verb};

use crate::cli::volume::ResizeArgs;
use crate::failure::{Failure, HintExt as _};
use crate::{home, stdout};

/// How long a guest may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// The time between two questions.
const INTERVAL: Duration = Duration::from_millis(50);

/// Makes a volume larger.
pub(super) fn resize(volumes: &Volumes, home: &Home, args: &ResizeArgs) -> Result<u8, Failure> {
    let size = args.size.as_deref().map(parse_disk).transpose().context("invalid size")?;
    let context = format!("cannot resize volume {}", args.name);
    let grown = || {
        let locked = volumes.lock().map_err(anyhow::Error::from)?;
        let volume = locked.grow(&args.name, size).map_err(anyhow::Error::from)?;
        let place = volumes.place(&volume);
        let users = Users::of(&home::store(home)?).context("cannot list the pods")?;
        users.running_with(&place).try_for_each(|pod| tell(pod, &place))
    };
    grown().map_err(|failure: Failure| failure.context(context))?;
    stdout::line(format_args!("{}", args.name));
    Ok(0)
}

/// Whether two paths are those of one file or device.
fn is_same(path: &Path, place: &Path) -> bool {
    path == place || Identity::of(path).is_ok_and(|one| Identity::of(place).is_ok_and(|other| one == other))
}

/// Tells a pod that has the volume, and waits until its file system has followed.
fn tell(pod: &PodDir, place: &Path) -> Result<(), Failure> {
    let record = pod.read_record().map_err(anyhow::Error::from)?;
    let Some(volume) = record.disks.iter().find_map(|disk| match disk {
        DiskRecord::Volume { name, path, read_only: false } if is_same(path, place) => Some(name.clone()),
        _ => None,
    }) else {
        // It only reads, and sees the next one that writes have done it.
        return Ok(());
    };
    let named = |text: String| Failure::new(format!("pod {}: {text}", pod.path().display()));
    let deadline = Instant::now() + PATIENCE;
    loop {
        match control::ask(pod, Verb::Grow { volume: volume.clone() }) {
            Ok(Reply::Ok) => return Ok(()),
            Ok(Reply::Pending) if Instant::now() < deadline => std::thread::sleep(INTERVAL),
            Ok(Reply::Pending) => {
                return Err(named(
                    "its guest has not made the file system larger within a minute".to_owned(),
                ))
                .hint("the disk is larger already: the next start of the pod does the rest");
            }
            Ok(Reply::Error(why)) => {
                return Err(named(why))
                    .hint("the disk is larger already: the next start of the pod does the rest");
            }
            Ok(other) => return Err(named(format!("{other:?} is no answer"))),
            // It has ended meanwhile: its next start does it.
            Err(_) if !pod.is_running().unwrap_or(false) => return Ok(()),
            Err(error) => return Err(named(error.to_string())),
        }
    }
}
