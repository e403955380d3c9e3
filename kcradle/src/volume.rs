//! `kcradle volume create|ls|inspect|rm|prune|resize`. The store is the one that `kcradle serve` has.

mod resize;

use std::path::PathBuf;

use anyhow::Context as _;
use pod::volume::users::Users;
use pod::volume::{Volume, VolumeError, Volumes, Wanted};
use pod::{Home, make};
use serde::Serialize;

use crate::cli::volume::{CreateArgs, LsArgs, NamesArgs, PruneArgs, RmArgs, VolumeCommand};
use crate::failure::Failure;
use crate::{home, size, stdout, table};

/// Runs the command.
pub(crate) fn run(command: &VolumeCommand) -> Result<u8, Failure> {
    let home = home::find()?;
    let volumes = home.volumes();
    match command {
        VolumeCommand::Create(args) => create(&volumes, &home, args),
        VolumeCommand::Ls(args) => ls(&volumes, &home, args),
        VolumeCommand::Inspect(args) => inspect(&volumes, &home, args),
        VolumeCommand::Rm(args) => rm(&volumes, &home, args),
        VolumeCommand::Prune(args) => prune(&volumes, &home, args),
        VolumeCommand::Resize(args) => resize::resize(&volumes, &home, args),
    }
}

fn create(volumes: &Volumes, home: &Home, args: &CreateArgs) -> Result<u8, Failure> {
    let pair = |text: &String| {
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        (name.to_owned(), value.to_owned())
    };
    let mut wanted = Wanted {
        name: args.name.clone().unwrap_or_default(),
        driver: args.driver.clone(),
        labels: args.label.iter().map(pair).collect(),
        options: args.opt.iter().map(pair).collect(),
        size: 0,
    };
    if let Some(device) = &args.device {
        let path = std::path::absolute(device).context("cannot name the device")?;
        let path = path.to_str().context("the device's path is no UTF-8")?.to_owned();
        wanted.options.insert("device".to_owned(), path);
    }
    if wanted.name.is_empty() {
        wanted = wanted.anonymous(make::new_id().map_err(anyhow::Error::from)?);
    }
    let locked = volumes.lock().map_err(anyhow::Error::from)?;
    let (volume, _) = locked.make(&wanted, &home.templates()).map_err(anyhow::Error::from)?;
    stdout::line(format_args!("{}", volume.name));
    Ok(0)
}

/// What `ls --json` and `inspect` print of a volume.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Described {
    name: String,
    driver: &'static str,
    created: u64,
    #[serde(skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    labels: std::collections::BTreeMap<String, String>,
    #[serde(skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    options: std::collections::BTreeMap<String, String>,
    /// The file, device or directory.
    path: PathBuf,
    /// Bytes that a guest can have, of a disk.
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    /// Bytes that it takes on the host's disk.
    allocated: u64,
    /// The pods that have it.
    pods: Vec<PathBuf>,
    /// Those of them that run.
    running: Vec<PathBuf>,
}

fn describe(volumes: &Volumes, users: &Users, volume: Volume) -> Described {
    let path = volumes.place(&volume);
    let dirs = |pod: &pod::PodDir| pod.path().to_owned();
    Described {
        driver: volume.driver(),
        size: volumes.size(&volume),
        allocated: volumes.used(&volume),
        pods: users.having(&path).map(dirs).collect(),
        running: users.running_with(&path).map(dirs).collect(),
        name: volume.name,
        created: volume.created,
        labels: volume.labels,
        options: volume.options,
        path,
    }
}

fn users(home: &Home) -> Result<Users, Failure> {
    Ok(Users::of(&home::store(home)?).context("cannot list the pods")?)
}

