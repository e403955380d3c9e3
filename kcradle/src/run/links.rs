//! The interfaces of a pod while it runs: those it began with, and those that come and go. A network device of the machine is
//! connected or let go of, the guest's init is told by a frame, and whoever asked hears how it went when they ask again.

use std::io;
use std::os::fd::OwnedFd;

use spec::control::Reply;
use spec::launch::{InterfaceSpec, LinkChange, MAX_INTERFACES, NetworkSpec};
use vmm::devices::net::NetConfig;

use super::frames::Frame;

/// What connects network devices of the machine, by their index.
pub(crate) trait Sockets {
    /// Connects one to a tap.
    fn plug(&self, index: usize, config: NetConfig) -> io::Result<()>;
    /// Takes its tap away.
    fn unplug(&self, index: usize) -> io::Result<()>;
}

/// The interfaces of a pod.
#[derive(Default)]
pub(crate) struct Links {
    /// What the guest is told beside interfaces and their resolvers.
    network: NetworkSpec,
    /// One a network device, in their order.
    devices: Vec<Device>,
    /// The devices' interfaces in the order in which they came.
    order: Vec<usize>,
}

/// A network device.
#[derive(Default)]
struct Device {
    slot: u32,
    link: Option<Link>,
    asked: Option<Asked>,
}

/// What a device is connected to.
pub(super) struct Link {
    pub(super) interface: InterfaceSpec,
    pub(super) nameservers: Vec<String>,
    /// The place on the network is the pod's while this is open.
    #[expect(dead_code, reason = "its end frees the place")]
    pub(super) lease: OwnedFd,
}

/// What the guest was asked last, and has perhaps answered.
struct Asked {
    interface: String,
    comes: bool,
    /// How it went: empty, or why not.
    done: Option<String>,
}

impl Links {
    /// Those that a pod begins with; `network` without interfaces and their resolvers.
    pub(super) fn new(network: NetworkSpec, links: Vec<Link>, slots: Vec<u32>) -> Self {
        let order = (0..links.len()).collect();
        let links = links.into_iter().map(Some).chain(std::iter::repeat_with(|| None));
        let devices = slots.into_iter().zip(links).map(|(slot, link)| Device { slot, link, asked: None });
        Self { network, devices: devices.collect(), order }
    }

    /// Connects a device to a tap; `descriptors` are its queues and the connection that the place lasts as long as.
    pub(crate) fn connect(
        &mut self,
        interface: InterfaceSpec,
        nameservers: Vec<String>,
        mut descriptors: Vec<OwnedFd>,
        machine: &impl Sockets,
    ) -> (Reply, Option<Frame>) {
        if self.order.len() >= MAX_INTERFACES || self.find(&interface.name).is_some() {
            return (Reply::Error(format!("interface {} is there already", interface.name)), None);
        }
        let Some(lease) = descriptors.pop() else {
            return (Reply::Error("an interface without a tap".to_owned()), None);
        };
        let free = |device: &Device| device.link.is_none() && device.asked.is_none();
        let Some(index) = self.devices.iter().position(free) else {
            return (Reply::Error("no network device of the virtual machine is free".to_owned()), None);
        };
        let config = NetConfig {
            queues: descriptors,
            mac: interface.mac,
            mtu: interface.mtu,
            addresses: interface.addresses.iter().map(|own| own.address).collect(),
        };
        if let Err(error) = machine.plug(index, config) {
            return (Reply::Error(format!("cannot connect a network device: {error}")), None);
        }
        self.devices[index].link = Some(Link { interface: interface.clone(), nameservers, lease });
        self.order.push(index);
        self.ask(index, interface, true)
    }

    /// Has the guest let go of an interface.
    pub(crate) fn disconnect(&mut self, interface: &str) -> (Reply, Option<Frame>) {
        let Some(index) = self.find(interface) else {
            return (Reply::Error(format!("there is no interface {interface}")), None);
        };
        if self.devices[index].asked.as_ref().is_some_and(|asked| asked.done.is_none()) {
            return (Reply::Error(format!("interface {interface} has not come yet")), None);
        }
        let Some(link) = &self.devices[index].link else { return (Reply::Ok, None) };
        let spec = link.interface.clone();
        self.order.retain(|other| *other != index);
        self.ask(index, spec, false)
    }

    fn ask(&mut self, index: usize, interface: InterfaceSpec, comes: bool) -> (Reply, Option<Frame>) {
        let device = &mut self.devices[index];
        device.asked = Some(Asked { interface: interface.name.clone(), comes, done: None });
        let change = LinkChange { slot: device.slot, interface, network: self.network() };
        match Frame::link(&change) {
            Ok(frame) => (Reply::Pending, Some(frame)),
            Err(error) => (Reply::Error(error.to_string()), None),
        }
    }

    /// The guest has told how it went. What it was not asked for is passed over.
    pub(crate) fn done(&mut self, slot: u32, why: String, machine: &impl Sockets) {
        let asked = |device: &Device| device.asked.as_ref().is_some_and(|asked| asked.done.is_none());
        let found = self.devices.iter().position(|device| device.slot == slot && asked(device));
        if let Some(index) = found {
            self.finish(index, why, machine);
        }
    }

