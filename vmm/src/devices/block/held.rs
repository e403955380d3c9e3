//! Requests that a disk's limits hold back. Each waits behind those of its own direction; the queue goes on behind it.

use std::collections::VecDeque;
use std::time::Duration;

use super::request::Request;
use super::throttle::Lane;
use super::{DiskConfig, TURN};
use crate::memory::GuestMemory;
use crate::virtio::{Chain, Descriptors, DeviceError, KeptChain, Taken, Virtqueue};

/// How often the limits are looked at while requests wait: they may have been changed.
const LOOK: Duration = Duration::from_millis(100);
/// The shortest wait: what comes meanwhile is saved, so a high limit takes no more wakes than this.
const NAP: Duration = Duration::from_millis(1);

/// Those that wait, and what has come of the others.
#[derive(Default)]
pub(super) struct Held {
    /// By lane: the first descriptor of each chain, and the chain.
    lanes: [VecDeque<(u16, KeptChain)>; 2],
    wait: Option<Duration>,
}

impl Held {
    /// Does requests, at most a turn of them: first those that have waited, then what is new in the queue. Answers how
    /// long to wait where the disk's limits hold any back.
    pub(super) fn serve(
        &mut self,
        disk: &DiskConfig,
        memory: &GuestMemory,
        queue: &mut Virtqueue,
        write_through: bool,
    ) -> Result<Option<Duration>, DeviceError> {
        self.wait = None;
        let mut turn = TURN;
        for lane in Lane::ALL {
            while turn > 0
                && let Some((head, chain)) = self.lanes[lane as usize].pop_front()
            {
                let request = chain.chain(memory).ok().and_then(|chain| Request::parse(disk, chain));
                let written = match request {
                    // Guest memory may have changed: what it costs now is what counts.
                    Some(request) if !self.is_due(&request, disk) => {
                        self.lanes[lane as usize].push_front((head, chain));
                        break;
                    }
                    Some(request) => request.perform(disk, write_through),
                    None => 0,
                };
                queue.push_used(memory, head, written)?;
                queue.notify(memory)?;
                turn -= 1;
            }
        }
        let size = queue.size();
        queue.take_some(turn, memory, |chain| self.take(chain, size, disk, memory, write_through))?;
        Ok(self.wait)
    }

    /// Does a new request, or lets it wait.
    fn take<'m>(
        &mut self,
        descriptors: Descriptors<'m>,
        size: u16,
        disk: &DiskConfig,
        memory: &'m GuestMemory,
        write_through: bool,
    ) -> Taken {
        let head = descriptors.head_index();
        let request = match Chain::parse(memory, descriptors, size) {
            Ok(chain) => Request::parse(disk, chain),
            Err(error) => {
                log::debug!("block request refused: {error}");
                None
            }
        };
        let Some(request) = request else { return Taken::Done(0) };
        let lane = request.cost().map(|cost| &self.lanes[cost.lane as usize]);
        let waits = lane.is_some_and(|lane| !lane.is_empty()) || !self.is_due(&request, disk);
        let (true, Some(cost)) = (waits, request.cost()) else {
            return Taken::Done(request.perform(disk, write_through));
        };
        // A driver has no more in use than this; one that makes the same available again and again waits with it.
        if self.lanes.iter().map(VecDeque::len).sum::<usize>() >= usize::from(size) {
            return Taken::Back;
        }
        match KeptChain::new(descriptors, size) {
            Ok(kept) => {
                self.lanes[cost.lane as usize].push_back((head, kept));
                Taken::Kept
            }
            // It was changed in between.
            Err(_) => Taken::Done(0),
        }
    }

    /// Whether the limits let a request pass, which has paid for it then; otherwise notes how long they do not.
    fn is_due(&mut self, request: &Request<'_>, disk: &DiskConfig) -> bool {
        match request.cost().map_or(Ok(()), |cost| disk.throttle().take(cost)) {
            Ok(()) => true,
            Err(wait) => {
                let wait = wait.clamp(NAP, LOOK);
                self.wait = Some(self.wait.map_or(wait, |other| other.min(wait)));
                false
            }
        }
    }
}
