//! `kcradle summon`: from an image, or a pod file, to a pod directory.
//!
//! The recipe reads top to bottom in [`summon`]. Everything is made in a hidden directory beside the pod's place and
//! moved there in one step, so a summon that is torn leaves nothing that looks like a pod.

mod cancel;
mod plan;
mod pod_file;
mod snp;
mod volumes;

use std::path::PathBuf;

use anyhow::Context as _;
use image::{ImageHandle, ResolveOptions, Source, Store};
use pod::make::{self, Blueprint};
use pod::{Home, ImageRecord, Package, Staging};
use serde::Serialize;
use spec::ContainerSpec;
use spec::launch::Resources;
use spec::package::Machine;

use crate::cli::SummonArgs;
use crate::failure::{Failure, HintExt as _};
use crate::home;
use crate::network::wishes;
use crate::progress::Display;
use crate::stdout;

use cancel::Cancel;
use plan::{ContainerPlan, Plan};
use volumes::{Mounted, Origin};

/// Makes the pod and says what was made.
pub(crate) fn run(args: &SummonArgs) -> Result<u8, Failure> {
    let home = home::find()?;
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
    let mut plan = Plan::new(args)?;
    if args.variant == Machine::Snp {
        snp::check(&plan)?;
    }
    let package = Package::find(args.variant).map_err(anyhow::Error::from)?;
    let staging = Staging::begin(&args.dir).map_err(anyhow::Error::from)?;
    let store = home::store(home)?;
    let cancel = Cancel::on_signals().context("cannot watch for signals")?;
    let display = Display::new(args.quiet || args.json);

    let mut images = Images::default();
    for container in &plan.containers {
        images.resolve(&store, &container.image, &cancel, &display)?;
    }
    if args.variant == Machine::Snp {
        images.bind(&store, &cancel, &display)?;
    }
    let id = plan.id.clone().map_or_else(make::new_id, Ok).map_err(anyhow::Error::from)?;
    let volumes = home.volumes();
    let locked = plan.needs_volumes().then(|| volumes.lock()).transpose().map_err(anyhow::Error::from)?;
    let source = Origin {
        store: &volumes,
        locked,
        templates: home.templates(),
        size: plan.volume_size,
        devices: &plan.devices,
    };
    let (containers, mounted) = containers(&plan, &id, &images, &source)?;
    let own = wishes::own_names(staging.destination(), &id, &containers);
    wishes::apply(&args.networks, home, own, &plan.addresses, &mut plan.networking, &mut plan.network)?;
    let blueprint = Blueprint {
        resources: Resources { cpu: plan.cpus.count, mem: plan.memory },
        disk_size: plan.disk_size,
        images: images.handles(),
        containers,
        volumes: mounted.disks,
        shares: mounted.shares,
        labels: plan.labels.clone(),
        restart: plan.restart,
        network: plan.network.clone(),
        limits: args.limits.wishes()?,
        networking: plan.networking.clone(),
        id: id.clone(),
    };
    let written = blueprint.write(staging, home, &package).map_err(anyhow::Error::from)?;
    cancel.check()?;
    let (dir, record) = written.put(&store).map_err(anyhow::Error::from)?;
    // From here on, whoever removes volumes sees that the pod has them.
    drop(source);
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

    /// Has the guest check the disks.
    fn bind(&mut self, store: &Store, cancel: &Cancel, display: &Display) -> Result<(), Failure> {
        for image in &mut self.disks {
            let bound = image.add_verity(store, display, Some(cancel.flag()));
            bound.with_context(|| format!("cannot bind the pod to the image {}", image.reference()))?;
        }
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
}

/// The containers as the plan has them, of the images that were resolved.
fn containers(
    plan: &Plan,
    id: &str,
    images: &Images,
    source: &Origin<'_>,
) -> Result<(Vec<ContainerSpec>, Mounted), Failure> {
    let mut mounted = Mounted::default();
    let handles = images.handles();
    let cpu_millis = cpu_limit(plan)?;
    let alone = plan.containers.len() == 1;
    let container = |(container, (reference, disk)): (&ContainerPlan, &(String, usize))| {
        let mut overrides = container.overrides.clone();
        if overrides.hostname.is_empty() && alone {
            id[..12].clone_into(&mut overrides.hostname);
        }
        let mut spec =
            make::container(&handles, *disk, reference, &overrides).map_err(anyhow::Error::from)?;
        spec.limits.cpu_millis = cpu_millis;
        mounted.add(container, &mut spec, source)?;
        Ok(spec)
    };
    let containers: Result<_, Failure> =
        plan.containers.iter().zip(&images.containers).map(container).collect();
    Ok((containers?, mounted))
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
