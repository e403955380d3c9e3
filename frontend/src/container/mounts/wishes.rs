//! What a client asks to have mounted: `Binds`, `Mounts`, `Tmpfs`, `VolumesFrom` and the paths of `Volumes`, by path.

use std::collections::BTreeMap;

use bollard_stubs::models::{
    self, ContainerConfig, HostConfig, MountPoint, MountPointTypeEnum, MountTypeEnum,
};
use pod::bind::{self, Bind, BindError};
use pod::mount::{MountError, VolumeWish, Wish};
use vdocker::EngineError;

use crate::daemon::Daemon;

/// A mount that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) wish: Wish,
    /// As the client wrote it.
    pub(super) mode: String,
}

impl Asked {
    fn volume(wish: VolumeWish, mode: &str) -> Self {
        let mode = if mode.is_empty() { "z" } else { mode };
        Self { wish: Wish::Volume(wish), mode: mode.to_owned() }
    }

    /// A volume that anything else comes before.
    fn is_anonymous(&self) -> bool {
        matches!(&self.wish, Wish::Volume(wish) if wish.name.is_none())
    }
}

/// What is asked for at which path; each path once.
fn wishes(config: &ContainerConfig, host: &HostConfig) -> Result<BTreeMap<String, Asked>, EngineError> {
    let mut wishes = BTreeMap::new();
    let mut add = |target: &str, asked: Asked| {
        let target = clean(target)?;
        match wishes.insert(target.clone(), asked) {
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
        add(target, Asked { wish: Wish::Tmpfs(options.clone()), mode: String::new() })?;
    }
    // Of the paths without a name those are passed over at which something else is wanted.
    for target in config.volumes.iter().flatten().map(|(target, _)| target) {
        wishes.entry(clean(target)?).or_insert(Asked::volume(VolumeWish::default(), ""));
    }
    Ok(wishes)
}

/// What is asked for at which path, mounts of other containers among it.
pub(super) fn all(
    daemon: &Daemon,
    config: &ContainerConfig,
    host: &HostConfig,
) -> Result<BTreeMap<String, Asked>, EngineError> {
    let mut wishes = wishes(config, host)?;
    for (target, wish) in inherited(daemon, host)? {
        // What is asked for at a path by itself comes before what another container has there.
        if wishes.get(&target).is_none_or(Asked::is_anonymous) {
            wishes.insert(target, wish);
        }
    }
    // Of volumes that are made, where nothing else is said of one.
    if let Some(driver) = host.volume_driver.as_ref().filter(|driver| !driver.is_empty()) {
        for asked in wishes.values_mut() {
            if let Wish::Volume(wish) = &mut asked.wish {
                wish.driver.get_or_insert_with(|| driver.clone());
            }
        }
    }
    Ok(wishes)
}

/// The volumes and binds of the containers that are named in `VolumesFrom`, by path; those of the first come first.
fn inherited(daemon: &Daemon, host: &HostConfig) -> Result<BTreeMap<String, Asked>, EngineError> {
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
fn again(point: &MountPoint, asked: Option<&Asked>, read_only: bool) -> Result<Option<Asked>, EngineError> {
    let read_only = read_only || point.rw == Some(false);
    let mode = point.mode.clone().unwrap_or_default();
    let source = point.source.clone().unwrap_or_default();
    Ok(match (point.typ, &point.name) {
        (Some(MountPointTypeEnum::VOLUME), Some(name)) => {
            let subpath = match asked.map(|asked| &asked.wish) {
                Some(Wish::Volume(wish)) => wish.subpath.clone(),
                _ => None,
            };
            let name = Some(name.clone());
            // What the image has there is in the volume already.
            let wish = VolumeWish { name, subpath, no_copy: true, read_only, ..VolumeWish::default() };
            Some(Asked { wish: Wish::Volume(wish), mode })
        }
        (Some(MountPointTypeEnum::BIND), _) => {
            let target = point.destination.as_deref().unwrap_or_default();
            let bind = Bind::new(&source, target, read_only, true).map_err(refused_bind)?;
            Some(Asked { wish: Wish::Bind(bind), mode })
        }
        _ => None,
    })
}

fn bad(text: impl Into<String>) -> EngineError {
    EngineError::BadRequest(text.into())
}

/// `NAME:/path[:options]` and `/path`, as in `-v`.
fn bind_wish(bind: &str) -> Result<(String, Asked), EngineError> {
    let (source, mode) = match bind.split(':').collect::<Vec<_>>().as_slice() {
        [_] => ("", ""),
        [source, _] => (*source, ""),
        [source, _, mode] => (*source, *mode),
        _ => return Err(bad(format!("invalid volume specification: '{bind}'"))),
    };
    // Clients make paths absolute.
    if source.starts_with('.') {
        return Err(refused(MountError::Specification(bind.to_owned())));
    }
    let mode = mode.to_owned();
    match pod::mount::text::volume(bind).map_err(refused)? {
        (target, Wish::Volume(wish)) => Ok((target, Asked::volume(wish, &mode))),
        (target, wish) => Ok((target, Asked { wish, mode })),
    }
}

fn refused(error: MountError) -> EngineError {
    bad(crate::failure::chain(&error))
}

fn refused_bind(error: BindError) -> EngineError {
    refused(error.into())
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
        return Err(refused_bind(BindError::NoCopy));
    }
    let options = mount.bind_options.clone().unwrap_or_default();
    if options.non_recursive.unwrap_or_default() {
        return Err(wrong("a bind without the mounts below it is not supported"));
    }
    let propagation = options.propagation.map(|kind| kind.to_string()).unwrap_or_default();
    bind::check_propagation(&propagation).map_err(refused_bind)?;
    let create = options.create_mountpoint.unwrap_or_default();
    Ok(Wish::Bind(Bind::new(source, target, read_only, create).map_err(refused_bind)?))
}

fn mount_wish(mount: &models::Mount) -> Result<Asked, EngineError> {
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
            Ok(Asked { wish: Wish::Tmpfs(options.join(",")), mode: String::new() })
        }
        MountTypeEnum::VOLUME => {
            let options = mount.volume_options.clone().unwrap_or_default();
            let driver = options.driver_config.unwrap_or_default();
            let wish = VolumeWish {
                name: source,
                subpath: options.subpath.filter(|path| !path.is_empty()),
                no_copy: options.no_copy.unwrap_or_default(),
                read_only,
                untrusted: false,
                driver: driver.name.filter(|name| !name.is_empty()),
                labels: options.labels.unwrap_or_default().into_iter().collect(),
                options: driver.options.unwrap_or_default().into_iter().collect(),
            };
            Ok(Asked::volume(wish, ""))
        }
        MountTypeEnum::BIND => {
            let wish = host_mount(mount, &source.unwrap_or_default(), read_only)?;
            Ok(Asked { wish, mode: String::new() })
        }
        kind => Err(bad(format!("mount type '{kind}' is not supported"))),
    }
}

