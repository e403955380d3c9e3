//! The other end of a network device: what it is connected to is put in here and pulled out again while the machine runs. The
//! device looks when it is told to ([`VirtioDevice::measure`]).
//!
//! [`VirtioDevice::measure`]: crate::virtio::VirtioDevice::measure

use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::NetConfig;

/// The cable of a network device; clones are the same one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cable(Arc<Mutex<Content>>);

#[derive(Debug, Default)]
struct Content {
    /// What the device has not seen yet.
    change: Option<Change>,
    /// A second descriptor of each queue of the tap, so that whoever pulls it out, or lets go of the machine, closes the
    /// last one.
    taps: Vec<OwnedFd>,
}

/// What happened to the device's connection.
#[derive(Debug)]
pub(super) enum Change {
    Plugged(NetConfig),
    Pulled,
}

impl Cable {
    /// Of a device that is connected.
    ///
    /// # Errors
    /// There are no descriptors left.
    pub(crate) fn of(config: &NetConfig) -> io::Result<Self> {
        Ok(Self(Arc::new(Mutex::new(Content { change: None, taps: clones(config)? }))))
    }

    /// Puts a tap in, for the device to see.
    ///
    /// # Errors
    /// `AddrInUse` where there is one already, and no descriptors left.
    pub(crate) fn plug(&self, config: NetConfig) -> io::Result<()> {
        let mut content = self.lock();
        if !content.taps.is_empty() {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        content.taps = clones(&config)?;
        content.change = Some(Change::Plugged(config));
        Ok(())
    }

    /// Pulls the tap out, for the device to see; answers its descriptors.
    pub(crate) fn pull(&self) -> Vec<OwnedFd> {
        let mut content = self.lock();
        content.change = Some(Change::Pulled);
        std::mem::take(&mut content.taps)
    }

    /// What the device has not seen yet.
    pub(super) fn change(&self) -> Option<Change> {
        self.lock().change.take()
    }

    fn lock(&self) -> MutexGuard<'_, Content> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn clones(config: &NetConfig) -> io::Result<Vec<OwnedFd>> {
    config.queues.iter().map(OwnedFd::try_clone).collect()
}
