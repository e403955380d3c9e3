//! `kcradle network create|ls|inspect|rm|prune`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;

use anyhow::Context as _;
use net::{Definition, NetworkDir, Pool, Subnet, keeper};
use pod::{Home, PodDir, state};
use serde::Serialize;

use super::store::{DEFAULT, NONE, Networks, new_id};
use crate::cli::network::{CreateArgs, LsArgs, NamesArgs, NetworkCommand, PruneArgs};
use crate::failure::Failure;
use crate::{home, stdout, table};

/// Runs the command.
pub(crate) fn run(command: &NetworkCommand) -> Result<u8, Failure> {
    let home = home::find()?;
    let networks = Networks::of(&home);
    match command {
        NetworkCommand::Create(args) => create(&networks, args),
        NetworkCommand::Ls(args) => ls(&networks, args),
        NetworkCommand::Inspect(args) => inspect(&networks, &home, args),
        NetworkCommand::Rm(args) => rm(&networks, args),
        NetworkCommand::Prune(args) => prune(&networks, &home, args),
    }
}

fn create(networks: &Networks, args: &CreateArgs) -> Result<u8, Failure> {
    let name = &args.name;
    if [NONE, DEFAULT, "host"].contains(&name.as_str()) {
        return Err(Failure::new(format!("operation is not permitted on predefined {name} network")));
    }
    let label = |label: &String| {
        let (name, value) = label.split_once('=').unwrap_or((label, ""));
        (name.to_owned(), value.to_owned())
    };
    let id = new_id()?;
    let definition = Definition {
        version: Definition::VERSION,
        name: name.clone(),
        created: state::now(),
        pools: pools(networks, args, &id)?,
        internal: args.internal,
        isolated: args.isolated,
        mtu: args.mtu.unwrap_or(Definition::DEFAULT_MTU),
        labels: args.label.iter().map(label).collect::<BTreeMap<_, _>>(),
        id,
    };
    if !networks.make(&definition)? {
        return Err(Failure::new(format!("network with name {name} already exists")));
    }
    stdout::line(format_args!("{}", definition.id));
    Ok(0)
}

/// The addresses of a new network: those that are asked for, else free ones.
fn pools(networks: &Networks, args: &CreateArgs, id: &str) -> Result<Vec<Pool>, Failure> {
    let mut subnets = args.subnet.clone();
    if subnets.iter().all(Subnet::is_ipv6) {
        subnets.insert(0, networks.free()?);
    }
    if args.ipv6 && !subnets.iter().any(Subnet::is_ipv6) {
        subnets.push(Subnet::unique_local(id));
    }
    networks.refuse_overlap(&subnets)?;
    let mut pools: Vec<Pool> = subnets.into_iter().map(Pool::of).collect();
    let of = |pools: &mut Vec<Pool>, address: IpAddr| {
        pools.iter().position(|pool| pool.subnet.contains(address)).ok_or_else(|| {
            Failure::new(format!("no matching subnet for {address}")).hint("choose a --subnet that has it")
        })
    };
    for gateway in &args.gateway {
        let index = of(&mut pools, *gateway)?;
        pools[index].gateway = *gateway;
    }
    for range in &args.ip_range {
        let index = of(&mut pools, range.address())?;
        pools[index].range = Some(*range);
    }
    for text in &args.aux_address {
        let address = text.split_once('=').map_or(text.as_str(), |(_, address)| address);
        let address: IpAddr =
            address.parse().with_context(|| format!("invalid value for --aux-address: {text}"))?;
        let index = of(&mut pools, address)?;
        pools[index].reserved.push(address);
    }
    Ok(pools)
}

fn ls(networks: &Networks, args: &LsArgs) -> Result<u8, Failure> {
    let all = networks.all()?;
    if args.json {
        let all: Vec<_> = all.iter().map(|(_, definition)| definition).collect();
        let json = serde_json::to_string_pretty(&all).context("cannot print the list")?;
        stdout::line(format_args!("{json}"));
    } else if args.quiet {
        all.iter().for_each(|(_, one)| stdout::line(format_args!("{}", &one.id[..12])));
    } else {
        let row = |(_, one): &(NetworkDir, Definition)| {
            let subnets: Vec<_> = one.pools.iter().map(|pool| pool.subnet.to_string()).collect();
            let internal = if one.internal { "yes" } else { "no" };
            vec![one.id[..12].to_owned(), one.name.clone(), subnets.join(", "), internal.to_owned()]
        };
        table::print(&["NETWORK ID", "NAME", "SUBNETS", "INTERNAL"], all.iter().map(row).collect());
    }
    Ok(0)
}

