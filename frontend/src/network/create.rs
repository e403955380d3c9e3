//! `POST /networks/create`: what is asked for becomes a network's record, or is refused in Docker's words.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::SystemTime;

use bollard_stubs::models;
use hyper::StatusCode;
use serde::Deserialize;
use serde_json::json;
use vdocker::EngineError;
use vdocker::response::{self, Response};

use super::{Network, Pool, Subnet, directory, is_predefined, new_id};
use crate::context::Context;
use crate::daemon::Daemon;
use crate::db::Batch;

/// What `POST /networks/create` takes; `null` is as good as nothing.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Wish {
    name: String,
    driver: Option<String>,
    scope: Option<String>,
    internal: Option<bool>,
    attachable: Option<bool>,
    ingress: Option<bool>,
    config_only: Option<bool>,
    config_from: Option<models::ConfigReference>,
    #[serde(rename = "EnableIPv4")]
    enable_ipv4: Option<bool>,
    #[serde(rename = "EnableIPv6")]
    enable_ipv6: Option<bool>,
    #[serde(rename = "IPAM")]
    ipam: Option<models::Ipam>,
    options: Option<BTreeMap<String, String>>,
    labels: Option<BTreeMap<String, String>>,
}

/// `POST /networks/create`.
pub(super) async fn create(mut context: Context) -> Result<Response, EngineError> {
    let wish: Wish = context.json().await?;
    let daemon = &context.daemon;
    let network = plan(daemon, wish)?;
    let (id, definition) = (network.id.clone(), directory::definition(&network)?);
    let mut batch = Batch::default();
    daemon.events.push(&mut batch, network.event("create", &[]));
    // From here on nobody else gets its name and its addresses.
    daemon.networks.keep(&mut batch, network)?;
    let root = daemon.networks.root().to_owned();
    let made = daemon.blocking(move || directory::make(&root, &definition)).await.and_then(|made| made);
    let kept = match made {
        Ok(()) => daemon.db.commit(batch).await.map_err(EngineError::from),
        Err(error) => Err(error),
    };
    if let Err(error) = kept {
        daemon.networks.forget(&mut Batch::default(), &id);
        daemon.networks.remove_directory(daemon, &id).await;
        return Err(error);
    }
    response::json(StatusCode::CREATED, &json!({ "Id": id, "Warning": "" }))
}

fn bad(text: impl Into<String>) -> EngineError {
    EngineError::BadRequest(text.into())
}

/// The network of a request.
fn plan(daemon: &Daemon, wish: Wish) -> Result<Network, EngineError> {
    let name = wish.name.trim().to_owned();
    if name.is_empty() {
        return Err(bad("invalid name: name is empty"));
    }
    if name.len() > 255 || name.contains('/') || name.chars().any(char::is_control) {
        return Err(bad(format!("invalid name: {name:?}")));
    }
    if is_predefined(&name) {
        return Err(EngineError::Denied(format!("operation is not permitted on predefined {name} network ")));
    }
    if daemon.networks.all().iter().any(|network| network.name == name) {
        return Err(EngineError::Conflict(format!("network with name {name} already exists")));
    }
    let driver = driver(wish.driver)?;
    if wish.scope.is_some_and(|scope| !matches!(scope.as_str(), "" | "local")) || wish.ingress == Some(true) {
        return Err(EngineError::Busy(
            "This node is not a swarm manager: it has no networks of swarms.".into(),
        ));
    }
    if wish.config_only == Some(true)
        || wish.config_from.is_some_and(|from| from.network.is_some_and(|name| !name.is_empty()))
    {
        return Err(EngineError::Unsupported(
            "networks that are configuration only are not supported".into(),
        ));
    }
    let (ipv4, ipv6) = (wish.enable_ipv4.unwrap_or(true), wish.enable_ipv6.unwrap_or(false));
    if !ipv4 && !ipv6 {
        return Err(bad("IPv4 or IPv6 must be enabled"));
    }
    let id = new_id()?;
    let ipam = wish.ipam.unwrap_or_default();
    if let Some(driver) = ipam.driver.filter(|driver| !matches!(driver.as_str(), "" | "default")) {
        return Err(EngineError::NotFound(format!(
            "could not find plugin {driver} in v1 plugin registry: plugin not found"
        )));
    }
    Ok(Network {
        subnets: pools(daemon, &id, ipam.config.unwrap_or_default(), ipv4, ipv6)?,
        id,
        name,
        created: SystemTime::now(),
        driver,
        internal: wish.internal.unwrap_or(false),
        attachable: wish.attachable.unwrap_or(false),
        ipv4,
        ipv6,
        options: wish.options.unwrap_or_default(),
        labels: wish.labels.unwrap_or_default(),
    })
}

