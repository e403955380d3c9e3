//! The process of a network. It holds the network's lock, makes bridge and rules, listens at `net.sock`, and undoes
//! everything when the last pod has gone. A pod has its place for as long as its connection is open, whatever ends it.
//!
//! Everything that comes from pods is hostile: DNS queries and what passes through proxies. It runs on one thread, and one
//! more where the network has a namespace of its own.

mod addresses;
mod bridge;
mod close;
mod conntrack;
mod lease;
mod outward;
mod place;
mod pods;
mod proxy;
mod publish;
mod resolver;
mod rights;
mod rtnetlink;
mod rules;
mod serve;
mod store;
mod uplink;

use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::path::Path;
use std::rc::Rc;

use thiserror::Error;

use crate::definition::Definition;
use crate::dir::{NetworkDir, NetworkDirError};
use crate::host_routes::host_routes;
use crate::lock::NetworkLock;
use crate::socket;
use crate::subnet::Subnet;

pub use addresses::AddressError;
pub use bridge::{BridgeError, OpenTap};
pub use rules::RulesError;
pub use store::keep as keep_store;
pub use uplink::{CODE_MISSING, UplinkError, become_pasta, keep_pasta};

use place::Place;
use serve::Kept;
use store::{Entries, Store};

/// The hidden command of `kcradle` that is this process.
pub const VERB: &str = "network-keeper";
/// Where programs are looked for.
pub(crate) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// What it says first, when it listens.
pub(crate) const READY: &str = "ready";
/// What it says where another one holds the network.
pub(crate) const HELD: &str = "held";

