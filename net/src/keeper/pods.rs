//! The pods on a network and what they are called.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use spec::MacAddress;

/// A pod on the network.
#[derive(Clone, Debug)]
pub(super) struct Pod {
    pub(super) id: String,
    /// Lower-case names without a dot at the end.
    pub(super) names: Vec<String>,
    pub(super) addresses: Vec<IpAddr>,
    pub(super) mac: MacAddress,
    /// Resolvers of its queries, in place of the host's.
    pub(super) dns: Vec<IpAddr>,
    /// Directories of its other networks.
    pub(super) siblings: Vec<PathBuf>,
}

/// All pods on a network.
#[derive(Debug)]
pub(super) struct Pods {
    /// What the network's name adds to a pod's, with a dot before it.
    suffix: String,
    pods: RefCell<BTreeMap<u64, Pod>>,
}

impl Pods {
    /// None, on the network of that name.
    pub(super) fn new(network: &str) -> Self {
        Self { suffix: format!(".{}", network.to_ascii_lowercase()), pods: RefCell::default() }
    }

    /// Adds one and answers its number; `number` is that which it has had.
    pub(super) fn add(&self, pod: Pod, number: Option<u64>) -> u64 {
        let mut pods = self.pods.borrow_mut();
        let number = number.unwrap_or_else(|| pods.keys().next_back().map_or(0, |last| last + 1));
        pods.insert(number, pod);
        number
    }

    /// Changes a pod; answers its number, or `None` where it is not here.
    pub(super) fn change(&self, id: &str, change: impl FnOnce(&mut Pod)) -> Option<u64> {
        let mut pods = self.pods.borrow_mut();
        let (number, pod) = pods.iter_mut().find(|(_, pod)| pod.id == id)?;
        change(pod);
        Some(*number)
    }

    /// Removes the one with that number.
    pub(super) fn remove(&self, number: u64) {
        self.pods.borrow_mut().remove(&number);
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.pods.borrow().len()
    }

    /// The one that has an address.
    pub(super) fn at(&self, address: IpAddr) -> Option<Pod> {
        self.pods.borrow().values().find(|pod| pod.addresses.contains(&address)).cloned()
    }

    /// Whether one has a MAC address.
    pub(super) fn has_mac(&self, mac: MacAddress) -> bool {
        self.pods.borrow().values().any(|pod| pod.mac == mac)
    }

    /// The addresses of all pods that have a name, with the network's name behind it or not; `None` where none has it.
    pub(super) fn addresses(&self, name: &str) -> Option<Vec<IpAddr>> {
        let name = name.to_ascii_lowercase();
        let short = name.strip_suffix(&self.suffix);
        let pods = self.pods.borrow();
        let named = |pod: &&Pod| {
            let is = |wanted: &str| pod.names.iter().any(|own| own == wanted);
            is(&name) || short.is_some_and(is)
        };
        let mut found = pods.values().filter(named).peekable();
        found.peek()?;
        Some(found.flat_map(|pod| pod.addresses.iter().copied()).collect())
    }

    /// The full names of the pod that has an address.
    pub(super) fn names(&self, address: IpAddr) -> Option<Vec<String>> {
        let pod = self.at(address)?;
        Some(pod.names.iter().map(|name| format!("{name}{}", self.suffix)).collect())
    }

    /// What a name or an address in text means here, as texts.
    pub(super) fn lookup(&self, wanted: &str) -> Option<Vec<String>> {
        match wanted.parse::<IpAddr>() {
            Ok(address) => self.names(address),
            Err(_) => Some(self.addresses(wanted)?.iter().map(ToString::to_string).collect()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(names: &[&str], address: &str) -> Pod {
        Pod {
            id: address.to_owned(),
            names: names.iter().map(ToString::to_string).collect(),
            addresses: vec![address.parse().unwrap()],
            mac: "02:42:ac:11:00:02".parse().unwrap(),
            dns: Vec::new(),
            siblings: Vec::new(),
        }
    }

    #[test]
    fn names_mean_all_that_have_them() {
        let pods = Pods::new("Shop");
        pods.add(pod(&["db", "one"], "10.0.0.2"), None);
        let second = pods.add(pod(&["db"], "10.0.0.3"), None);
        assert_eq!(pods.lookup("DB").unwrap(), ["10.0.0.2", "10.0.0.3"]);
        assert_eq!(pods.lookup("one.shop").unwrap(), ["10.0.0.2"]);
        assert_eq!(pods.lookup("one.shop.shop"), None);
        assert_eq!(pods.lookup("10.0.0.2").unwrap(), ["db.shop", "one.shop"]);
        let names = vec!["db".to_owned(), "first".to_owned()];
        assert_eq!(pods.change("10.0.0.2", |pod| pod.names = names), Some(0));
        assert_eq!(pods.change("x", |_| {}), None);
        assert_eq!((pods.lookup("one"), pods.lookup("first").unwrap().len()), (None, 1));
        pods.remove(second);
        assert_eq!(pods.lookup("db").unwrap(), ["10.0.0.2"]);
        assert_eq!((pods.lookup("10.0.0.3"), pods.count()), (None, 1));
    }
}
