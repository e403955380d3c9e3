//! The mounts of a container to be: volumes with and without a name, directories and files of the host, and memory file
//! systems, from `Binds`, `Mounts`, `Tmpfs` and the paths of `Volumes`. The host is the daemon's, wherever the client is.

use std::collections::BTreeMap;

use bollard_stubs::models::{
    self, ContainerConfig, HostConfig, MountPoint, MountPointTypeEnum, MountTypeEnum,
};
use pod::share::{self, Bind, Cache};
use pod::{ShareError, Shares};
use spec::launch::{MountSource, MountSpec};
use vdocker::EngineError;

use crate::daemon::Daemon;
use crate::volume::{self, Wanted};

/// What is mounted, as clients see it and as the guest does it.
#[derive(Debug, Default)]
pub(super) struct Mounts {
    /// Volumes and binds: what inspect shows.
    pub(super) points: Vec<MountPoint>,
    /// The same, and what the guest mounts beside.
    pub(super) specs: Vec<MountSpec>,
    /// Options as `--tmpfs` has them.
    pub(super) tmpfs: Vec<String>,
    /// What of the host is mounted.
    pub(super) shares: Shares,
    /// Volumes without a name, which were made for it.
    pub(super) made: Vec<String>,
}

/// A mount that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Wish {
    Volume(VolumeWish),
    Bind {
        bind: Bind,
        /// As the client wrote it.
        mode: String,
    },
    Tmpfs {
        options: String,
    },
}

/// A volume that is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct VolumeWish {
    /// `None`: one of the container's own.
    name: Option<String>,
    /// A path in it.
    subpath: Option<String>,
    no_copy: bool,
    read_only: bool,
    /// As the client wrote it.
    mode: String,
    labels: BTreeMap<String, String>,
    options: BTreeMap<String, String>,
}

impl Wish {
    /// A volume that anything else comes before.
    fn is_anonymous(&self) -> bool {
        matches!(self, Self::Volume(wish) if wish.name.is_none())
    }
}

/// Finds what is to be mounted, and makes the volumes that are missing.
///
/// # Errors
/// [`EngineError::BadRequest`] for what cannot be mounted, and those of making volumes.
pub(super) async fn prepare(
    daemon: &Daemon,
    config: &ContainerConfig,
    host: &HostConfig,
) -> Result<Mounts, EngineError> {
    let mut mounts = Mounts::default();
    let prepared = add_all(daemon, all_wishes(daemon, config, host)?, &mut mounts).await;
    if let Err(error) = prepared {
        super::remove::remove_anonymous(daemon, &mounts.made).await;
        return Err(error);
    }
    Ok(mounts)
}

async fn add_all(
    daemon: &Daemon,
    wishes: BTreeMap<String, Wish>,
    mounts: &mut Mounts,
) -> Result<(), EngineError> {
    for (target, wish) in wishes {
        match wish {
            Wish::Tmpfs { options } => {
                mounts.tmpfs.push(format!("{target}:{options}").trim_end_matches(':').to_owned());
            }
            Wish::Bind { bind, mode } => {
                mounts.points.push(MountPoint {
                    typ: Some(MountPointTypeEnum::BIND),
                    name: None,
                    source: Some(bind.source.display().to_string()),
                    destination: Some(target),
                    driver: None,
                    mode: Some(mode),
                    rw: Some(!bind.read_only),
                    propagation: Some("rprivate".to_owned()),
                });
                let mut shares = std::mem::take(&mut mounts.shares);
                let added = daemon.blocking(move || {
                    let spec = shares.add(bind, Cache::Auto)?;
                    Ok::<_, ShareError>((shares, spec))
                });
                let (shares, spec) = added.await?.map_err(refused)?;
                mounts.shares = shares;
                mounts.specs.push(spec);
            }
            Wish::Volume(wish) => {
                let VolumeWish { name, subpath, no_copy, read_only, mode, labels, options } = wish;
                let is_anonymous = name.is_none();
                let volume = volume::create(daemon, Wanted { name, labels, options }).await?;
                if is_anonymous {
                    mounts.made.push(volume.name.clone());
                }
                mounts.points.push(MountPoint {
                    typ: Some(MountPointTypeEnum::VOLUME),
                    name: Some(volume.name.clone()),
                    source: Some(daemon.volumes.dir(&volume.name).join("_data").display().to_string()),
                    destination: Some(target.clone()),
                    driver: Some("local".to_owned()),
                    mode: Some(mode),
                    rw: Some(!read_only),
                    propagation: Some(String::new()),
                });
                let source = MountSource::Volume { name: volume.name, subpath, no_copy };
                mounts.specs.push(MountSpec { guest_path: target, source, read_only });
            }
        }
    }
    Ok(())
}