/// Why a network was not made.
#[derive(Debug, Error)]
pub enum KeeperError {
    /// Its directory cannot be read.
    #[error(transparent)]
    Dir(#[from] NetworkDirError),
    /// Its lock cannot be taken.
    #[error("cannot take the network's lock")]
    Lock(#[source] io::Error),
    /// This user cannot have a network of its own.
    #[error(
        "cannot make a {what} namespace for the network ({remedy}), and this user may not change the host's"
    )]
    Namespace {
        /// Which one.
        what: &'static str,
        /// What may forbid it.
        remedy: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The host reaches something else at the network's addresses.
    #[error("subnet {subnet} of network {network} is in use on this host: it has a route to {route}")]
    Overlap {
        /// The network's name.
        network: String,
        /// Its addresses.
        subnet: Subnet,
        /// Those of the route.
        route: Subnet,
    },
    /// The bridge.
    #[error(transparent)]
    Bridge(#[from] BridgeError),
    /// The rules.
    #[error(transparent)]
    Rules(#[from] RulesError),
    /// The way out.
    #[error(transparent)]
    Uplink(#[from] UplinkError),
    /// The process cannot give up what it does not need.
    #[error("cannot drop privileges")]
    Rights(#[source] io::Error),
    /// Sockets or files.
    #[error("cannot {what}")]
    Do {
        /// What for.
        what: String,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Says on standard output that this user could make a network, or why not. Nothing is made that outlives this process, which
/// must have one thread.
///
/// # Errors
/// Each variant that making a network has; they are told already.
pub fn check() -> Result<(), KeeperError> {
    let could = could();
    match &could {
        Ok(()) => say(READY),
        Err(error) => say(&chain(error)),
    }
    could
}

fn could() -> Result<(), KeeperError> {
    let place = rights::place()?;
    let tun = std::fs::File::options().read(true).write(true).open("/dev/net/tun");
    tun.map_err(|source| failed("open /dev/net/tun", source))?;
    rules::check(&place)?;
    if place.is_own() {
        uplink::check()?;
    }
    Ok(())
}

/// Runs the process of a network to its end. Says on standard output that it listens, that another one holds the network,
/// or why it cannot be made.
///
/// # Errors
/// Each variant; they are told already.
pub fn run(path: &Path, open_tap: OpenTap) -> Result<(), KeeperError> {
    let outcome = begin(path).and_then(|begun| begun.map_or(Ok(()), |begun| begun.keep(open_tap)));
    if let Err(error) = &outcome {
        say(&chain(error));
    }
    outcome
}

/// Goes on with a network whose keeper was killed, as the store's child.
///
/// # Errors
/// Each variant.
pub fn resume(path: &Path, open_tap: OpenTap) -> Result<(), KeeperError> {
    start_alone()?;
    let (store, entries) = Store::resume().map_err(|source| failed("take over", source))?;
    let dir = NetworkDir::at(path);
    let definition = dir.read()?;
    take_over(store, entries, dir, definition)?.keep(open_tap)
}

/// A network that is there, before its pods.
struct Begun {
    dir: NetworkDir,
    definition: Definition,
    place: Place,
    lock: NetworkLock,
    uplink: Option<uplink::Uplink>,
    store: Rc<Store>,
    is_resumed: bool,
    /// Pods that another keeper has let in.
    kept: Vec<Kept>,
}

fn start_alone() -> Result<(), KeeperError> {
    close::inherited().map_err(|source| failed("close what was inherited", source))?;
    // It belongs to no terminal. A leader of a group, which a shell starts, may not and need not.
    let _ = rustix::process::setsid();
    // It was started by a link's name.
    let _ = rustix::thread::set_name(c"cradle-network");
    Ok(())
}

/// Makes the network; `None` where another keeper has it.
fn begin(path: &Path) -> Result<Option<Begun>, KeeperError> {
    start_alone()?;
    let dir = NetworkDir::at(path);
    let definition = dir.read()?;
    let Some(lock) = NetworkLock::take(&dir).map_err(KeeperError::Lock)? else {
        say(HELD);
        return Ok(None);
    };
    let place = rights::place()?;
    let made = make(&place, &definition).and_then(|uplink| {
        let namespace = place.namespace().map_err(|source| failed("keep the namespace", source))?;
        // With the rights that this process gives up: another keeper needs them again.
        let store = Store::start(dir.path()).map_err(|source| failed("start the network's store", source))?;
        store.put(store::LOCK, Some(lock.as_fd()), &[]);
        if let Some(namespace) = namespace {
            store.put(store::NAMESPACE, Some(namespace.as_fd()), &[]);
        }
        let dropped = rights::drop(&place).map_err(KeeperError::Rights);
        dropped.inspect_err(|_| store.end())?;
        Ok((uplink, Rc::new(store)))
    });
    match made {
        Ok((uplink, store)) => {
            let kept = Vec::new();
            Ok(Some(Begun { dir, definition, place, lock, uplink, store, is_resumed: false, kept }))
        }
        Err(error) => {
            undo_in(&place, &definition)?;
            Err(error)
        }
    }
}

/// Goes on where the one before was killed: bridge, rules and taps are there, in their namespace. What ran on its behalf is not.
fn take_over(
    store: Store,
    mut entries: Entries,
    dir: NetworkDir,
    definition: Definition,
) -> Result<Begun, KeeperError> {
    let mut take = |key| entries.remove(&key).and_then(|(descriptor, _)| descriptor);
    let lost = || failed("take over", io::ErrorKind::NotFound.into());
    let lock = NetworkLock::taken(take(store::LOCK).ok_or_else(lost)?);
    let place = match take(store::NAMESPACE) {
        Some(namespace) => Place::join(namespace).map_err(|source| failed("join the namespace", source))?,
        None => Place::Host,
    };
    let has_way_out = place.is_own() && !definition.internal;
    let uplink = if has_way_out { uplink::start(&place)? } else { None };
    rights::drop(&place).map_err(KeeperError::Rights)?;
    let kept = entries.into_iter().filter_map(|(key, (descriptor, bytes))| {
        let number = key.checked_sub(store::FIRST_POD)?;
        Some(Kept { number, lease: descriptor?, request: serde_json::from_slice(&bytes).ok()? })
    });
    let kept = kept.collect();
    Ok(Begun { dir, definition, place, lock, uplink, store: Rc::new(store), is_resumed: true, kept })
}

impl Begun {
    /// Serves the network to its end and undoes it.
    fn keep(self, open_tap: OpenTap) -> Result<(), KeeperError> {
        let store = Rc::clone(&self.store);
        let kept = self.is_resumed.then_some(self.kept);
        let served = serve::run(&self.dir, &self.definition, &self.place, open_tap, store, kept);
        let undone = undo_in(&self.place, &self.definition);
        let _ = socket::remove(&self.dir);
        // Before the way out, whose end waits for all that are this process's children by then.
        self.store.end();
        drop(self.uplink);
        drop(self.lock);
        served.and(undone)
    }
}

/// Makes the bridge, its rules and its way out.
fn make(place: &Place, definition: &Definition) -> Result<Option<uplink::Uplink>, KeeperError> {
    if place.is_own() {
        bridge::loopback(place)?;
    } else {
        undo(definition)?;
        check_routes(definition, &host_routes())?;
    }
    bridge::make(place, definition)?;
    let hosts = if place.is_own() && !definition.internal {
        uplink::host_addresses().map_err(|source| failed("list the host's addresses", source))?
    } else {
        Vec::new()
    };
    rules::load(place, definition, &hosts)?;
    if definition.internal {
        return Ok(None);
    }
    bridge::forward(place, definition)?;
    Ok(if place.is_own() { uplink::start(place)? } else { None })
}

/// Removes what this network has, where it does not go with its namespace.
fn undo_in(place: &Place, definition: &Definition) -> Result<(), KeeperError> {
    if place.is_own() { Ok(()) } else { undo(definition) }
}

/// Refuses addresses to which a route leads, another bridge's as a rule: answers to pods of one network would reach those of
/// the other. A route to more than the network's addresses stays for what is not of the network.
fn check_routes(definition: &Definition, routes: &[Subnet]) -> Result<(), KeeperError> {
    for pool in &definition.pools {
        if let Some(route) = routes.iter().find(|route| pool.subnet.covers(route)) {
            let network = definition.name.clone();
            return Err(KeeperError::Overlap { network, subnet: pool.subnet, route: *route });
        }
    }
    Ok(())
}

/// Removes what this network has, or a killed process left, in the caller's namespace.
fn undo(definition: &Definition) -> Result<(), KeeperError> {
    // The rules are made behind the bridge.
    if bridge::exists(definition) {
        match rules::remove(&Place::Host, definition) {
            Ok(()) | Err(RulesError::Missing) => {}
            Err(error) => return Err(error.into()),
        }
    }
    bridge::remove(definition)?;
    Ok(())
}

/// Undoes what a killed process of this network left; false where one is at work.
///
/// # Errors
/// It cannot be looked at or undone.
pub fn clear(dir: &NetworkDir) -> Result<bool, KeeperError> {
    let Some(lock) = NetworkLock::take(dir).map_err(KeeperError::Lock)? else { return Ok(false) };
    let definition = dir.read()?;
    // What had a namespace of its own went with the process.
    if rights::may_change_host() {
        undo(&definition)?;
    }
    let _ = socket::remove(dir);
    drop(lock);
    Ok(true)
}

/// Undoes what a killed process of this network left, and removes its directory; false where pods are on it. What is not
/// there is passed over.
///
/// # Errors
/// It cannot be undone or removed.
pub fn remove(dir: &NetworkDir) -> Result<bool, KeeperError> {
    let lock = match NetworkLock::take(dir) {
        Ok(Some(lock)) => Some(lock),
        Ok(None) => return Ok(false),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(KeeperError::Lock(error)),
    };
    if rights::may_change_host()
        && let Ok(definition) = dir.read()
    {
        undo(&definition)?;
    }
    // Whoever wants a place now finds no lock to take.
    match std::fs::remove_dir_all(dir.path()) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(failed(format!("remove {}", dir.path().display()), error));
        }
        _ => {}
    }
    drop(lock);
    Ok(true)
}

fn failed(what: impl Into<String>, source: io::Error) -> KeeperError {
    KeeperError::Do { what: what.into(), source }
}

/// Tells whoever started this process one thing, and closes that way.
fn say(what: &str) {
    let _ = writeln!(io::stdout(), "{what}");
    if let Ok(null) = std::fs::File::options().write(true).open("/dev/null") {
        let _ = rustix::stdio::dup2_stdout(null);
    }
}

/// An error and its causes, on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.ends_with(&next) {
            text = format!("{text}: {next}");
        }
        cause = error.source();
    }
    text.replace(['\n', '\r'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::definition::tests::sound;

    #[test]
    fn addresses_that_the_host_reaches_elsewhere_are_refused() {
        let check = |route: &str| check_routes(&sound(), &[route.parse().unwrap()]);
        for route in ["172.18.0.0/16", "172.18.4.0/24", "172.18.0.9/32"] {
            let error = check(route).unwrap_err().to_string();
            assert!(error.contains("172.18.0.0/16 of network web") && error.ends_with(route), "{error}");
        }
        for route in ["172.16.0.0/12", "172.19.0.0/16"] {
            check(route).unwrap();
        }
    }
}
