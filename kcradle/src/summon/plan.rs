//! What the user asks of a pod, from the command line or a pod file, before any image is looked at.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use anyhow::Context as _;
use image::container::{ContainerOverrides, EnvChange, env};
use spec::launch::{MAX_CONTAINERS, NetworkSpec};

use crate::cli::SummonArgs;
use crate::failure::Failure;
use crate::network::addresses::Addresses;
use pod::mount::{Wish, text};
use pod::size::{Cpus, parse_bytes, parse_cpus, parse_disk};
use pod::{Networking, RestartPolicy};

use super::pod_file;

/// vCPUs where nothing is said.
const DEFAULT_CPUS: Cpus = Cpus { count: 1, millis: None };
/// Guest memory in MiB where nothing is said.
const DEFAULT_MEMORY: u64 = 512;
/// The least guest memory in MiB.
const MIN_MEMORY: u64 = 64;
/// The most guest memory in MiB: 1 TiB.
const MAX_MEMORY: u64 = 1 << 20;
/// Bytes of the writable disk where nothing is said.
pub(super) const DEFAULT_DISK: u64 = 10 << 30;
/// The least size of the writable disk in bytes.
const MIN_DISK: u64 = 16 << 20;

/// A pod as the user asks for it.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Lower-case hexadecimal, 64 digits, where the user chose one.
    pub(crate) id: Option<String>,
    pub(crate) cpus: Cpus,
    /// Guest memory in MiB.
    pub(crate) memory: u64,
    /// Size of the writable disk in bytes, a multiple of 4 KiB.
    pub(crate) disk_size: u64,
    /// Size of volumes that are made, in bytes; 0: the usual one.
    pub(crate) volume_size: u64,
    /// Devices and files that a pod file calls volumes.
    pub(crate) devices: BTreeMap<String, PathBuf>,
    pub(crate) restart: RestartPolicy,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) network: NetworkSpec,
    pub(crate) networking: Networking,
    /// Those that the pod file gives.
    pub(crate) addresses: Addresses,
    pub(crate) containers: Vec<ContainerPlan>,
}

/// A container as the user asks for it.
#[derive(Debug)]
pub(crate) struct ContainerPlan {
    /// The image's source, as [`image::Source`] reads it.
    pub(crate) image: String,
    /// What is to be otherwise than the image has it; the name is set and unique in the pod.
    pub(crate) overrides: ContainerOverrides,
    /// What is mounted into it, each place once.
    pub(crate) mounts: Vec<(String, Wish)>,
}

impl Plan {
    /// Reads the arguments, and the pod file if they name one. Arguments win over the file.
    pub(crate) fn new(args: &SummonArgs) -> Result<Self, Failure> {
        let mut plan = Self {
            id: None,
            cpus: DEFAULT_CPUS,
            memory: DEFAULT_MEMORY,
            disk_size: DEFAULT_DISK,
            volume_size: 0,
            devices: BTreeMap::new(),
            restart: RestartPolicy::No,
            labels: BTreeMap::new(),
            network: NetworkSpec::default(),
            networking: Networking::default(),
            addresses: Addresses::default(),
            containers: Vec::new(),
        };
        match (&args.file, args.image.split_first()) {
            (Some(path), _) => pod_file::read(path, &mut plan)?,
            (None, Some((image, command))) => {
                let (mounts, mut overrides) = (mounts(args)?, overrides(args, command)?);
                overrides.tmpfs.extend(tmpfs(&mounts));
                plan.containers.push(ContainerPlan { image: image.clone(), overrides, mounts });
            }
            (None, None) => return Err(Failure::new("no image given")),
        }
        if let Some(cpus) = &args.cpus {
            plan.cpus = parse_cpus(cpus).context("invalid value for --cpus")?;
        }
        if let Some(memory) = &args.memory {
            plan.memory = parse_bytes(memory).context("invalid value for --memory")?.div_ceil(1 << 20);
        }
        if let Some(size) = &args.disk_size {
            plan.disk_size = parse_bytes(size).context("invalid value for --disk-size")?;
        }
        if let Some(size) = &args.volume_size {
            plan.volume_size = parse_disk(size).context("invalid value for --volume-size")?;
        }
        plan.restart = args.restart.unwrap_or(plan.restart);
        for label in &args.label {
            let (name, value) = label.split_once('=').unwrap_or((label, ""));
            plan.labels.insert(name.to_owned(), value.to_owned());
        }
        plan.check()?;
        plan.name_containers();
        plan.label_containers();
        Ok(plan)
    }