fn driver(wanted: Option<String>) -> Result<String, EngineError> {
    let driver = wanted.filter(|driver| !matches!(driver.as_str(), "" | "default"));
    match driver.as_deref() {
        None | Some("bridge") => Ok("bridge".to_owned()),
        Some(one @ ("host" | "null")) => {
            Err(EngineError::Denied(format!("only one instance of \"{one}\" network is allowed")))
        }
        Some(other) => Err(EngineError::NotFound(format!(
            "could not find plugin {other} in v1 plugin registry: plugin not found"
        ))),
    }
}

/// The addresses of a network: those that are asked for, which no other network has, or free ones.
fn pools(
    daemon: &Daemon,
    id: &str,
    wanted: Vec<models::IpamConfig>,
    ipv4: bool,
    ipv6: bool,
) -> Result<Vec<Pool>, EngineError> {
    let (mut pools, mut wrong) = (Vec::new(), Vec::new());
    for config in wanted {
        if let Some(pool) = pool(&config, &mut wrong)
            // Docker takes no notice of what is said of a family that the network does not have.
            && (if pool.subnet.is_ipv6() { ipv6 } else { ipv4 })
        {
            pools.push(pool);
        }
    }
    if !wrong.is_empty() {
        return Err(bad(format!("invalid network config:\n{}", joined(&wrong))));
    }
    for family in [false, true] {
        if pools.iter().filter(|pool| pool.subnet.is_ipv6() == family).count() > 1 {
            return Err(EngineError::Denied("bridge driver doesn't support multiple subnets".into()));
        }
    }
    let mut taken: Vec<_> =
        daemon.networks.all().iter().flat_map(|network| &network.subnets).map(|pool| pool.subnet).collect();
    if pools.iter().any(|pool| taken.iter().any(|other| other.overlaps(&pool.subnet))) {
        let text = "invalid pool request: Pool overlaps with other one on this address space";
        return Err(EngineError::Denied(text.into()));
    }
    if ipv4 && !pools.iter().any(|pool| !pool.subnet.is_ipv6()) {
        taken.extend(net::host_routes());
        let full = "all predefined address pools have been fully subnetted";
        let free = Subnet::free(&taken).ok_or_else(|| EngineError::BadRequest(full.into()))?;
        pools.insert(0, Pool::of(free));
    }
    if ipv6 && !pools.iter().any(|pool| pool.subnet.is_ipv6()) {
        pools.push(Pool::of(Subnet::unique_local(id)));
    }
    pools.sort_by_key(|pool| pool.subnet.is_ipv6());
    Ok(pools)
}

/// Several complaints as Docker lists them.
pub(crate) fn joined(wrong: &[String]) -> String {
    match wrong {
        [one] => one.clone(),
        all => format!("* {}", all.join("\n* ")),
    }
}

/// A subnet that is asked for. What is wrong with it is added to `wrong`; `None` where nothing is asked for.
fn pool(config: &models::IpamConfig, wrong: &mut Vec<String>) -> Option<Pool> {
    let text = config.subnet.as_deref().filter(|text| !text.is_empty())?;
    let Ok(subnet) = text.parse::<Subnet>() else {
        wrong.push(format!("invalid subnet {text}: invalid CIDR block notation"));
        return None;
    };
    if !is_first(text, subnet) {
        wrong.push(format!("invalid subnet {text}: it should be {subnet}"));
    }
    let range = config.ip_range.as_deref().filter(|text| !text.is_empty());
    let range = range.and_then(|text| ip_range(text, subnet, wrong));
    let gateway = config.gateway.as_deref().filter(|text| !text.is_empty());
    let gateway = gateway.and_then(|text| {
        // Older clients give it a length.
        let plain = text.split('/').next().unwrap_or_default();
        address(plain, subnet).map_err(|why| wrong.push(format!("invalid gateway {text}: {why}"))).ok()
    });
    let auxiliary = config.auxiliary_addresses.iter().flatten().filter_map(|(name, text)| {
        let found = address(text, subnet);
        let found = found.map_err(|why| wrong.push(format!("invalid auxiliary address {name}: {why}")));
        Some((name.clone(), found.ok()?))
    });
    let auxiliary = auxiliary.collect();
    Some(Pool { subnet, gateway: Some(gateway.unwrap_or_else(|| subnet.first())), range, auxiliary })
}