/// Where in the container, as the guest is told.
fn clean(target: &str) -> Result<String, EngineError> {
    bind::clean_target(target).map_err(|error| bad(format!("invalid mount config: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(host: &str, volumes: &[&str]) -> Result<BTreeMap<String, Asked>, String> {
        let volumes = volumes.iter().map(|path| ((*path).to_owned(), Default::default())).collect();
        let config = ContainerConfig { volumes: Some(volumes), ..ContainerConfig::default() };
        wishes(&config, &serde_json::from_str(host).unwrap()).map_err(|error| error.to_string())
    }

    fn name_at<'w>(wishes: &'w BTreeMap<String, Asked>, path: &str) -> (Option<&'w str>, bool) {
        match &wishes[path].wish {
            Wish::Volume(wish) => (wish.name.as_deref(), wish.read_only),
            Wish::Bind(_) | Wish::Tmpfs(_) => panic!("{path} is no volume"),
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
        assert_eq!(wishes["/run"].wish, Wish::Tmpfs("size=1024,mode=700".into()));
        assert_eq!(wishes["/tmp"].wish, Wish::Tmpfs("size=1m".into()));
    }

    #[test]
    fn mounts_of_another_container_are_asked_for_again() {
        let point = |json: &str| serde_json::from_str::<MountPoint>(json).unwrap();
        let volume = point(r#"{"Type":"volume","Name":"data","Destination":"/d","Mode":"z","RW":true}"#);
        let asked = Asked::volume(VolumeWish { subpath: Some("sub".into()), ..VolumeWish::default() }, "");
        for (read_only, asked, subpath) in [(true, None, None), (false, Some(&asked), Some("sub"))] {
            let again = again(&volume, asked, read_only).unwrap();
            let Some(Asked { wish: Wish::Volume(wish), .. }) = again else { panic!() };
            assert_eq!((wish.name.as_deref(), wish.subpath.as_deref()), (Some("data"), subpath));
            assert!(wish.no_copy && wish.read_only == read_only);
        }
        let bind = point(r#"{"Type":"bind","Source":"/srv","Destination":"/s","Mode":"ro","RW":false}"#);
        let again = again(&bind, None, false).unwrap();
        let Some(Asked { wish: Wish::Bind(bind), mode }) = again else { panic!() };
        assert_eq!((bind.source.to_str(), bind.read_only, mode.as_str()), (Some("/srv"), true, "ro"));
    }

    #[test]
    fn paths_of_the_host_are_found_in_all_forms() {
        let host = r#"{"Binds":["/srv//a:/a","/srv/b:/b/:ro,Z"],
            "Mounts":[{"Type":"bind","Source":"/srv/c","Target":"/c","ReadOnly":true}]}"#;
        let wishes = asked(host, &["/a"]).unwrap();
        let at = |path: &str| match &wishes[path] {
            Asked { wish: Wish::Bind(bind), mode } => {
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
