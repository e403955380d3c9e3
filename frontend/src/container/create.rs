//! `POST /containers/create`: a container's record, and the directory of its pod.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::SystemTime;

use bollard_stubs::models::{self, ContainerConfig, HostConfig, NetworkingConfig};
use hyper::StatusCode;
use image::{CatalogError, ImageHandle, StoredImage};
use pod::make::{self, Blueprint};
use pod::size::parse_disk;
use pod::{Home, MakeError, Package, Staging};
use serde::Deserialize;
use serde_json::Value;
use spec::ContainerSpec;
use spec::launch::{NetworkSpec, Resources};
use vdocker::EngineError;
use vdocker::response::{self, Response};
use vdocker::version::ApiVersion;

use super::mounts::{self, Mounts};
use super::record::{Record, State, Stored, VERSION};
use super::{Container, endpoints, lifecycle, merge, names, networking, options, ports, process};
use crate::context::{Context, wrong};
use crate::daemon::Daemon;
use crate::db::Batch;
use crate::failure::{failed, report};
use crate::json;

/// Bytes of the writable disk where nothing is said; the file is sparse.
const DISK: u64 = 10 << 30;

/// What a client wants.
struct Wish {
    name: Option<String>,
    config: ContainerConfig,
    host: HostConfig,
    networks: NetworkingConfig,
    version: ApiVersion,
}

/// What is not of the container alone.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Parts {
    host_config: Option<HostConfig>,
    networking_config: Option<NetworkingConfig>,
}

/// `POST /containers/create`.
pub(super) async fn create(mut context: Context) -> Result<Response, EngineError> {
    let wish = Wish::read(&mut context).await?;
    let daemon = Rc::clone(&context.daemon);
    let id = crate::id::new().map_err(|error| EngineError::Failed(format!("cannot make an id: {error}")))?;
    let name = match &wish.name {
        Some(name) => {
            daemon.containers.take_name(name, &id)?;
            name.clone()
        }
        None => names::made_up(&daemon.containers, &id)?,
    };
    let named = Named { daemon: Rc::clone(&daemon), name: Some(name.clone()) };
    let of_work = id.clone();
    let warnings = lifecycle::whole(async move {
        let warnings = make(&daemon, wish, &of_work, name).await?;
        named.keep();
        Ok(warnings)
    });
    let created = models::ContainerCreateResponse { warnings: warnings.await?, id };
    response::json(StatusCode::CREATED, &created)
}

/// A name that is given back where nothing comes of its container.
struct Named {
    daemon: Rc<Daemon>,
    name: Option<String>,
}

impl Named {
    fn keep(mut self) {
        self.name = None;
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        if let Some(name) = &self.name {
            self.daemon.containers.free_name(name);
        }
    }
}

impl Wish {
    async fn read(context: &mut Context) -> Result<Self, EngineError> {
        let name = context.query.text("name").map(names::checked).transpose()?;
        if let Some(platform) = context.query.text("platform")
            && !["linux", "linux/amd64", "linux/x86_64"].contains(&platform)
        {
            return Err(EngineError::NotFound(format!(
                "image with reference was found but its platform (linux/amd64) does not match the specified platform \
                 ({platform})"
            )));
        }
        let mut body: Value = context.json().await?;
        let fields = body.as_object_mut().ok_or_else(|| {
            EngineError::BadRequest("config cannot be empty in order to create a container".into())
        })?;
        for (name, value) in fields {
            // Docker takes one word for a list of it.
            if ["Cmd", "Entrypoint"].iter().any(|words| words.eq_ignore_ascii_case(name)) && value.is_string()
            {
                *value = Value::from(vec![value.take()]);
            }
        }
        let wrong = |error| wrong(&error);
        let Parts { host_config, networking_config } = json::read(body.clone()).map_err(wrong)?;
        let config = json::read(body).map_err(wrong)?;
        let (host, networks) = (host_config.unwrap_or_default(), networking_config.unwrap_or_default());
        Ok(Self { name, config, host, networks, version: context.version })
    }
}