    /// Whether the last change of an interface is done.
    pub(crate) fn settle(&mut self, interface: &str, give_up: bool, machine: &impl Sockets) -> Reply {
        let is_it = |device: &Device| device.asked.as_ref().is_some_and(|asked| asked.interface == interface);
        let Some(index) = self.devices.iter().position(is_it) else {
            return Reply::Error(format!("nothing was asked of interface {interface}"));
        };
        let is_open = |device: &Device| device.asked.as_ref().is_some_and(|asked| asked.done.is_none());
        if is_open(&self.devices[index]) {
            if !give_up {
                return Reply::Pending;
            }
            self.finish(index, "its guest does not answer".to_owned(), machine);
        }
        match self.devices[index].asked.take() {
            Some(Asked { comes: true, done: Some(why), .. }) if !why.is_empty() => Reply::Error(why),
            // What had to go has gone, whatever the guest thinks of it.
            _ => Reply::Ok,
        }
    }

    /// Notes how a change went. A device whose interface has not come, or has gone, loses its tap and its place.
    fn finish(&mut self, index: usize, why: String, machine: &impl Sockets) {
        let device = &mut self.devices[index];
        let Some(asked) = &mut device.asked else { return };
        let stays = asked.comes && why.is_empty();
        asked.done = Some(why);
        if !stays {
            self.order.retain(|other| *other != index);
            // In this order: whoever gets the addresses next is not disturbed.
            let unplugged = machine.unplug(index);
            device.link = None;
            if let Err(error) = unplugged {
                eprintln!("kcradle: cannot let go of a network device at once: {error}");
            }
        }
    }

    fn find(&self, interface: &str) -> Option<usize> {
        let is_it =
            |device: &Device| device.link.as_ref().is_some_and(|link| link.interface.name == interface);
        self.devices.iter().position(is_it)
    }

    /// The pod's network as it is now.
    fn network(&self) -> NetworkSpec {
        let links = self.order.iter().filter_map(|index| self.devices[*index].link.as_ref());
        let mut network = self.network.clone();
        for link in links {
            network.interfaces.push(link.interface.clone());
            network.nameservers.extend(link.nameservers.iter().cloned());
        }
        network
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    /// Notes what happens to the devices.
    #[derive(Default)]
    struct Machine(RefCell<Vec<(usize, usize)>>);

    impl Sockets for Machine {
        fn plug(&self, index: usize, config: NetConfig) -> io::Result<()> {
            self.0.borrow_mut().push((index, config.queues.len()));
            Ok(())
        }
        fn unplug(&self, index: usize) -> io::Result<()> {
            self.0.borrow_mut().push((index, 0));
            Ok(())
        }
    }

    fn interface(name: &str) -> InterfaceSpec {
        let json = format!(r#"{{"name":"{name}","mac":"02:42:0a:00:00:02","mtu":1500}}"#);
        serde_json::from_str(&json).unwrap()
    }

    fn null() -> OwnedFd {
        std::fs::File::open("/dev/null").unwrap().into()
    }

    fn links() -> Links {
        let first =
            Link { interface: interface("eth0"), nameservers: vec!["10.0.0.1".into()], lease: null() };
        Links::new(NetworkSpec::default(), vec![first], vec![3, 7])
    }

    #[test]
    fn an_interface_comes_and_goes() {
        let (mut links, machine) = (links(), Machine::default());
        let descriptors = vec![null(), null()];
        let (reply, frame) = links.connect(interface("eth1"), vec!["10.1.0.1".into()], descriptors, &machine);
        assert!(reply == Reply::Pending && frame.is_some());
        assert_eq!(links.settle("eth1", false, &machine), Reply::Pending);
        links.done(3, "nobody asked".into(), &machine);
        assert_eq!(links.settle("eth1", false, &machine), Reply::Pending);
        links.done(7, String::new(), &machine);
        assert_eq!(links.settle("eth1", false, &machine), Reply::Ok);
        assert_eq!(links.network().nameservers, ["10.0.0.1", "10.1.0.1"]);
        // There is no third device.
        let (reply, _) = links.connect(interface("eth2"), Vec::new(), vec![null(), null()], &machine);
        assert!(matches!(reply, Reply::Error(why) if why.contains("is free")));
        let (reply, frame) = links.disconnect("eth0");
        assert!(reply == Reply::Pending && frame.is_some());
        links.done(3, "stuck".into(), &machine);
        assert_eq!(links.settle("eth0", false, &machine), Reply::Ok);
        assert_eq!(links.network().nameservers, ["10.1.0.1"]);
        assert_eq!(*machine.0.borrow(), [(1, 1), (0, 0)]);
        assert!(matches!(links.settle("eth0", false, &machine), Reply::Error(_)));
    }

    #[test]
    fn a_guest_that_refuses_or_is_silent_gets_nothing_and_keeps_nothing() {
        let (mut links, machine) = (links(), Machine::default());
        for (answer, words) in [(Some("no driver"), "no driver"), (None, "does not answer")] {
            links.connect(interface("eth1"), Vec::new(), vec![null(), null()], &machine);
            assert!(matches!(links.disconnect("eth1").0, Reply::Error(_)));
            if let Some(answer) = answer {
                links.done(7, answer.into(), &machine);
            }
            let settled = links.settle("eth1", true, &machine);
            assert!(matches!(settled, Reply::Error(why) if why.contains(words)));
        }
        links.disconnect("eth0");
        assert_eq!(links.settle("eth0", true, &machine), Reply::Ok);
        assert!(links.network().interfaces.is_empty());
        assert_eq!(*machine.0.borrow(), [(1, 1), (1, 0), (1, 1), (1, 0), (0, 0)]);
        let (reply, _) = links.connect(interface("eth1"), Vec::new(), Vec::new(), &machine);
        assert!(matches!(reply, Reply::Error(why) if why.contains("without a tap")));
    }
}
