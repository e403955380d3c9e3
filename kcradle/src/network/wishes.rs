//! From what `summon` and `run` say of networks to what the pod's record has, and what its containers find in their files.

use std::net::IpAddr;
use std::path::Path;

use net::PortWish;
use pod::{Attachment, Home, Networking};
use spec::launch::{ContainerSpec, HostEntry, NetworkSpec};

use super::Networks;
use super::addresses::Addresses;
use super::store::{DEFAULT, NONE};
use crate::cli::network::NetworkArgs;
use crate::failure::{Failure, HintExt as _};

/// The address that stands for the host's own.
pub(crate) const HOST_GATEWAY: &str = "host-gateway";

/// Changes what is known of a pod's networks as the arguments say. `own` are the names that the pod has by itself.
/// `addresses` are those that a pod file gives.
pub(crate) fn apply(
    args: &NetworkArgs,
    home: &Home,
    own: Vec<String>,
    addresses: &Addresses,
    networking: &mut Networking,
    network: &mut NetworkSpec,
) -> Result<(), Failure> {
    let ports = args.publish.iter().map(|text| PortWish::parse(text)).collect::<Result<Vec<_>, _>>();
    let ports: Vec<PortWish> = ports.map_err(anyhow::Error::from)?.into_iter().flatten().collect();
    if !args.network.is_empty() {
        networking.networks = attachments(&args.network, home)?;
    }
    if !ports.is_empty() {
        networking.ports = ports;
    }
    match networking.networks.first_mut() {
        _ if addresses.families.is_empty() => {}
        Some(first) => {
            (first.ip, first.ip6) = (args.ip, args.ip6);
            addresses.wish(first);
        }
        None if args.network.is_empty() => {
            networking.networks.push(addresses.attachment(&Networks::of(home))?);
        }
        // --network none.
        None => {}
    }
    if networking.networks.is_empty() && !args.publish.is_empty() {
        if !args.network.is_empty() {
            return Err(Failure::new("ports cannot be published with --network none"));
        }
        networking.networks = attachments(&[DEFAULT.to_owned()], home)?;
    }
    match networking.networks.first_mut() {
        Some(first) => {
            first.ip = args.ip.or(first.ip);
            first.ip6 = args.ip6.or(first.ip6);
            first.mac = args.mac_address.or(first.mac);
        }
        None if args.ip.is_some() || args.ip6.is_some() || args.mac_address.is_some() => {
            return Err(Failure::new("an address needs a network")).hint("add --network NAME");
        }
        None => {}
    }
    for attachment in &mut networking.networks {
        for name in own.iter().chain(&args.network_alias) {
            if !attachment.names.contains(name) {
                attachment.names.push(name.clone());
            }
        }
    }
    if !args.dns.is_empty() {
        networking.dns.clone_from(&args.dns);
    }
    if !args.dns_search.is_empty() {
        network.search_domain = args.dns_search.join(" ");
    }
    for text in &args.add_host {
        network.hosts.push(extra_host(text)?);
    }
    networking.host_gateway |= network.hosts.iter().any(|entry| entry.address == HOST_GATEWAY);
    Ok(())
}

/// The networks of these names; `none` alone is no network.
fn attachments(names: &[String], home: &Home) -> Result<Vec<Attachment>, Failure> {
    let networks = Networks::of(home);
    if names.iter().any(|name| name == NONE) {
        return match names {
            [_] => Ok(Vec::new()),
            _ => Err(Failure::new("conflicting options: cannot attach both none and other networks")),
        };
    }
    let mut attachments: Vec<Attachment> = Vec::new();
    for name in names {
        let dir = networks.named(name)?.path().to_owned();
        if attachments.iter().any(|one| one.dir == dir) {
            return Err(Failure::new(format!("network {name} is specified multiple times")));
        }
        attachments.push(Attachment { dir, ..Attachment::default() });
    }
    Ok(attachments)
}