/// What is asked for at which path; each path once.
fn wishes(config: &ContainerConfig, host: &HostConfig) -> Result<BTreeMap<String, Wish>, EngineError> {
    let mut wishes = BTreeMap::new();
    let mut add = |target: &str, wish: Wish| {
        let target = clean(target)?;
        match wishes.insert(target.clone(), wish) {
            None => Ok(()),
            Some(_) => Err(bad(format!("Duplicate mount point: {target}"))),
        }
    };
    for bind in host.binds.iter().flatten() {
        let (target, wish) = bind_wish(bind)?;
        add(&target, wish)?;
    }
    for mount in host.mounts.iter().flatten() {
        add(mount.target.as_deref().unwrap_or_default(), mount_wish(mount)?)?;
    }
    for (target, options) in host.tmpfs.iter().flatten() {
        add(target, Wish::Tmpfs { options: options.clone() })?;
    }
    // Of the paths without a name those are passed over at which something else is wanted.
    for target in config.volumes.iter().flatten().map(|(target, _)| target) {
        wishes.entry(clean(target)?).or_insert(Wish::Volume(VolumeWish::default()));
    }
    Ok(wishes)
}

/// What is asked for at which path, mounts of other containers among it.
fn all_wishes(
    daemon: &Daemon,
    config: &ContainerConfig,
    host: &HostConfig,
) -> Result<BTreeMap<String, Wish>, EngineError> {
    let mut wishes = wishes(config, host)?;
    for (target, wish) in inherited(daemon, host)? {
        // What is asked for at a path by itself comes before what another container has there.
        if wishes.get(&target).is_none_or(Wish::is_anonymous) {
            wishes.insert(target, wish);
        }
    }
    let driver = host.volume_driver.as_deref().unwrap_or_default();
    let has_volumes = wishes.values().any(|wish| matches!(wish, Wish::Volume(_)));
    if has_volumes && !["", "local"].contains(&driver) {
        let text = format!("error looking up volume plugin {driver}: plugin \"{driver}\" not found");
        return Err(EngineError::NotFound(text));
    }
    Ok(wishes)
}

/// The volumes and binds of the containers that are named in `VolumesFrom`, by path; those of the first come first.
fn inherited(daemon: &Daemon, host: &HostConfig) -> Result<BTreeMap<String, Wish>, EngineError> {
    let mut all = BTreeMap::new();
    for from in host.volumes_from.iter().flatten() {
        let (name, mode) = from.split_once(':').unwrap_or((from, "rw"));
        if !["rw", "ro", "z", "Z"].contains(&mode) {
            return Err(bad(format!("invalid mode for volumes-from: {mode}")));
        }
        // Not 404, which clients take for a missing image.
        let container = daemon.containers.find(name).map_err(|error| bad(error.to_string()))?;
        let record = container.record.borrow();
        let asked = wishes(&record.config, &record.host_config)?;
        for point in &record.mounts {
            let target = point.destination.clone().unwrap_or_default();
            if let Some(wish) = again(point, asked.get(&target), mode == "ro")? {
                all.entry(target).or_insert(wish);
            }
        }
    }
    Ok(all)
}

