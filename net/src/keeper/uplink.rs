//! The way out of a network in a namespace of its own: pasta (Debian's package passt) carries its packets to sockets of the
//! host. It ends with this process, however that ends; where it ends by itself it is started again.

use std::fs::File;
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Signal, WaitOptions};
use thiserror::Error;

use super::place::Place;
use super::rtnetlink::Rtnetlink;

/// How long pasta may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// The time between two looks at it meanwhile.
const INTERVAL: Duration = Duration::from_millis(5);
/// One that ends sooner has not worked.
const SOON: Duration = Duration::from_secs(1);
/// The longest pause before it is started again.
const SELDOM: Duration = Duration::from_secs(60);
/// What the way out is called inside.
const NAME: &str = "uplink";
/// The tables of the host's routes.
const HOST: &str = "/proc/net";
/// The program.
const PASTA: &str = "pasta";

/// Why there is no way out.
#[derive(Debug, Error)]
pub enum UplinkError {
    /// There is no pasta.
    #[error(
        "there is no program pasta, which connects networks of ordinary users: install passt, or choose --network none"
    )]
    Missing,
    /// It cannot be run.
    #[error("cannot run pasta")]
    Run(#[source] io::Error),
    /// It ended.
    #[error("pasta ended at once ({0}); what it said is in the network's log")]
    Ended(std::process::ExitStatus),
    /// It does not come to work.
    #[error("pasta makes no way out")]
    Silent,
}

/// The way out: the process that keeps a pasta at work. It ends with the value.
#[derive(Debug)]
pub(super) struct Uplink {
    child: Child,
}

impl Drop for Uplink {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        // Its pasta, which goes with it and is this process's child then.
        while rustix::process::wait(WaitOptions::empty()).is_ok() {}
    }
}

/// Whether there is a program for a way out, where the host has one to give.
pub(super) fn check() -> Result<(), UplinkError> {
    let is_there = super::PATH.split(':').any(|folder| Path::new(folder).join(PASTA).exists());
    if is_there || !has_route(HOST) { Ok(()) } else { Err(UplinkError::Missing) }
}

/// Connects the namespace to the outside. A host that has no way out itself has none to give.
pub(super) fn start(place: &Place) -> Result<Option<Uplink>, UplinkError> {
    if !has_route(HOST) {
        eprintln!("the host has no default route: the network has no way out");
        return Ok(None);
    }
    let namespace = place.run(|| File::open("/proc/thread-self/ns/net")).and_then(|opened| opened);
    // That of a pasta which ends just now.
    let deadline = Instant::now() + PATIENCE;
    let is_there = || Rtnetlink::open().and_then(|kernel| kernel.index(NAME)).is_ok();
    while place.run(is_there).map_err(UplinkError::Run)? && Instant::now() < deadline {
        std::thread::sleep(INTERVAL);
    }
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
        .map_err(|error| UplinkError::Run(error.into()))?;
    // The namespace is its standard input, since no other process may look into this one's part of /proc.
    let mut command = this_program("--uplink");
    command.stdin(namespace.map_err(UplinkError::Run)?).stdout(Stdio::null());
    let mut uplink = Uplink { child: command.spawn().map_err(UplinkError::Run)? };
    let deadline = Instant::now() + PATIENCE;
    loop {
        // The interface is there before it has addresses; the route comes last.
        if place.run(|| has_route("/proc/thread-self/net")).map_err(UplinkError::Run)? {
            return Ok(Some(uplink));
        }
        match uplink.child.try_wait().map_err(UplinkError::Run)? {
            Some(status) if status.code() == Some(i32::from(CODE_MISSING)) => {
                return Err(UplinkError::Missing);
            }
            Some(status) => return Err(UplinkError::Ended(status)),
            None if Instant::now() >= deadline => return Err(UplinkError::Silent),
            None => std::thread::sleep(INTERVAL),
        }
    }
}

/// The exit code of a process that was to become pasta, where there is none.
pub const CODE_MISSING: u8 = 127;

/// This program once more, which asks to be ended with this process.
fn this_program(verb: &str) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.arg0("kcradle").args([super::VERB, verb]).env_clear().env("PATH", super::PATH);
    command
}

