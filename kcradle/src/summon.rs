//! `kcradle summon`: from an image, or a pod file, to a pod directory.
//!
//! The recipe reads top to bottom in [`summon`]. Everything is made in a hidden directory beside the pod's place and
//! moved there in one step, so a summon that is torn leaves nothing that looks like a pod.

mod cancel;
mod plan;
mod pod_file;
mod staging;

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use image::{ImageHandle, ResolveOptions, Source, Store, container_spec};
use serde::Serialize;
use spec::launch::{DiskSpec, ImageSpec, LimitsSpec, MountSource, Resources, Writable};
use spec::{ContainerSpec, LaunchSpec};

use crate::cli::SummonArgs;
use crate::clock;
use crate::failure::{Failure, HintExt as _};
use crate::home::Home;
use crate::package::Package;
use crate::pod::{DiskRecord, Extent, ImageRecord, PodRecord, record};
use crate::progress::Display;
use crate::stdout;

use cancel::Cancel;
use plan::Plan;
use staging::Staging;

/// Makes the pod and says what was made.
pub(crate) fn run(args: &SummonArgs) -> Result<u8, Failure> {
    let home = Home::from_environment()?;
    let context = format!("cannot summon {}", args.dir.display());
    let summoned = summon(args, &home).map_err(|failure| failure.context(context))?;
    if args.json {
        stdout::line(format_args!("{}", serde_json::to_string(&summoned).context("cannot print the pod")?));
    } else if !args.quiet {
        let images: Vec<_> = summoned.images.iter().map(|image| image.reference.as_str()).collect();
        eprintln!(
            "{} is a pod of {}; start it with: kcradle run {}",
            &summoned.id[..12],
            images.join(", "),
            args.dir.display()
        );
    }
    Ok(0)
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Summoned {
    id: String,
    dir: PathBuf,
    images: Vec<ImageRecord>,
}

fn summon(args: &SummonArgs, home: &Home) -> Result<Summoned, Failure> {
    let plan = Plan::new(args)?;
    let package = Package::find()?;
    let staging = Staging::begin(&args.dir)?;
    let store = home.store()?;
    let cancel = Cancel::on_signals().context("cannot watch for signals")?;
    let display = Display::new(args.quiet || args.json);

    let mut images = Images::default();
    for container in &plan.containers {
        images.resolve(&store, &container.image, &cancel, &display)?;
    }
    let id = plan.id.clone().map_or_else(new_id, Ok)?;
    let launch = launch_spec(&plan, &id, &images)?;
    let record = PodRecord {
        version: record::VERSION,
        id: id.clone(),
        created: clock::now(),
        home: home.path().to_owned(),
        labels: plan.labels.clone(),
        restart: plan.restart,
        images: images.records(),
        disks: launch.disks.iter().enumerate().map(|(index, disk)| images.disk_record(index, disk)).collect(),
    };
    if launch.disks.contains(&DiskSpec::Scratch) {
        image::ext4::create_scratch(&home.templates(), &staging.dir().scratch(), plan.disk_size)
            .context("cannot make the pod's writable disk")?;
    }
    cancel.check()?;
    staging.write(&launch, &record, &package)?;
    // Before the pod is in place: a collection in between must not take its layers. The handles keep them until then.
    store
        .add_root(staging.destination(), &images.handles())
        .context("cannot register the pod with the store")?;
    let dir = match staging.finish() {
        Ok(dir) => dir,
        Err((destination, failure)) => {
            let _ = store.remove_root(&destination);
            return Err(failure);
        }
    };
    Ok(Summoned { id, dir, images: record.images })
}

/// The images of the containers; one that several use is one disk.
#[derive(Default)]
struct Images {
    disks: Vec<ImageHandle>,
    /// One entry a container: what the user wrote, and the disk's index.
    containers: Vec<(String, usize)>,
}

impl Images {
    fn resolve(
        &mut self,
        store: &Store,
        text: &str,
        cancel: &Cancel,
        display: &Display,
    ) -> Result<(), Failure> {
        let known = self.containers.iter().find(|(known, _)| known == text).map(|(_, disk)| *disk);
        let disk = match known {
            Some(disk) => disk,
            None => {
                let source: Source = text.parse().context("cannot read the image's name").hint(
                    "write NAME[:TAG], docker://NAME, docker-archive:FILE, oci:DIR, oci-archive:FILE, \
                     docker-daemon:NAME or bundle:DIR",
                )?;
                let options = ResolveOptions { cancel: Some(cancel.flag()), ..ResolveOptions::default() };
                let resolved = image::resolve(store, &source, &options, display)
                    .with_context(|| format!("cannot get the image {text}"))?;
                self.keep(resolved.image)
            }
        };
        self.containers.push((text.to_owned(), disk));
        Ok(())
    }

    fn keep(&mut self, image: ImageHandle) -> usize {
        let known =
            self.disks.iter().position(|disk| disk.id() == image.id() && disk.extents() == image.extents());
        known.unwrap_or_else(|| {
            self.disks.push(image);
            self.disks.len() - 1
        })
    }

    fn handles(&self) -> Vec<&ImageHandle> {
        self.disks.iter().collect()
    }

    fn records(&self) -> Vec<ImageRecord> {
        let record = |(reference, disk): &(String, usize)| ImageRecord {
            reference: reference.clone(),
            digest: digest(&self.disks[*disk]),
        };
        self.containers.iter().map(record).collect()
    }

    fn disk_record(&self, index: usize, disk: &DiskSpec) -> DiskRecord {
        match disk {
            DiskSpec::Scratch => DiskRecord::Scratch,
            DiskSpec::Image => {
                let extents = self.disks[index].extents().iter();
                let extents = extents.map(|extent| Extent { path: extent.path.clone(), length: extent.len });
                DiskRecord::Image { extents: extents.collect() }
            }
        }
    }
}

fn digest(image: &ImageHandle) -> String {
    image.manifest_digest().map(|digest| digest.to_string()).unwrap_or_default()
}

/// What the guest is told: image disks first, then the scratch disk, if anything is written to it.
fn launch_spec(plan: &Plan, id: &str, images: &Images) -> Result<LaunchSpec, Failure> {
    let count = |number: usize| u32::try_from(number).context("too many disks");
    let scratch = count(images.disks.len())?;
    let mut containers = Vec::with_capacity(plan.containers.len());
    for (container, (reference, disk)) in plan.containers.iter().zip(&images.containers) {
        let image = &images.disks[*disk];
        let image_spec = ImageSpec {
            reference: reference.clone(),
            digest: digest(image),
            disk: count(*disk)?,
            writable: Writable::Disk(scratch),
        };
        let mut overrides = container.overrides.clone();
        if overrides.hostname.is_empty() && plan.containers.len() == 1 {
            id[..12].clone_into(&mut overrides.hostname);
        }
        let mut spec = container_spec(image.config(), image_spec, &overrides)
            .with_context(|| format!("cannot make a container of {reference}"))?;
        spec.limits = LimitsSpec { cpu_millis: cpu_limit(plan)?, ..spec.limits };
        containers.push(spec);
    }
    let mut disks = vec![DiskSpec::Image; images.disks.len()];
    if containers.iter().any(writes) {
        disks.push(DiskSpec::Scratch);
    }
    Ok(LaunchSpec {
        version: spec::launch::VERSION,
        id: id.to_owned(),
        resources: Resources { cpu: plan.cpus.count, mem: plan.memory },
        disks,
        containers,
        network: plan.network.clone(),
        hold: false,
        quiet: false,
    })
}

fn cpu_limit(plan: &Plan) -> Result<Option<u64>, Failure> {
    match plan.cpus.millis {
        Some(_) if plan.containers.len() > 1 => {
            Err(Failure::new("a part of a CPU cannot be given to several containers")
                .hint("use a whole number in --cpus"))
        }
        millis => Ok(millis),
    }
}

/// Whether a container needs the scratch disk.
fn writes(container: &ContainerSpec) -> bool {
    let anonymous = |mount: &spec::launch::MountSpec| matches!(mount.source, MountSource::Anonymous { .. });
    matches!(container.image.writable, Writable::Disk(_)) || container.mounts.iter().any(anonymous)
}

/// 64 random hexadecimal digits.
fn new_id() -> Result<String, Failure> {
    let mut bytes = [0_u8; 32];
    let mut filled = 0;
    while filled < bytes.len() {
        let rest = &mut bytes[filled..];
        filled += rustix::rand::getrandom(rest, rustix::rand::GetRandomFlags::empty())
            .context("cannot get random bytes")?;
    }
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Whether there is anything at `path` that is not an empty directory.
fn is_occupied(path: &Path) -> std::io::Result<bool> {
    match std::fs::read_dir(path) {
        Ok(mut entries) => Ok(entries.next().is_some()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => Ok(true),
        Err(error) => Err(error),
    }
}