    /// Whether volumes of the store are mounted.
    pub(crate) fn needs_volumes(&self) -> bool {
        let is_of_store = |wish: &Wish| matches!(wish, Wish::Volume(wish) if wish.name.as_ref().is_some_and(|name| !self.devices.contains_key(name)));
        self.containers.iter().flat_map(|container| &container.mounts).any(|(_, wish)| is_of_store(wish))
    }

    fn check(&mut self) -> Result<(), Failure> {
        if !(MIN_MEMORY..=MAX_MEMORY).contains(&self.memory) {
            return Err(Failure::new(format!("{} MiB of memory is out of range", self.memory))
                .hint(format!("a pod has {MIN_MEMORY} MiB to {MAX_MEMORY} MiB, as in --memory 512m")));
        }
        if self.disk_size < MIN_DISK {
            return Err(Failure::new(format!("a disk of {} bytes is too small", self.disk_size))
                .hint("the least is --disk-size 16m"));
        }
        self.disk_size = self.disk_size.next_multiple_of(4096);
        if self.containers.is_empty() {
            return Err(Failure::new("the pod has no containers"));
        }
        if self.containers.len() > MAX_CONTAINERS {
            return Err(Failure::new(format!(
                "{} containers are over the limit of {MAX_CONTAINERS}",
                self.containers.len()
            )));
        }
        let own = self.containers.iter().flat_map(|container| container.overrides.labels.keys());
        if self.labels.keys().chain(own).any(String::is_empty) {
            return Err(Failure::new("a label needs a name"));
        }
        let mut names = BTreeSet::new();
        for name in self.containers.iter().map(|container| &container.overrides.name) {
            if !name.is_empty() && !names.insert(name) {
                return Err(Failure::new(format!("two containers are named \"{name}\"")));
            }
        }
        Ok(())
    }

    /// Gives each container the pod's labels that it has not otherwise: the guest's Docker API knows containers only.
    fn label_containers(&mut self) {
        for container in &mut self.containers {
            for (name, value) in &self.labels {
                container.overrides.labels.entry(name.clone()).or_insert_with(|| value.clone());
            }
        }
    }

    /// Names the containers that have no name after their images.
    fn name_containers(&mut self) {
        let mut taken: BTreeSet<String> =
            self.containers.iter().map(|container| container.overrides.name.clone()).collect();
        for container in &mut self.containers {
            if !container.overrides.name.is_empty() {
                continue;
            }
            let base = name_from_image(&container.image);
            let numbered = (2..).map(|number: u32| format!("{base}-{number}"));
            let name = std::iter::once(base.clone()).chain(numbered).find(|name| !taken.contains(name));
            container.overrides.name = name.unwrap_or(base);
            taken.insert(container.overrides.name.clone());
        }
    }
}

/// The wishes of the command line about its one container.
fn overrides(args: &SummonArgs, command: &[String]) -> Result<ContainerOverrides, Failure> {
    Ok(ContainerOverrides {
        name: args.name.clone().unwrap_or_default(),
        entrypoint: args.entrypoint.clone().map(|program| vec![program]),
        cmd: command.to_vec(),
        env: environment(args)?,
        user: args.user.clone(),
        workdir: args.workdir.clone(),
        hostname: args.hostname.clone().unwrap_or_default(),
        init: args.init,
        tty: args.tty,
        stdin: args.interactive,
        read_only: args.read_only,
        tmpfs: args.tmpfs.clone(),
        stop_timeout: args.stop_timeout,
        health: args.health.wishes()?,
        ..ContainerOverrides::default()
    })
}

/// What the command line mounts, each place once.
fn mounts(args: &SummonArgs) -> Result<Vec<(String, Wish)>, Failure> {
    let volumes = args.volume.iter().map(|text| text::volume(text));
    let mounts = volumes.chain(args.mount.iter().map(|text| text::mount(text)));
    let mounts: Vec<_> = mounts.collect::<Result<_, _>>().map_err(anyhow::Error::from)?;
    check_targets(&mounts)?;
    Ok(mounts)
}

/// Refuses two mounts at one place.
pub(super) fn check_targets(mounts: &[(String, Wish)]) -> Result<(), Failure> {
    let mut targets = BTreeSet::new();
    match mounts.iter().find(|(target, _)| !targets.insert(target)) {
        None => Ok(()),
        Some((twice, _)) => Err(Failure::new(format!("Duplicate mount point: {twice}"))),
    }
}