async fn make(daemon: &Rc<Daemon>, wish: Wish, id: &str, name: String) -> Result<Vec<String>, EngineError> {
    let Wish { mut config, mut host, mut networks, version, .. } = wish;
    let mut warnings = options::check(&host)?;
    let wanted = config.image.clone().unwrap_or_default();
    let (image, handle) = find_image(daemon, &wanted).await?;
    merge::with_image(&mut config, &image.config.config);
    let words = merge::words(&config);
    let Some((path, args)) = words.split_first() else {
        return Err(EngineError::BadRequest("no command specified".into()));
    };
    process::check(&config)?;
    ports::check(&config, &host)?;
    fill(&mut config, &mut host, id);
    warnings.extend(endpoints::join(daemon, &mut networks, &config, &host, version)?.map(str::to_owned));
    warnings.extend(networking::warning(daemon, &networks, &host));
    let mounts = mounts::prepare(daemon, &config, &host).await?;
    let made = mounts.made.clone();
    let record = Record {
        version: VERSION,
        id: id.to_owned(),
        name,
        created: SystemTime::now(),
        image: wanted,
        image_id: image.id.to_string(),
        manifest: image.manifest.map(|digest| digest.to_string()).unwrap_or_default(),
        path: path.clone(),
        args: args.to_vec(),
        config,
        host_config: host,
        networks,
        mounts: mounts.points.clone(),
    };
    if let Err(error) = complete(daemon, record, mounts, handle).await {
        super::remove::remove_anonymous(daemon, &made).await;
        return Err(error);
    }
    Ok(warnings)
}

/// Makes a container's pod, and keeps both.
async fn complete(
    daemon: &Rc<Daemon>,
    record: Record,
    mounts: Mounts,
    handle: ImageHandle,
) -> Result<(), EngineError> {
    let (id, config, host) = (record.id.clone(), &record.config, &record.host_config);
    let mut spec = process::spec(&handle, config, host, &mounts, &id)?;
    spec.mounts.extend(mounts.specs.iter().cloned());
    spec.mounts.sort_by_key(|mount| mount.guest_path.matches('/').count());
    let network = process::network(config, host)?;
    write_pod(daemon, &id, spec, network, host, &mounts, handle).await?;
    let volumes: Vec<_> = mounts.points.into_iter().filter_map(|point| point.name).collect();
    let container = Container::new(Stored { record, state: State::default() });
    let kept = keep(daemon, &container, &volumes).await;
    if kept.is_err()
        && let Err(error) = super::remove::remove_pod(daemon, &id).await
    {
        report("cannot remove what is left of a container", &error);
    }
    kept
}

/// Keeps a container whose pod is made, if its volumes are still there.
async fn keep(daemon: &Daemon, container: &Rc<Container>, volumes: &[String]) -> Result<(), EngineError> {
    // Until it is known that the container has them, they could be removed.
    let _changing = daemon.volumes.changing().await;
    if let Some(gone) = volumes.iter().find(|name| daemon.volumes.get(name).is_none()) {
        return Err(EngineError::Conflict(format!("volume {gone} was removed meanwhile")));
    }
    let mut batch = Batch::default();
    container.keep(&mut batch)?;
    daemon.events.push(&mut batch, container.event("create", &[]));
    daemon.db.commit(batch).await?;
    daemon.containers.add(container);
    Ok(())
}

/// The image that a name or an id means.
async fn find_image(daemon: &Daemon, wanted: &str) -> Result<(StoredImage, ImageHandle), EngineError> {
    let (images, name) = (daemon.images.clone(), wanted.to_owned());
    let found = daemon.blocking(move || {
        let image = images.image(&name)?;
        let handle = images.open_image(&image, &name)?;
        Ok((image, handle))
    });
    match found.await? {
        Ok((image, Some(handle))) => Ok((image, handle)),
        Ok((_, None)) => Err(EngineError::NotFound(format!("No such image: {wanted}"))),
        Err(CatalogError::NoImage(name)) => {
            Err(EngineError::NotFound(format!("No such image: {}", tagged(&name))))
        }
        Err(error @ CatalogError::Reference(_)) => {
            Err(EngineError::BadRequest(format!("invalid reference format: {error}")))
        }
        Err(error) => Err(failed(&error)),
    }
}

/// Docker names the tag that it looked for.
fn tagged(name: &str) -> String {
    let last = name.rsplit('/').next().unwrap_or_default();
    if last.contains([':', '@']) { name.to_owned() } else { format!("{name}:latest") }
}

