//! The networks of the command line: each a directory of its name in `$CRADLE_HOME/networks`.

use std::io;
use std::path::PathBuf;

use anyhow::Context as _;
use net::{Definition, NetworkDir, NetworkDirError, Pool, Subnet, host_routes};
use pod::{Home, make, state};

use crate::failure::{Failure, HintExt as _};

/// The network that is made where one is needed and none is named.
pub(crate) const DEFAULT: &str = "default";
/// What stands for no network.
pub(crate) const NONE: &str = "none";

/// All networks.
pub(crate) struct Networks {
    root: PathBuf,
}

impl Networks {
    /// Those of a state directory.
    pub(crate) fn of(home: &Home) -> Self {
        Self { root: home.path().join("networks") }
    }

    /// The directory of the network with that name, which has to be there; the default one is made.
    pub(crate) fn named(&self, name: &str) -> Result<NetworkDir, Failure> {
        check_name(name)?;
        let dir = NetworkDir::at(self.root.join(name));
        match dir.read() {
            Ok(_) => Ok(dir),
            Err(NetworkDirError::Missing(_)) if name == DEFAULT => {
                let definition = Definition {
                    version: Definition::VERSION,
                    id: new_id()?,
                    name: name.to_owned(),
                    created: state::now(),
                    pools: vec![Pool::of(self.free()?)],
                    internal: false,
                    isolated: false,
                    mtu: Definition::DEFAULT_MTU,
                    labels: std::collections::BTreeMap::new(),
                };
                // Where another process was first, its network is as good.
                self.make(&definition)?;
                Ok(dir)
            }
            Err(NetworkDirError::Missing(_)) => Err(Failure::new(format!("network {name} not found")))
                .hint(format!("make it with `kcradle network create {name}`")),
            Err(error) => Err(anyhow::Error::from(error).into()),
        }
    }

    /// All of them, by name.
    pub(crate) fn all(&self) -> Result<Vec<(NetworkDir, Definition)>, Failure> {
        let entries = match std::fs::read_dir(&self.root) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.with_context(|| format!("cannot list {}", self.root.display()))?,
        };
        let mut all = Vec::new();
        for entry in entries {
            let entry = entry.with_context(|| format!("cannot list {}", self.root.display()))?;
            if entry.file_name().as_encoded_bytes().starts_with(b".") {
                continue;
            }
            let dir = NetworkDir::at(entry.path());
            match dir.read() {
                Ok(definition) => all.push((dir, definition)),
                // Just being removed.
                Err(NetworkDirError::Missing(_)) => {}
                Err(error) => return Err(anyhow::Error::from(error).into()),
            }
        }
        all.sort_by(|(_, one), (_, other)| one.name.cmp(&other.name));
        Ok(all)
    }

    /// The one that a user means: by name, or by the unique start of its id.
    pub(crate) fn find(&self, wanted: &str) -> Result<(NetworkDir, Definition), Failure> {
        let mut all = self.all()?;
        if let Some(position) = all.iter().position(|(_, one)| one.name == wanted || one.id == wanted) {
            return Ok(all.swap_remove(position));
        }
        all.retain(|(_, one)| !wanted.is_empty() && one.id.starts_with(wanted));
        match (all.pop(), all.is_empty()) {
            (Some(found), true) => Ok(found),
            (Some(_), false) => Err(Failure::new(format!(
                "network {wanted} is ambiguous ({} matches found based on ID prefix)",
                all.len() + 1
            ))),
            (None, _) => Err(Failure::new(format!("network {wanted} not found"))),
        }
    }

    /// A subnet that neither a network nor a route of the host has.
    pub(crate) fn free(&self) -> Result<Subnet, Failure> {
        let mut taken = host_routes();
        taken.push(Subnet::default_bridge());
        taken.extend(self.all()?.iter().flat_map(|(_, one)| one.pools.iter().map(|pool| pool.subnet)));
        Subnet::free(&taken).ok_or_else(|| {
            Failure::new("all predefined address pools have been fully subnetted").hint("choose --subnet")
        })
    }

    /// Refuses subnets that a network has already.
    pub(crate) fn refuse_overlap<'s>(
        &self,
        subnets: impl IntoIterator<Item = &'s Subnet> + Clone,
    ) -> Result<(), Failure> {
        for (_, other) in self.all()? {
            let clash = |subnet: &&Subnet| other.pools.iter().any(|pool| pool.subnet.overlaps(subnet));
            if let Some(subnet) = subnets.clone().into_iter().find(clash) {
                let name = other.name;
                let text =
                    format!("Pool overlaps with other one on this address space: {subnet}, network {name}");
                return Err(Failure::new(text)).hint("choose another subnet");
            }
        }
        Ok(())
    }

    /// Makes a network; false where there is one of that name. It is made under another name and moved: what is torn is no
    /// network.
    pub(crate) fn make(&self, definition: &Definition) -> Result<bool, Failure> {
        check_name(&definition.name)?;
        let staging = self.root.join(format!(".{}", definition.id));
        NetworkDir::make(&staging, definition).map_err(anyhow::Error::from)?;
        match std::fs::rename(&staging, self.root.join(&definition.name)) {
            Ok(()) => Ok(true),
            Err(error) => {
                let _ = std::fs::remove_dir_all(&staging);
                match error.kind() {
                    io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists => Ok(false),
                    _ => {
                        Err(anyhow::Error::from(error).context("cannot put the network in its place").into())
                    }
                }
            }
        }
    }
}

/// An id for a network.
pub(super) fn new_id() -> Result<String, Failure> {
    Ok(make::new_id().map_err(anyhow::Error::from)?)
}

/// Names are Docker's, and become directories.
fn check_name(name: &str) -> Result<(), Failure> {
    let sound = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    let first = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    if first && name.len() <= 128 && name.bytes().all(sound) {
        return Ok(());
    }
    Err(Failure::new(format!("invalid network name: \"{name}\""))
        .hint("a name has letters, digits, '_', '.' and '-', and begins with a letter or digit"))
}
