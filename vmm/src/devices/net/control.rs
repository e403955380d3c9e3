//! The control queue (virtio 1.3, section 5.1.6.5): the driver says how many pairs of queues it uses.

use crate::memory::GuestMemory;
use crate::virtio::{Chain, DeviceError, Virtqueue};

/// The class and command `VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET`, the only one of the features offered.
const SET_PAIRS: [u8; 2] = [4, 0];

/// Answers.
const OK: u8 = 0;
const ERROR: u8 = 1;

/// Obeys the commands that wait; `pairs`, from 1 to `most`, is set as the driver wishes.
///
/// # Errors
/// The driver broke the ring.
pub(super) fn obey(
    queue: &mut Virtqueue,
    memory: &GuestMemory,
    pairs: &mut usize,
    most: usize,
) -> Result<(), DeviceError> {
    let max_len = queue.size();
    queue.drain(memory, |descriptors| {
        let Ok(mut chain) = Chain::parse(memory, descriptors, max_len) else { return Some(0) };
        let wish = match chain.readable.read_array::<4>() {
            Some([class, command, low, high]) if [class, command] == SET_PAIRS => {
                Some(usize::from(u16::from_le_bytes([low, high])))
            }
            _ => None,
        };
        let answer = match wish.filter(|wish| (1..=most).contains(wish)) {
            Some(wish) => {
                *pairs = wish;
                OK
            }
            None => ERROR,
        };
        u32::try_from(chain.writable.write(&[answer])).ok()
    })
}