/// The mount of a container as another asks for it; `asked` is what the first has asked for at that path.
fn again(point: &MountPoint, asked: Option<&Wish>, read_only: bool) -> Result<Option<Wish>, EngineError> {
    let read_only = read_only || point.rw == Some(false);
    let mode = point.mode.clone().unwrap_or_default();
    let source = point.source.clone().unwrap_or_default();
    Ok(match (point.typ, &point.name) {
        (Some(MountPointTypeEnum::VOLUME), Some(name)) => {
            let subpath = match asked {
                Some(Wish::Volume(wish)) => wish.subpath.clone(),
                _ => None,
            };
            let name = Some(name.clone());
            // What the image has there is in the volume already.
            Some(Wish::Volume(VolumeWish {
                name,
                subpath,
                no_copy: true,
                read_only,
                mode,
                ..VolumeWish::default()
            }))
        }
        (Some(MountPointTypeEnum::BIND), _) => {
            let target = point.destination.as_deref().unwrap_or_default();
            let bind = Bind::new(&source, target, read_only, true).map_err(refused)?;
            Some(Wish::Bind { bind, mode })
        }
        _ => None,
    })
}

fn bad(text: impl Into<String>) -> EngineError {
    EngineError::BadRequest(text.into())
}

/// `NAME:/path[:options]` and `/path`, as in `-v`.
fn bind_wish(bind: &str) -> Result<(String, Wish), EngineError> {
    let parts: Vec<_> = bind.split(':').collect();
    let (source, target, mode) = match parts.as_slice() {
        [target] => (None, *target, ""),
        [source, target] => (Some(*source), *target, ""),
        [source, target, mode] => (Some(*source), *target, *mode),
        _ => return Err(bad(format!("invalid volume specification: '{bind}'"))),
    };
    if source.is_some_and(|source| source.is_empty() || target.is_empty()) {
        return Err(bad(format!("invalid volume specification: '{bind}'")));
    }
    if let Some(source) = source.filter(|source| source.starts_with('/')) {
        let bind = share::read_only(mode).and_then(|read_only| Bind::new(source, target, read_only, true));
        return Ok((target.to_owned(), Wish::Bind { bind: bind.map_err(refused)?, mode: mode.to_owned() }));
    }
    let known = ["", "rw", "ro", "z", "Z", "nocopy"];
    if let Some(option) = mode.split(',').find(|option| !known.contains(option)) {
        return Err(bad(format!("invalid mode: {option}")));
    }
    let has = |wanted: &str| mode.split(',').any(|option| option == wanted);
    let wish = VolumeWish {
        name: source.map(str::to_owned),
        read_only: has("ro"),
        no_copy: has("nocopy"),
        mode: if mode.is_empty() { "z" } else { mode }.to_owned(),
        ..VolumeWish::default()
    };
    Ok((target.to_owned(), Wish::Volume(wish)))
}

fn refused(error: ShareError) -> EngineError {
    bad(crate::failure::chain(&error))
}

/// A mount of type bind.
fn host_mount(mount: &models::Mount, source: &str, read_only: bool) -> Result<Wish, EngineError> {
    let wrong = |why: &str| bad(format!("invalid mount config for type \"bind\": {why}"));
    let target = mount.target.as_deref().unwrap_or_default();
    for (name, path) in [("Target", target), ("Source", source)] {
        if path.is_empty() {
            return Err(wrong(&format!("field {name} must not be empty")));
        }
    }
    if !source.starts_with('/') {
        return Err(wrong(&format!("invalid mount path: '{source}' mount path must be absolute")));
    }
    if mount.volume_options.is_some() {
        return Err(refused(ShareError::NoCopy));
    }
    let options = mount.bind_options.clone().unwrap_or_default();
    if options.non_recursive.unwrap_or_default() {
        return Err(wrong("a bind without the mounts below it is not supported"));
    }
    let propagation = options.propagation.map(|kind| kind.to_string()).unwrap_or_default();
    share::check_propagation(&propagation).map_err(refused)?;
    let create = options.create_mountpoint.unwrap_or_default();
    let bind = Bind::new(source, target, read_only, create).map_err(refused)?;
    Ok(Wish::Bind { bind, mode: String::new() })
}