/// The memory file systems among mounts, as `--tmpfs` has them.
fn tmpfs(mounts: &[(String, Wish)]) -> impl Iterator<Item = String> {
    mounts.iter().filter_map(|(target, wish)| match wish {
        Wish::Tmpfs(options) => Some(format!("{target}:{options}").trim_end_matches(':').to_owned()),
        Wish::Volume(_) | Wish::Bind(_) => None,
    })
}

/// The variables of the files, then those of the arguments.
fn environment(args: &SummonArgs) -> Result<Vec<EnvChange>, Failure> {
    let host = |name: &str| std::env::var(name).ok();
    let mut changes = Vec::new();
    for path in &args.env_file {
        let wrong = || format!("cannot read environment file {}", path.display());
        let content = std::fs::read_to_string(path).with_context(wrong)?;
        let content = content.strip_prefix('\u{feff}').unwrap_or(&content);
        changes.extend(env::from_file(content, host).with_context(wrong)?);
    }
    for text in &args.env {
        changes.push(env::from_option(text, host).context("invalid value for --env")?);
    }
    Ok(changes)
}

/// `docker://registry/team/web:1` and `oci:/images/web` are both `web`.
fn name_from_image(image: &str) -> String {
    let path = image.split_once(':').filter(|(scheme, _)| is_scheme(scheme)).map_or(image, |(_, rest)| rest);
    let last = path.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let stem = last.split([':', '@']).next().unwrap_or_default();
    let stem = stem.strip_suffix(".tar").unwrap_or(stem);
    let clean: String =
        stem.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-')).take(60).collect();
    let clean = clean.trim_start_matches(|c: char| !c.is_ascii_alphanumeric());
    if clean.is_empty() { "main".to_owned() } else { clean.to_owned() }
}

fn is_scheme(text: &str) -> bool {
    ["docker", "docker-daemon", "docker-archive", "oci", "oci-archive", "bundle"].contains(&text)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::{Cli, Command};

    fn plan(arguments: &[&str]) -> Result<Plan, String> {
        let cli = Cli::try_parse_from(["kcradle", "summon"].iter().chain(arguments)).unwrap();
        let Command::Summon(args) = cli.command else { panic!("not summon") };
        Plan::new(&args).map_err(|failure| failure.line())
    }

    #[test]
    fn names_come_from_images() {
        for (image, name) in [
            ("redis", "redis"),
            ("localhost:5000/team/web:1.2", "web"),
            ("docker://ghcr.io/a/b@sha256:00", "b"),
            ("docker-archive:/x/mariadb.tar:a:1", "mariadb"),
            ("oci:./layout/:tag", "main"),
            ("oci:layout:tag", "layout"),
            ("bundle:/b/..", "main"),
        ] {
            assert_eq!(name_from_image(image), name, "{image}");
        }
    }

    #[test]
    fn sizes_and_labels_are_read() {
        let plan = plan(&["d", "i", "--cpus", "1.5"][..3]).err();
        assert_eq!(plan, None);
        let plan = super::tests::plan(&[
            "--cpus", "1.5", "--memory", "100k", "--label", "a=b=c", "-l", "x", "d", "i",
        ]);
        assert!(plan.unwrap_err().contains("out of range"));
        let plan =
            super::tests::plan(&["--cpus", "1.5", "-m", "1g", "-l", "a=b=c", "-l", "x", "d", "i"]).unwrap();
        assert_eq!((plan.cpus.count, plan.cpus.millis, plan.memory), (2, Some(1500), 1024));
        assert_eq!(plan.labels["a"], "b=c");
        assert_eq!(plan.labels["x"], "");
        assert_eq!(plan.containers[0].overrides.labels, plan.labels);
        assert_eq!(plan.containers[0].overrides.name, "i");
    }

    #[test]
    fn wrong_sizes_name_their_argument() {
        assert!(
            plan(&["--memory", "lots", "d", "i"])
                .unwrap_err()
                .starts_with("invalid value for --memory: \"lots\"")
        );
        assert!(plan(&["--cpus", "0", "d", "i"]).unwrap_err().starts_with("invalid value for --cpus"));
        assert!(plan(&["--disk-size", "1m", "d", "i"]).unwrap_err().contains("too small"));
    }
}