/// What inspect shows although the client left it out.
fn fill(config: &mut ContainerConfig, host: &mut HostConfig, id: &str) {
    if config.hostname.as_deref().unwrap_or_default().is_empty() {
        config.hostname = Some(id[..12].to_owned());
    }
    for flag in [
        &mut config.attach_stdin,
        &mut config.attach_stdout,
        &mut config.attach_stderr,
        &mut config.tty,
        &mut config.open_stdin,
        &mut config.stdin_once,
        &mut host.auto_remove,
        &mut host.privileged,
        &mut host.publish_all_ports,
        &mut host.readonly_rootfs,
    ] {
        flag.get_or_insert_default();
    }
    config.domainname.get_or_insert_default();
    for number in [
        &mut host.memory,
        &mut host.nano_cpus,
        &mut host.cpu_shares,
        &mut host.cpu_quota,
        &mut host.cpu_period,
    ] {
        number.get_or_insert_default();
    }
    let or = |text: &mut Option<String>, value: &str| {
        if text.as_deref().unwrap_or_default().is_empty() {
            *text = Some(value.to_owned());
        }
    };
    or(&mut host.network_mode, "default");
    if host.network_mode.as_deref() == Some("default") {
        host.network_mode = Some("bridge".to_owned());
    }
    or(&mut host.ipc_mode, "private");
    or(&mut host.runtime, "cradle");
    if host.shm_size.unwrap_or_default() == 0 {
        host.shm_size = i64::try_from(image::container::SHM_SIZE).ok();
    }
    let policy = host.restart_policy.get_or_insert_default();
    let name = policy.name.unwrap_or(models::RestartPolicyNameEnum::EMPTY);
    policy.name = Some(if name == models::RestartPolicyNameEnum::EMPTY {
        models::RestartPolicyNameEnum::NO
    } else {
        name
    });
    policy.maximum_retry_count.get_or_insert_default();
    let log = host.log_config.get_or_insert_default();
    or(&mut log.typ, "json-file");
    log.config.get_or_insert_default();
    // The client's word for nothing.
    host.memory_swappiness = host.memory_swappiness.filter(|percent| *percent != -1);
}

/// Makes the directory of the pod.
async fn write_pod(
    daemon: &Rc<Daemon>,
    id: &str,
    container: ContainerSpec,
    network: NetworkSpec,
    host: &HostConfig,
    mounts: &Mounts,
    handle: ImageHandle,
) -> Result<(), EngineError> {
    let (volumes, shares) = (mounts.disks.clone(), mounts.shares.clone());
    let resources = Resources { cpu: process::cpus(host)?, mem: process::memory(host) };
    let (disk_size, limits) = (disk_size(host)?, options::limits(host)?);
    let (id, dir) = (id.to_owned(), daemon.pods.root().join(id));
    let (home, package, images) =
        (daemon.config.home.clone(), daemon.config.package.clone(), daemon.images.clone());
    let made = daemon.blocking(move || {
        let blueprint = Blueprint {
            id,
            resources,
            disk_size,
            images: vec![&handle],
            containers: vec![container],
            volumes,
            shares,
            labels: BTreeMap::new(),
            restart: pod::RestartPolicy::No,
            network,
            networking: pod::Networking::default(),
            limits,
        };
        put(blueprint, &dir, &home, &package, &images)
    });
    made.await?.map_err(|error| match error {
        MakeError::Limit(error) => EngineError::BadRequest(error.to_string()),
        error => failed(&error),
    })
}

fn put(
    blueprint: Blueprint<'_>,
    dir: &std::path::Path,
    home: &Home,
    package: &Package,
    images: &image::Store,
) -> Result<(), MakeError> {
    let staging = Staging::begin(dir)?;
    blueprint.write(staging, home, package)?.put(images)?;
    Ok(())
}

/// Bytes of the writable disk: `size` among the options of the storage, as in 20G.
fn disk_size(host: &HostConfig) -> Result<u64, EngineError> {
    let Some(text) = host.storage_opt.as_ref().and_then(|options| options.get("size")) else {
        return Ok(DISK);
    };
    parse_disk(text).map_err(|error| EngineError::BadRequest(format!("invalid size: {error}")))
}

/// A container of an image, as the pod's guest is told of it.
pub(super) fn container_of(
    handle: &ImageHandle,
    reference: &str,
    overrides: &image::ContainerOverrides,
) -> Result<ContainerSpec, EngineError> {
    make::container(&[handle], 0, reference, overrides)
        .map_err(|error| EngineError::BadRequest(crate::failure::chain(&error)))
}