/// `NAME:ADDRESS` or `NAME=ADDRESS`.
fn extra_host(text: &str) -> Result<HostEntry, Failure> {
    let wrong = || Failure::new(format!("bad format for add-host: \"{text}\"")).hint("write NAME:ADDRESS");
    let (name, address) =
        text.split_once([':', '=']).filter(|(name, _)| !name.is_empty()).ok_or_else(wrong)?;
    if address == HOST_GATEWAY {
        return Ok(HostEntry { name: name.to_owned(), address: address.to_owned() });
    }
    let bare = address.trim_start_matches('[').trim_end_matches(']');
    match bare.parse::<IpAddr>() {
        Ok(address) => Ok(HostEntry { name: name.to_owned(), address: address.to_string() }),
        Err(_) => Err(Failure::new(format!("invalid IP address in add-host: \"{address}\""))),
    }
}

/// What others on its networks find a pod by: its containers' names and host names, its directory's name and its id.
pub(crate) fn own_names(dir: &Path, id: &str, containers: &[ContainerSpec]) -> Vec<String> {
    let mut names = Vec::new();
    let directory = dir.file_name().and_then(|name| name.to_str());
    let of_containers =
        containers.iter().flat_map(|container| [container.name.as_str(), &container.hostname]);
    for name in of_containers.chain(directory).chain(id.get(..12)) {
        if !name.is_empty() && !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(arguments: &NetworkArgs) -> Result<(Networking, NetworkSpec), String> {
        let folder = tempfile::tempdir().unwrap();
        let (mut networking, mut network) = (Networking::default(), NetworkSpec::default());
        let home = Home::at(folder.path().to_owned());
        apply(arguments, &home, vec!["web".into()], &Addresses::default(), &mut networking, &mut network)
            .map_err(|failure| failure.line())?;
        Ok((networking, network))
    }

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_published_port_needs_a_network_and_gets_the_default_one() {
        let args = NetworkArgs { publish: words(&["8080:80"]), ..NetworkArgs::default() };
        let (networking, _) = applied(&args).unwrap();
        assert!(networking.networks[0].dir.ends_with("networks/default"));
        assert_eq!(networking.networks[0].names, ["web"]);
        assert_eq!(networking.ports.len(), 1);
        let args = NetworkArgs { network: words(&["none"]), ..args };
        assert!(applied(&args).unwrap_err().contains("none"));
    }

    #[test]
    fn nothing_said_is_no_network() {
        let (networking, network) = applied(&NetworkArgs::default()).unwrap();
        assert!(networking.is_none() && network.is_empty());
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for (args, why) in [
            (NetworkArgs { network: words(&["shop"]), ..NetworkArgs::default() }, "not found"),
            (NetworkArgs { network: words(&["../x"]), ..NetworkArgs::default() }, "invalid network name"),
            (NetworkArgs { network: words(&["none", "default"]), ..NetworkArgs::default() }, "conflicting"),
            (NetworkArgs { network: words(&["default", "default"]), ..NetworkArgs::default() }, "multiple"),
            (NetworkArgs { ip: Some([10, 0, 0, 2].into()), ..NetworkArgs::default() }, "needs a network"),
            (NetworkArgs { publish: words(&["x"]), ..NetworkArgs::default() }, "invalid port"),
            (NetworkArgs { add_host: words(&["x"]), ..NetworkArgs::default() }, "bad format"),
            (NetworkArgs { add_host: words(&["x:y"]), ..NetworkArgs::default() }, "invalid IP address"),
        ] {
            let error = applied(&args).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn hosts_have_names() {
        let args = NetworkArgs {
            network: words(&["default"]),
            add_host: words(&["a:10.0.0.1", "b=[::1]", "h:host-gateway"]),
            ..NetworkArgs::default()
        };
        let (networking, network) = applied(&args).unwrap();
        let hosts: Vec<_> = network.hosts.iter().map(|entry| entry.address.as_str()).collect();
        assert_eq!(hosts, ["10.0.0.1", "::1", "host-gateway"]);
        assert!(networking.host_gateway);
    }
}