/// Keeps a pasta at work for the network namespace that is its standard input, with the rights that the network's process
/// gives up. Answers the exit code of one that has not worked at all.
///
/// # Errors
/// It cannot be started.
pub fn keep_pasta() -> io::Result<u8> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    let _ = rustix::thread::set_name(c"cradle-uplink");
    let (mut worked, mut pause) = (false, SOON);
    loop {
        let begun = Instant::now();
        let status = this_program("--pasta").status()?;
        if begun.elapsed() < SOON {
            if !worked {
                return Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1));
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(SELDOM);
        } else {
            pause = SOON;
        }
        worked = true;
        eprintln!(
            "pasta has ended ({status}) and is started again: the pods' connections to the outside are broken"
        );
    }
}

/// Becomes pasta for that namespace; answers why it did not.
#[must_use]
pub fn become_pasta() -> io::Error {
    if let Err(error) = rustix::process::set_parent_process_death_signal(Some(Signal::KILL)) {
        return error.into();
    }
    let mut command = Command::new(PASTA);
    command.args(["--foreground", "--quiet", "--stderr", "--config-net", "--no-map-gw", "--ns-ifname", NAME]);
    command.args(["-t", "none", "-u", "none", "-T", "none", "-U", "none"]);
    command.args(["--netns-only", "--no-netns-quit", "--netns", "/proc/self/fd/0"]);
    command.exec()
}

/// Whether there is a default route, of either family, in the tables of a folder.
fn has_route(tables: &str) -> bool {
    let lines = |name: &str| std::fs::read_to_string(format!("{tables}/{name}")).unwrap_or_default();
    let ipv4 = lines("route").lines().skip(1).any(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        fields.get(1) == Some(&"00000000") && fields.get(7) == Some(&"00000000")
    });
    let any = "0".repeat(32);
    let ipv6 = lines("ipv6_route").lines().any(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        fields.first() == Some(&any.as_str()) && fields.get(1) == Some(&"00") && fields.last() != Some(&"lo")
    });
    ipv4 || ipv6
}

/// The host's own addresses but loopback's, as they are now. pasta gives the namespace those of one interface, and would
/// connect to all others.
pub(super) fn host_addresses() -> io::Result<Vec<IpAddr>> {
    let ipv4 = std::fs::read_to_string("/proc/net/fib_trie")?;
    let ipv6 = match std::fs::read_to_string("/proc/net/if_inet6") {
        // A host without IPv6.
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        read => read?,
    };
    let mut found: Vec<_> = addresses4(&ipv4).chain(addresses6(&ipv6)).collect();
    found.retain(|address| !address.is_loopback());
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

/// A local address is a leaf of the table: its line, then those of its kinds.
fn addresses4(table: &str) -> impl Iterator<Item = IpAddr> {
    let mut leaf = None;
    table.lines().filter_map(move |line| match (line.trim().strip_prefix("|-- "), line.trim()) {
        (Some(address), _) => {
            leaf = address.parse().ok();
            None
        }
        (None, "/32 host LOCAL") => leaf,
        _ => None,
    })
}

/// Each line begins with the digits of an address.
fn addresses6(table: &str) -> impl Iterator<Item = IpAddr> {
    let digits = table.lines().filter_map(|line| line.split_whitespace().next());
    let bits = digits.filter_map(|digits| u128::from_str_radix(digits, 16).ok());
    bits.map(|bits| Ipv6Addr::from_bits(bits).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_those_of_the_hosts_interfaces() {
        let table = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 0.0.0.0\n        /0 universe UNICAST\n     |-- 10.0.0.0\n        \
                     /24 link UNICAST\nLocal:\n  +-- 0.0.0.0/0 2 0 2\n     |-- 10.0.0.5\n        /32 link UNICAST\n        /32 host LOCAL\n     \
                     |-- 10.0.0.255\n        /32 link BROADCAST\n     |-- 127.0.0.0\n        /8 host LOCAL\n     \
                     |-- 127.0.0.1\n        /32 host LOCAL\n";
        let found: Vec<_> = addresses4(table).map(|address| address.to_string()).collect();
        assert_eq!(found, ["10.0.0.5", "127.0.0.1"]);
        let table = "20010db8000000000000000000000007 02 40 00 80     eth0\ngarbage\n";
        assert_eq!(addresses6(table).collect::<Vec<_>>(), ["2001:db8::7".parse::<IpAddr>().unwrap()]);
        // Loopback alone, where the tests have nothing else.
        assert!(host_addresses().unwrap().iter().all(|address| !address.is_loopback()));
    }
}
