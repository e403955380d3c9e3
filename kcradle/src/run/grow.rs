//! Volumes whose disks become larger while the pod has them: the driver is told by the device, the guest's init by a frame, and
//! whoever asked hears how it went when they ask again.

use std::collections::BTreeMap;
use std::io;

use spec::LaunchSpec;
use spec::control::Reply;
use spec::launch::DiskSpec;

use super::frames::Frame;

/// The disks of a pod's volumes that somebody in it may write to.
pub(crate) struct Growth {
    disks: BTreeMap<String, u32>,
    /// By the disk's number.
    asked: BTreeMap<u32, Asked>,
}

/// What the guest was last told of a disk.
struct Asked {
    bytes: u64,
    /// Its answer: empty, or why not.
    done: Option<String>,
}

impl Growth {
    /// Those of a pod.
    pub(crate) fn of(launch: &LaunchSpec) -> Self {
        let disk = |(index, disk): (u32, &DiskSpec)| match disk {
            DiskSpec::Volume { name, read_only: false, .. } => Some((name.clone(), index)),
            _ => None,
        };
        Self { disks: (0..).zip(&launch.disks).filter_map(disk).collect(), asked: BTreeMap::new() }
    }

    /// Answers a request; `measure` tells the bytes of the disk with that index, and the driver where they have changed.
    /// With an answer that says nothing yet there may be a frame for the guest.
    pub(crate) fn answer(
        &mut self,
        volume: &str,
        measure: impl FnOnce(usize) -> io::Result<u64>,
    ) -> (Reply, Option<Frame>) {
        let Some(&disk) = self.disks.get(volume) else {
            return (Reply::Error(format!("the pod does not write to a disk of volume {volume}")), None);
        };
        let bytes = match measure(disk as usize) {
            Ok(bytes) => bytes,
            // The device is at work, and does it afterwards.
            Err(error) if error.kind() == io::ErrorKind::TimedOut => return (Reply::Pending, None),
            Err(error) => return (Reply::Error(format!("cannot measure the disk: {error}")), None),
        };
        match self.asked.get(&disk) {
            // One after the other: its answer does not say which it is for.
            Some(Asked { done: None, .. }) => (Reply::Pending, None),
            Some(Asked { bytes: known, done: Some(why) }) if *known == bytes => {
                let reply = if why.is_empty() { Reply::Ok } else { Reply::Error(why.clone()) };
                // Who asks after this wants it done again.
                self.asked.remove(&disk);
                (reply, None)
            }
            _ => {
                self.asked.insert(disk, Asked { bytes, done: None });
                (Reply::Pending, Some(Frame::grow(disk, bytes)))
            }
        }
    }

    /// The guest has told how it went. What it was not asked for is passed over.
    pub(crate) fn done(&mut self, disk: u32, why: String) {
        if let Some(asked) = self.asked.get_mut(&disk) {
            asked.done = Some(why);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guest_is_told_once_and_its_answer_given_once() {
        let volume = |name: &str, read_only| DiskSpec::Volume { name: name.into(), whole: false, read_only };
        let launch = LaunchSpec {
            version: 1,
            id: String::new(),
            resources: spec::launch::Resources { cpu: 1, mem: 64 },
            disks: vec![DiskSpec::Image { verity: None }, volume("read", true), volume("data", false)],
            shares: Vec::new(),
            containers: Vec::new(),
            network: spec::launch::NetworkSpec::default(),
            hold: false,
            quiet: false,
        };
        let mut growth = Growth::of(&launch);
        let ask = |growth: &mut Growth, bytes| {
            growth.answer("data", |disk| {
                assert_eq!(disk, 2);
                Ok(bytes)
            })
        };
        for name in ["read", "other"] {
            assert!(matches!(growth.answer(name, |_| Ok(1)), (Reply::Error(_), None)));
        }
        growth.done(2, "nobody asked".into());
        assert_eq!(ask(&mut growth, 10), (Reply::Pending, Some(Frame::grow(2, 10))));
        assert_eq!(ask(&mut growth, 10), (Reply::Pending, None));
        // Larger again before the answer.
        assert_eq!(ask(&mut growth, 20), (Reply::Pending, None));
        growth.done(2, String::new());
        assert_eq!(ask(&mut growth, 20), (Reply::Pending, Some(Frame::grow(2, 20))));
        growth.done(2, String::new());
        assert_eq!(ask(&mut growth, 20), (Reply::Ok, None));
        assert_eq!(ask(&mut growth, 20), (Reply::Pending, Some(Frame::grow(2, 20))));
        growth.done(2, "no space".into());
        assert_eq!(ask(&mut growth, 20), (Reply::Error("no space".into()), None));
        let busy = growth.answer("data", |_| Err(io::ErrorKind::TimedOut.into()));
        assert_eq!(busy, (Reply::Pending, None));
    }
}