fn ls(volumes: &Volumes, home: &Home, args: &LsArgs) -> Result<u8, Failure> {
    let all = volumes.all().map_err(anyhow::Error::from)?;
    if args.quiet {
        all.iter().for_each(|volume| stdout::line(format_args!("{}", volume.name)));
        return Ok(0);
    }
    let users = users(home)?;
    let all: Vec<_> = all.into_iter().map(|volume| describe(volumes, &users, volume)).collect();
    if args.json {
        let json = serde_json::to_string_pretty(&all).context("cannot print the list")?;
        stdout::line(format_args!("{json}"));
        return Ok(0);
    }
    let row = |one: Described| {
        let size = one.size.map_or_else(|| "-".to_owned(), size::human);
        let running: Vec<_> = one.running.iter().map(|dir| dir.display().to_string()).collect();
        vec![one.driver.to_owned(), one.name, size, size::human(one.allocated), running.join(", ")]
    };
    table::print(
        &["DRIVER", "VOLUME NAME", "SIZE", "ALLOCATED", "RUNNING"],
        all.into_iter().map(row).collect(),
    );
    Ok(0)
}

fn inspect(volumes: &Volumes, home: &Home, args: &NamesArgs) -> Result<u8, Failure> {
    let users = users(home)?;
    let find = |name: &String| {
        let volume = volumes.find(name).map_err(anyhow::Error::from)?;
        Ok(describe(volumes, &users, volume))
    };
    let described = args.volumes.iter().map(find).collect::<Result<Vec<_>, Failure>>()?;
    let json = serde_json::to_string_pretty(&described).context("cannot print the volumes")?;
    stdout::line(format_args!("{json}"));
    Ok(0)
}

fn rm(volumes: &Volumes, home: &Home, args: &RmArgs) -> Result<u8, Failure> {
    let mut code = 0;
    for name in &args.volumes {
        if args.force && matches!(volumes.get(name), Ok(None)) {
            continue;
        }
        match remove(volumes, home, name) {
            Ok(()) => stdout::line(format_args!("{name}")),
            Err(failure) => {
                let failure = failure.context(format!("cannot remove volume {name}"));
                failure.print();
                code = failure.exit_code();
            }
        }
    }
    Ok(code)
}

fn remove(volumes: &Volumes, home: &Home, name: &str) -> Result<(), Failure> {
    let locked = volumes.lock().map_err(anyhow::Error::from)?;
    let volume = volumes.find(name).map_err(anyhow::Error::from)?;
    // Under the lock, under which pods get their volumes.
    let users = users(home)?;
    let pods: Vec<_> =
        users.having(&volumes.place(&volume)).map(|pod| pod.path().display().to_string()).collect();
    if !pods.is_empty() {
        let failure = Failure::new(format!("volume is in use - [{}]", pods.join(", ")));
        return Err(
            failure.hint("remove the pods first: `kcradle rm`, or `docker rm` for those of the daemon")
        );
    }
    locked.remove(name).map_err(anyhow::Error::from)?;
    Ok(())
}

/// What `prune` did.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Pruned {
    volumes: Vec<String>,
    reclaimed: u64,
}

fn prune(volumes: &Volumes, home: &Home, args: &PruneArgs) -> Result<u8, Failure> {
    let locked = volumes.lock().map_err(anyhow::Error::from)?;
    locked.tidy().map_err(anyhow::Error::from)?;
    let users = users(home)?;
    let mut pruned = Pruned::default();
    for volume in volumes.all().map_err(anyhow::Error::from)? {
        let is_wanted = args.all || volume.is_anonymous();
        if !is_wanted || users.having(&volumes.place(&volume)).next().is_some() {
            continue;
        }
        let used = volumes.used(&volume);
        match locked.remove(&volume.name) {
            // A process that is no pod of the store's has it.
            Err(VolumeError::InUse(_)) => continue,
            removed => removed.map_err(anyhow::Error::from)?,
        };
        pruned.reclaimed += used;
        pruned.volumes.push(volume.name);
    }
    if args.json {
        let json = serde_json::to_string(&pruned).context("cannot print what was removed")?;
        stdout::line(format_args!("{json}"));
        return Ok(0);
    }
    if !pruned.volumes.is_empty() {
        stdout::line(format_args!("Deleted Volumes:"));
        pruned.volumes.iter().for_each(|name| stdout::line(format_args!("{name}")));
    }
    stdout::line(format_args!("Total reclaimed space: {}", size::human(pruned.reclaimed)));
    Ok(0)
}