fn mount_wish(mount: &models::Mount) -> Result<Wish, EngineError> {
    let read_only = mount.read_only.unwrap_or_default();
    let source = mount.source.clone().filter(|source| !source.is_empty());
    match mount.typ.unwrap_or(MountTypeEnum::EMPTY) {
        MountTypeEnum::TMPFS => {
            if source.is_some() {
                return Err(bad(
                    "invalid mount config for type \"tmpfs\": field Source must not be specified",
                ));
            }
            let options = mount.tmpfs_options.clone().unwrap_or_default();
            let size = options.size_bytes.filter(|size| *size > 0).map(|size| format!("size={size}"));
            let mode = options.mode.filter(|mode| *mode > 0).map(|mode| format!("mode={mode:o}"));
            let read_only = read_only.then(|| "ro".to_owned());
            let options: Vec<_> = [size, mode, read_only].into_iter().flatten().collect();
            Ok(Wish::Tmpfs { options: options.join(",") })
        }
        MountTypeEnum::VOLUME => {
            let options = mount.volume_options.clone().unwrap_or_default();
            let driver = options.driver_config.unwrap_or_default();
            let named = driver.name.unwrap_or_default();
            if !["", "local"].contains(&named.as_str()) {
                return Err(EngineError::NotFound(format!("plugin \"{named}\" not found")));
            }
            Ok(Wish::Volume(VolumeWish {
                name: source,
                subpath: options.subpath.filter(|path| !path.is_empty()),
                no_copy: options.no_copy.unwrap_or_default(),
                labels: options.labels.unwrap_or_default().into_iter().collect(),
                options: driver.options.unwrap_or_default().into_iter().collect(),
                read_only,
                mode: "z".to_owned(),
            }))
        }
        MountTypeEnum::BIND => host_mount(mount, &source.unwrap_or_default(), read_only),
        kind => Err(bad(format!("mount type '{kind}' is not supported"))),
    }
}