/// Whether a text has the first address of the subnet that it means.
fn is_first(text: &str, subnet: Subnet) -> bool {
    text.split('/').next().and_then(|address| address.parse().ok()) == Some(subnet.address())
}

fn ip_range(text: &str, subnet: Subnet, wrong: &mut Vec<String>) -> Option<Subnet> {
    let Ok(range) = text.parse::<Subnet>() else {
        wrong.push(format!("invalid ip-range {text}: invalid CIDR block notation"));
        return None;
    };
    if range.is_ipv6() != subnet.is_ipv6() {
        wrong.push(format!("invalid ip-range {range}: parent subnet is an {} block", family(subnet)));
        return None;
    }
    if range.length() < subnet.length() {
        wrong.push(format!("invalid ip-range {range}: CIDR block is bigger than its parent subnet {subnet}"));
    }
    if !is_first(text, range) {
        wrong.push(format!("invalid ip-range {text}: it should be {range}"));
    }
    if !subnet.overlaps(&range) {
        wrong.push(format!("invalid ip-range {range}: parent subnet {subnet} doesn't contain ip-range"));
    }
    Some(range)
}

const fn family(subnet: Subnet) -> &'static str {
    if subnet.is_ipv6() { "IPv6" } else { "IPv4" }
}

fn address(text: &str, subnet: Subnet) -> Result<IpAddr, String> {
    let address: IpAddr = text.parse().map_err(|_| "invalid address".to_owned())?;
    if address.is_ipv6() != subnet.is_ipv6() {
        return Err(format!("parent subnet is an {} block", family(subnet)));
    }
    if !subnet.contains(address) {
        return Err(format!("parent subnet {subnet} doesn't contain this address"));
    }
    Ok(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(json: &str) -> Result<Pool, String> {
        let mut wrong = Vec::new();
        let pool = pool(&serde_json::from_str(json).unwrap(), &mut wrong);
        if wrong.is_empty() { Ok(pool.unwrap()) } else { Err(joined(&wrong)) }
    }

    #[test]
    fn subnets_are_taken_as_they_are_asked_for() {
        let pool = asked(
            r#"{"Subnet":"10.9.0.0/16","IPRange":"10.9.4.0/24","Gateway":"10.9.0.9","AuxiliaryAddresses":{"a":"10.9.0.3"}}"#,
        );
        let pool = pool.unwrap();
        assert_eq!(
            (pool.gateway, pool.auxiliary["a"]),
            ("10.9.0.9".parse().ok(), "10.9.0.3".parse().unwrap())
        );
        assert_eq!(pool.range.unwrap().to_string(), "10.9.4.0/24");
        assert_eq!(asked(r#"{"Subnet":"fd00:9::/64"}"#).unwrap().gateway, "fd00:9::1".parse().ok());
    }

    #[test]
    fn what_is_wrong_is_said_in_dockers_words() {
        for (json, words) in [
            (r#"{"Subnet":"10.9"}"#, "invalid subnet 10.9: invalid CIDR block notation"),
            (r#"{"Subnet":"10.9.0.1/16"}"#, "invalid subnet 10.9.0.1/16: it should be 10.9.0.0/16"),
            (r#"{"Subnet":"10.9.0.0/16","IPRange":"fd00::/64"}"#, "parent subnet is an IPv4 block"),
            (
                r#"{"Subnet":"10.9.0.0/16","IPRange":"10.0.0.0/8"}"#,
                "bigger than its parent subnet 10.9.0.0/16",
            ),
            (r#"{"Subnet":"10.9.0.0/16","IPRange":"10.9.1.1/24"}"#, "it should be 10.9.1.0/24"),
            (r#"{"Subnet":"10.9.0.0/16","IPRange":"10.8.0.0/24"}"#, "doesn't contain ip-range"),
            (
                r#"{"Subnet":"10.9.0.0/16","Gateway":"10.8.0.1"}"#,
                "invalid gateway 10.8.0.1: parent subnet 10.9.0.0/16",
            ),
            (r#"{"Subnet":"10.9.0.0/16","Gateway":"x"}"#, "invalid gateway x: invalid address"),
            (
                r#"{"Subnet":"10.9.0.0/16","AuxiliaryAddresses":{"a":"::1"}}"#,
                "invalid auxiliary address a: parent subnet",
            ),
        ] {
            let said = asked(json).unwrap_err();
            assert!(said.contains(words), "{json}: {said}");
        }
        assert_eq!(
            asked(r#"{"Subnet":"10.9.0.0/16","Gateway":"x","IPRange":"y"}"#).unwrap_err().lines().count(),
            2
        );
    }
}