/// What `inspect` prints of a network.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Described {
    #[serde(flatten)]
    definition: Definition,
    /// The pods that are on it now.
    pods: Vec<DescribedPod>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DescribedPod {
    dir: PathBuf,
    #[serde(flatten)]
    endpoint: net::Answer,
}

fn inspect(networks: &Networks, home: &Home, args: &NamesArgs) -> Result<u8, Failure> {
    let mut described = Vec::new();
    for wanted in &args.networks {
        let (_, definition) = networks.find(wanted)?;
        let mut pods = Vec::new();
        for pod in pods_of(home)?.iter().filter(|pod| pod.is_running().unwrap_or(false)) {
            // One that ends just now is none of them.
            let attached = pod.read_network().ok().flatten().map(|found| found.networks).unwrap_or_default();
            let here = attached.into_iter().filter(|one| one.endpoint.network == definition.id);
            pods.extend(here.map(|one| DescribedPod { dir: pod.path().to_owned(), endpoint: one.endpoint }));
        }
        described.push(Described { definition, pods });
    }
    let json = serde_json::to_string_pretty(&described).context("cannot print the networks")?;
    stdout::line(format_args!("{json}"));
    Ok(0)
}

fn rm(networks: &Networks, args: &NamesArgs) -> Result<u8, Failure> {
    let mut code = 0;
    for wanted in &args.networks {
        let removed = networks.find(wanted).and_then(|(dir, definition)| {
            if remove(&dir)? {
                return Ok(definition.name);
            }
            Err(Failure::new(format!("network {} has active endpoints", definition.name))
                .hint("stop its pods first: `kcradle network inspect` lists them"))
        });
        match removed {
            Ok(name) => stdout::line(format_args!("{name}")),
            Err(failure) => {
                let failure = failure.context(format!("cannot remove network {wanted}"));
                failure.print();
                code = failure.exit_code();
            }
        }
    }
    Ok(code)
}

fn remove(dir: &NetworkDir) -> Result<bool, Failure> {
    Ok(keeper::remove(dir).map_err(anyhow::Error::from)?)
}

/// What `prune` did.
#[derive(Default, Serialize)]
struct Pruned {
    /// Networks that are gone.
    networks: Vec<String>,
    /// Networks that stay and are used by nobody now: what a killed process left of them is undone.
    cleared: Vec<String>,
}

fn prune(networks: &Networks, home: &Home, args: &PruneArgs) -> Result<u8, Failure> {
    let mut named = BTreeSet::new();
    for pod in pods_of(home)? {
        // A directory that was removed by hand names none.
        let networks = pod.read_record().map(|record| record.networking.networks).unwrap_or_default();
        named.extend(networks.into_iter().map(|attachment| attachment.dir));
    }
    let mut pruned = Pruned::default();
    for (dir, definition) in networks.all()? {
        let context = format!("cannot remove what is left of network {}", definition.name);
        if named.contains(dir.path()) || definition.name == DEFAULT {
            if keeper::clear(&dir).context(context)? {
                pruned.cleared.push(definition.name);
            }
        } else if remove(&dir).map_err(|failure| failure.context(context))? {
            pruned.networks.push(definition.name);
        }
    }
    if args.json {
        let json = serde_json::to_string(&pruned).context("cannot print what was removed")?;
        stdout::line(format_args!("{json}"));
    } else if !pruned.networks.is_empty() {
        stdout::line(format_args!("Deleted Networks:"));
        pruned.networks.iter().for_each(|name| stdout::line(format_args!("{name}")));
    }
    Ok(0)
}

/// The pods that the store knows.
fn pods_of(home: &Home) -> Result<Vec<PodDir>, Failure> {
    let images = home::store(home)?.list().context("cannot list the pods")?;
    let dirs: BTreeSet<_> = images.into_iter().flat_map(|image| image.pods).collect();
    dirs.iter().map(|dir| Ok(PodDir::new(dir).context("cannot name a pod directory")?)).collect()
}
