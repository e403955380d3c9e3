//! The network device (virtio 1.3, section 5.1) between the guest and the queues of a tap.
//!
//! Frames are read and written straight from and to the guest's memory, but for the first bytes of what the guest
//! sends: these are copied, checked, and sent as they were checked. All queues are served by the one thread of the
//! device's event loop, some frames of each by turns.

mod cable;
mod control;
mod drops;
mod feature;
mod filter;
mod header;
mod layout;
mod link;
mod receiver;
mod tap;
mod transmit;
mod window;

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use spec::MacAddress;
use vmm_sys_util::epoll::EventSet;

pub(crate) use cable::Cable;
pub use tap::TapError;

use crate::event_loop::Sources;
use crate::memory::GuestMemory;
use crate::virtio::{ActivationContext, DeviceError, VirtioDevice, Virtqueue};
use cable::Change;
use drops::Drops;
use filter::Identity;
use link::Link;
use receiver::Receiver;
use transmit::Rules;
use window::Window;

/// The most queues of a tap that a device serves; one for each vCPU up to these is best.
pub const MAX_QUEUES: usize = spec::launch::MAX_QUEUES as usize;

/// The sizes of all queues of the device with the most.
const QUEUE_SIZES: [u16; 2 * MAX_QUEUES + 1] = [256; 2 * MAX_QUEUES + 1];

/// What a network device is connected to.
#[derive(Debug)]
pub struct NetConfig {
    /// The queues of a tap, 1 to [`MAX_QUEUES`], each opened with `IFF_TAP`, `IFF_NO_PI`, `IFF_VNET_HDR` and in
    /// non-blocking mode, with `IFF_MULTI_QUEUE` where they are more than one.
    pub queues: Vec<OwnedFd>,
    /// The guest's address on the link: it sends from no other.
    pub mac: MacAddress,
    /// Bytes of the longest packet.
    pub mtu: u16,
    /// The guest's addresses: it sends from no others, but for the link-local one of the MAC address where one of
    /// these is of IPv6.
    pub addresses: Vec<IpAddr>,
}

/// A network device.
pub struct Net {
    /// Pairs of queues, as many as a tap has that is connected to it.
    most: usize,
    port: Option<Port>,
    cable: Cable,
    connect: fn(NetConfig) -> Result<Port, TapError>,
    drops: Drops,
    active: Option<Active>,
}

/// What a device is connected to.
struct Port {
    links: Vec<Link>,
    mac: MacAddress,
    mtu: u16,
    identity: Identity,
    features: u64,
    set_offloads: fn(BorrowedFd<'_>, libc::c_uint) -> io::Result<()>,
}

struct Active {
    memory: GuestMemory,
    sources: Sources,
    features: u64,
    receivers: Vec<Receiver>,
    transmitters: Vec<Virtqueue>,
    control: Option<Virtqueue>,
    /// Pairs of queues that the driver uses.
    pairs: usize,
}

impl Port {
    /// Checks the queues of a tap and sets them up.
    fn new(config: NetConfig) -> Result<Self, TapError> {
        if !(1..=MAX_QUEUES).contains(&config.queues.len()) {
            return Err(TapError::Queues(config.queues.len()));
        }
        let mut udp = true;
        for queue in &config.queues {
            udp &= tap::prepare(queue.as_fd())?;
        }
        Ok(Self::on(config, if udp { feature::HOST_USO } else { 0 }, tap::set_offloads))
    }

    fn on(
        config: NetConfig,
        features: u64,
        set_offloads: fn(BorrowedFd<'_>, libc::c_uint) -> io::Result<()>,
    ) -> Self {
        let identity = Identity::of(&config);
        let multiple = if config.queues.len() > 1 { feature::CTRL_VQ | feature::MQ } else { 0 };
        Self {
            links: config.queues.into_iter().map(Link::new).collect(),
            mac: config.mac,
            mtu: config.mtu,
            identity,
            features: feature::ALWAYS | multiple | features,
            set_offloads,
        }
    }
}

impl Net {
    /// A device on a tap, whose queues are checked and set up.
    ///
    /// # Errors
    /// [`TapError`].
    pub(crate) fn new(config: NetConfig, cable: Cable) -> Result<Self, TapError> {
        let mut net = Self::unplugged(config.queues.len(), cable);
        net.port = Some(Port::new(config)?);
        Ok(net)
    }

    /// A device that is connected to nothing yet: to its driver it is none. What is connected to it has so many queues.
    pub(crate) fn unplugged(queues: usize, cable: Cable) -> Self {
        let most = queues.clamp(1, MAX_QUEUES);
        Self { most, port: None, cable, connect: Port::new, drops: Drops::default(), active: None }
    }

    fn plug(&mut self, config: NetConfig) -> Result<(), TapError> {
        if config.queues.len() != self.most {
            return Err(TapError::Queues(config.queues.len()));
        }
        self.port = Some((self.connect)(config)?);
        Ok(())
    }

    /// Reads frames for a receive queue: from all queues of the tap whose frames go there.
    fn receive(&mut self, pair: usize) -> Result<(), DeviceError> {
        let Some(Active { memory, receivers, pairs, .. }) = &mut self.active else { return Ok(()) };
        let Some(receiver) = receivers.get_mut(pair).filter(|_| pair < *pairs) else { return Ok(()) };
        for link in self.port.iter_mut().flat_map(|port| &mut port.links).skip(pair).step_by(*pairs) {
            receiver.receive(memory, link, &mut self.drops)?;
        }
        Ok(())
    }