/// Where in the container, as the guest is told.
fn clean(target: &str) -> Result<String, EngineError> {
    share::clean_target(target).map_err(|error| bad(format!("invalid mount config: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(host: &str, volumes: &[&str]) -> Result<BTreeMap<String, Wish>, String> {
        let volumes = volumes.iter().map(|path| ((*path).to_owned(), Default::default())).collect();
        let config = ContainerConfig { volumes: Some(volumes), ..ContainerConfig::default() };
        wishes(&config, &serde_json::from_str(host).unwrap()).map_err(|error| error.to_string())
    }

    fn name_at<'w>(wishes: &'w BTreeMap<String, Wish>, path: &str) -> (Option<&'w str>, bool) {
        match &wishes[path] {
            Wish::Volume(wish) => (wish.name.as_deref(), wish.read_only),
            Wish::Bind { .. } | Wish::Tmpfs { .. } => panic!("{path} is no volume"),
        }
    }

    #[test]
    fn volumes_are_found_in_all_forms() {
        let host = r#"{"Binds":["data:/var/lib//data/","conf:/etc/conf:ro"],
            "Mounts":[{"Type":"volume","Target":"/anon"},{"Type":"volume","Source":"v","Target":"/v","ReadOnly":true},
                      {"Type":"tmpfs","Target":"/run","TmpfsOptions":{"SizeBytes":1024,"Mode":448}}],
            "Tmpfs":{"/tmp":"size=1m"}}"#;
        let wishes = asked(host, &["/image", "/v"]).unwrap();
        assert_eq!(name_at(&wishes, "/var/lib/data"), (Some("data"), false));
        assert_eq!(name_at(&wishes, "/etc/conf"), (Some("conf"), true));
        assert_eq!(name_at(&wishes, "/anon"), (None, false));
        assert_eq!(name_at(&wishes, "/v"), (Some("v"), true));
        assert_eq!(name_at(&wishes, "/image"), (None, false));
        assert_eq!(wishes["/run"], Wish::Tmpfs { options: "size=1024,mode=700".into() });
        assert_eq!(wishes["/tmp"], Wish::Tmpfs { options: "size=1m".into() });
    }

    #[test]
    fn mounts_of_another_container_are_asked_for_again() {
        let point = |json: &str| serde_json::from_str::<MountPoint>(json).unwrap();
        let volume = point(r#"{"Type":"volume","Name":"data","Destination":"/d","Mode":"z","RW":true}"#);
        let asked = Wish::Volume(VolumeWish { subpath: Some("sub".into()), ..VolumeWish::default() });
        for (read_only, asked, subpath) in [(true, None, None), (false, Some(&asked), Some("sub"))] {
            let Some(Wish::Volume(wish)) = again(&volume, asked, read_only).unwrap() else { panic!() };
            assert_eq!((wish.name.as_deref(), wish.subpath.as_deref()), (Some("data"), subpath));
            assert!(wish.no_copy && wish.read_only == read_only);
        }
        let bind = point(r#"{"Type":"bind","Source":"/srv","Destination":"/s","Mode":"ro","RW":false}"#);
        let Some(Wish::Bind { bind, mode }) = again(&bind, None, false).unwrap() else { panic!() };
        assert_eq!((bind.source.to_str(), bind.read_only, mode.as_str()), (Some("/srv"), true, "ro"));
    }

    #[test]
    fn paths_of_the_host_are_found_in_all_forms() {
        let host = r#"{"Binds":["/srv//a:/a","/srv/b:/b/:ro,Z"],
            "Mounts":[{"Type":"bind","Source":"/srv/c","Target":"/c","ReadOnly":true}]}"#;
        let wishes = asked(host, &["/a"]).unwrap();
        let at = |path: &str| match &wishes[path] {
            Wish::Bind { bind, mode } => {
                (bind.source.to_str().unwrap(), bind.read_only, bind.create, mode.as_str())
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(at("/a"), ("/srv/a", false, true, ""));
        assert_eq!(at("/b"), ("/srv/b", true, true, "ro,Z"));
        assert_eq!(at("/c"), ("/srv/c", true, false, ""));
    }

    #[test]
    fn what_cannot_be_mounted_is_refused() {
        for (host, words) in [
            (r#"{"Binds":["/srv:/srv:rshared"]}"#, "propagation 'rshared'"),
            (r#"{"Binds":["/srv:/srv:nocopy"]}"#, "VolumeOptions must not be specified"),
            (r#"{"Binds":["/srv:/srv:bogus"]}"#, "invalid mode: bogus"),
            (r#"{"Mounts":[{"Type":"bind","Target":"/y"}]}"#, "field Source must not be empty"),
            (r#"{"Mounts":[{"Type":"bind","Source":"x","Target":"/y"}]}"#, "mount path must be absolute"),
            (
                r#"{"Mounts":[{"Type":"bind","Source":"/x","Target":"/y","BindOptions":{"Propagation":"shared"}}]}"#,
                "propagation 'shared'",
            ),
            (
                r#"{"Mounts":[{"Type":"bind","Source":"/x","Target":"/y","VolumeOptions":{}}]}"#,
                "VolumeOptions must not be specified",
            ),
            (r#"{"Binds":["a:b:c:d"]}"#, "invalid volume specification"),
            (r#"{"Binds":["a:relative"]}"#, "must be absolute"),
            (r#"{"Binds":["a:/"]}"#, "can't be '/'"),
            (r#"{"Binds":["a:/x/../y"]}"#, "invalid mount path"),
            (r#"{"Binds":["a:/x:bogus"]}"#, "invalid mode"),
            (r#"{"Binds":["a:/x","b:/x/"]}"#, "Duplicate mount point: /x"),
            (r#"{"Mounts":[{"Type":"tmpfs","Source":"a","Target":"/x"}]}"#, "Source must not"),
            (r#"{"Mounts":[{"Type":"image","Target":"/x"}]}"#, "not supported"),
        ] {
            let error = asked(host, &[]).unwrap_err();
            assert!(error.contains(words), "{host}: {error}");
        }
    }
}
