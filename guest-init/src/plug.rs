//! Interfaces that come and go while the pod runs: the kernel's virtio-mmio driver is bound by hand to a device that has been
//! connected, or taken off it (virtio 1.3, section 4.2.2: a device whose id is 0 is passed over), and the containers' files
//! follow.

use crate::chain;
use crate::container::etc;
use crate::interfaces;
use crate::pod::Pod;
use spec::frame::Kind;
use spec::launch::{LinkChange, NetworkSpec};
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::Path;
use std::rc::Rc;

/// The driver's directory; a device's name in it is its number on the kernel's command line.
const DRIVER: &str = "/sys/bus/platform/drivers/virtio-mmio";

/// Bytes of a container's file that are looked at.
const MAX_FILE: u64 = 1 << 20;

/// Obeys a [`Kind::Link`] beside everything else, and tells the host when it is done. One after the other.
pub(crate) fn obey(pod: &Rc<Pod>, payload: &[u8]) {
    let Ok(change) = serde_json::from_slice::<LinkChange>(payload) else { return };
    let pod = Rc::clone(pod);
    vdocker::task::spawn(async move {
        let _turn = pod.plugging.lock().await;
        let slot = change.slot;
        let texts = etc::resolv_conf(&pod.network.borrow());
        let network = change.network.clone();
        let places: Vec<_> = pod.disks.trees.iter().map(|tree| tree.etc.clone()).collect();
        let hosts: Vec<_> = pod.spec.containers.iter().map(|container| container.hostname.clone()).collect();
        let work = move || {
            let done = follow(&change);
            if done.is_ok() {
                for (place, hostname) in places.iter().zip(&hosts) {
                    // A file that a container has made unusable is its own affair.
                    let _ = rewrite(place, hostname, &texts, &change);
                }
            }
            done
        };
        let done = tokio::task::spawn_blocking(work).await;
        let why = done.unwrap_or_else(|error| Err(error.to_string())).err().unwrap_or_default();
        if why.is_empty() {
            pod.network.replace(network);
        }
        pod.host.push(Kind::Linked, 0, &[&slot.to_le_bytes(), why.as_bytes()].concat());
    });
}

/// Makes the interface, or lets go of it.
fn follow(change: &LinkChange) -> Result<(), String> {
    let LinkChange { slot, interface, network } = change;
    network.check()?;
    let comes = network.interfaces.iter().any(|other| other.name == interface.name);
    let verb = if comes { "bind" } else { "unbind" };
    let name = format!("virtio-mmio.{slot}");
    fs::write(format!("{DRIVER}/{verb}"), &name).map_err(|error| format!("cannot {verb} {name}: {error}"))?;
    let set_up = if comes { interfaces::add(network, interface) } else { interfaces::route(network) };
    set_up.map_err(|error| {
        if comes {
            let _ = fs::write(format!("{DRIVER}/unbind"), &name);
        }
        chain(&error)
    })
}

/// Brings a container's files up to date: what it has written there itself stays.
fn rewrite(place: &Path, hostname: &str, before: &str, change: &LinkChange) -> io::Result<()> {
    let resolv_conf = place.join("resolv.conf");
    if read(&resolv_conf)? == before {
        fs::write(resolv_conf, etc::resolv_conf(&change.network))?;
    }
    let only = NetworkSpec {
        interfaces: vec![change.interface.clone()],
        domainname: change.network.domainname.clone(),
        ..NetworkSpec::default()
    };
    let own = etc::own_hosts(&only, hostname);
    let hosts = place.join("hosts");
    let mut text = read(&hosts)?;
    if change.network.interfaces.contains(&change.interface) {
        text.push_str(&own);
    } else {
        let gone: Vec<_> = own.lines().collect();
        text = text.lines().filter(|line| !gone.contains(line)).flat_map(|line| [line, "\n"]).collect();
    }
    fs::write(hosts, text)
}

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let read = File::open(path)?.take(MAX_FILE + 1).read_to_string(&mut text)?;
    if read as u64 > MAX_FILE { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_follow_and_keep_what_a_container_wrote() {
        let folder = tempfile::tempdir().unwrap();
        let network = |json: &str| serde_json::from_str::<NetworkSpec>(json).unwrap();
        let before = network(
            r#"{"interfaces":[{"name":"eth0","mac":"02:42:0a:00:00:02","mtu":1500,"addresses":[
            {"address":"10.0.0.2","prefixLength":8}]}],"nameservers":["10.0.0.1"]}"#,
        );
        let mut after = before.clone();
        let mut second = before.interfaces[0].clone();
        (second.name, second.addresses[0].address) = ("eth1".into(), "11.0.0.2".parse().unwrap());
        after.interfaces.push(second.clone());
        after.nameservers.push("11.0.0.1".into());
        let file = |name: &str| folder.path().join(name);
        fs::write(file("resolv.conf"), etc::resolv_conf(&before)).unwrap();
        fs::write(file("hosts"), etc::hosts(&before, "box") + "9.9.9.9\tmine\n").unwrap();
        let was = [read(&file("hosts")).unwrap(), read(&file("resolv.conf")).unwrap()];

        let comes = LinkChange { slot: 1, interface: second.clone(), network: after.clone() };
        rewrite(folder.path(), "box", &etc::resolv_conf(&before), &comes).unwrap();
        assert_eq!(read(&file("resolv.conf")).unwrap(), "nameserver 10.0.0.1\nnameserver 11.0.0.1\n");
        assert!(read(&file("hosts")).unwrap().ends_with("mine\n11.0.0.2\tbox\n"));
        let goes = LinkChange { slot: 1, interface: second, network: before };
        rewrite(folder.path(), "box", &etc::resolv_conf(&after), &goes).unwrap();
        assert_eq!([read(&file("hosts")).unwrap(), read(&file("resolv.conf")).unwrap()], was);

        fs::write(file("resolv.conf"), "nameserver 9.9.9.9\n").unwrap();
        rewrite(folder.path(), "box", &etc::resolv_conf(&after), &comes).unwrap();
        assert_eq!(read(&file("resolv.conf")).unwrap(), "nameserver 9.9.9.9\n");
    }
}