    fn transmit(&mut self, pair: usize) -> Result<(), DeviceError> {
        let Some(Active { memory, transmitters, features, .. }) = &mut self.active else { return Ok(()) };
        let Some(port) = &mut self.port else { return Ok(()) };
        let (Some(queue), Some(link)) = (transmitters.get_mut(pair), port.links.get_mut(pair)) else {
            return Ok(());
        };
        let rules = Rules { identity: &port.identity, features: *features, mtu: port.mtu };
        rules.transmit(queue, memory, link, &mut self.drops)
    }

    fn obey(&mut self) -> Result<(), DeviceError> {
        let most = self.most;
        let Some(Active { memory, control: Some(control), pairs, .. }) = &mut self.active else {
            return Ok(());
        };
        let before = *pairs;
        control::obey(control, memory, pairs, most)?;
        // Frames may wait that go to another queue now.
        let now = *pairs;
        if now == before { Ok(()) } else { (0..now).try_for_each(|pair| self.receive(pair)) }
    }
}

impl VirtioDevice for Net {
    fn device_type(&self) -> u32 {
        u32::from(self.port.is_some())
    }

    fn features(&self) -> u64 {
        self.port.as_ref().map_or(0, |port| port.features)
    }

    /// `struct virtio_net_config` (virtio 1.3, section 5.1.4) up to the MTU.
    fn config(&self) -> Vec<u8> {
        let Some(port) = &self.port else { return Vec::new() };
        let pairs = u16::try_from(self.most).unwrap_or(1);
        let mut config = port.mac.octets().to_vec();
        config.extend([0, 0]);
        config.extend(pairs.to_le_bytes());
        config.extend(port.mtu.to_le_bytes());
        config
    }

    fn queue_sizes(&self) -> &'static [u16] {
        &QUEUE_SIZES[..2 * self.most + usize::from(self.most > 1)]
    }

    /// Sees what has happened to the cable.
    fn measure(&mut self) -> io::Result<u64> {
        let Some(change) = self.cable.change() else { return Ok(0) };
        self.reset();
        self.port = None;
        match change {
            Change::Plugged(config) => self.plug(config).map_err(io::Error::other)?,
            Change::Pulled => {}
        }
        Ok(0)
    }

    fn activate(&mut self, context: ActivationContext) -> Result<(), DeviceError> {
        let ActivationContext { memory, queues, sources, features, .. } = context;
        // Without the feature there is one pair, and the control queue comes after it (section 5.1.2).
        let Some(port) = &mut self.port else { return Err(DeviceError::Absent) };
        // What was offered may have been another tap's.
        let features = features & port.features;
        let most = if features & feature::MQ != 0 { self.most } else { 1 };
        let count = queues.len();
        let mut queues = queues.into_iter();
        let (mut receivers, mut transmitters) = (Vec::new(), Vec::new());
        for _ in 0..most {
            let (Some(receive), Some(transmit)) = (queues.next(), queues.next()) else {
                return Err(DeviceError::QueueMissing(count));
            };
            receivers.push(Receiver::new(receive, features, port.mtu));
            transmitters.push(transmit);
        }
        let control = if features & feature::CTRL_VQ != 0 { queues.next() } else { None };
        if features & feature::CTRL_VQ != 0 && control.is_none() {
            return Err(DeviceError::QueueMissing(count));
        }
        let what = "the tap";
        for (token, link) in (0..).zip(&mut port.links) {
            (link.readable, link.blocked) = (true, false);
            (port.set_offloads)(link.fd.as_fd(), feature::offloads(features))
                .map_err(|source| DeviceError::Wait { what, source })?;
            sources
                .add(link, EventSet::IN | EventSet::OUT | EventSet::EDGE_TRIGGERED, token)
                .map_err(|source| DeviceError::Wait { what, source })?;
        }
        self.active = Some(Active { memory, sources, features, receivers, transmitters, control, pairs: 1 });
        Ok(())
    }

    fn kicked(&mut self, queue: usize) -> Result<(), DeviceError> {
        let transmitters = self.active.as_ref().map_or(0, |active| active.transmitters.len());
        match queue {
            queue if queue == 2 * transmitters => self.obey(),
            queue if queue % 2 == 0 => self.receive(queue / 2),
            queue => self.transmit(queue / 2),
        }
    }

    fn ready(&mut self, token: u32, events: EventSet) -> Result<(), DeviceError> {
        let index = token as usize;
        let pairs = self.active.as_ref().map_or(1, |active| active.pairs);
        let Some(link) = self.port.as_mut().and_then(|port| port.links.get_mut(index)) else { return Ok(()) };
        let blocked = link.blocked;
        if events.contains(EventSet::IN) {
            link.readable = true;
            self.receive(index % pairs)?;
        }
        if blocked && events.contains(EventSet::OUT) { self.transmit(index) } else { Ok(()) }
    }

    fn reset(&mut self) {
        self.drops.tell();
        self.drops = Drops::default();
        if let Some(active) = self.active.take() {
            for link in self.port.iter().flat_map(|port| &port.links) {
                active.sources.remove(link);
            }
        }
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        self.drops.tell();
    }
}

#[cfg(test)]
mod tests;
