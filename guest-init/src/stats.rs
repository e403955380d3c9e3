//! What a container uses: the files of its control group, and of the guest's own kernel.

use crate::container::cgroup::{Cgroup, keyed};
use std::time::SystemTime;
use vdocker::stats::{IoSample, Sample};

/// Nanoseconds of the unit in which /proc/stat counts (USER_HZ).
const TICK: u64 = 10_000_000;

/// A reading of a container's control group.
pub(crate) fn of(group: &Cgroup) -> Sample {
    let cpu = group.read("cpu.stat");
    let nanos = |key| keyed(&cpu, key).saturating_mul(1000);
    let memory_limit = number(&group.read("memory.max"));
    let pids = group.read("pids.current");
    Sample {
        cpu_total: nanos("usage_usec"),
        cpu_system: nanos("system_usec"),
        cpu_user: nanos("user_usec"),
        throttling: [keyed(&cpu, "nr_periods"), keyed(&cpu, "nr_throttled"), nanos("throttled_usec")],
        memory: number(&group.read("memory.current")).unwrap_or_default(),
        memory_limit: memory_limit.unwrap_or_else(guest_memory),
        memory_stat: rows(&group.read("memory.stat")),
        pids: number(&pids).unwrap_or_default(),
        pids_limit: number(&group.read("pids.max")),
        io: io_rows(&group.read("io.stat")),
        ..guest_times()
    }
}

/// A reading of the guest as a whole.
pub(crate) fn of_guest() -> Sample {
    let memory = read("/proc/meminfo");
    let total = guest_memory();
    let times = Times::parse(&read("/proc/stat"));
    Sample {
        cpu_total: times.user + times.system,
        cpu_system: times.system,
        cpu_user: times.user,
        memory: total.saturating_sub(meminfo(&memory, "MemAvailable")),
        memory_limit: total,
        pids: u64::from(rustix::system::sysinfo().procs),
        ..guest_times()
    }
}

/// What is the guest's in every reading.
fn guest_times() -> Sample {
    let times = Times::parse(&read("/proc/stat"));
    Sample {
        read: Some(SystemTime::now()),
        guest_cpu_total: times.user + times.system + times.idle,
        cpus: times.cpus,
        interfaces: interfaces(&read("/proc/net/dev")),
        ..Sample::default()
    }
}

/// CPU times of the guest since its boot, in nanoseconds.
#[derive(Debug, Default, PartialEq, Eq)]
struct Times {
    user: u64,
    system: u64,
    idle: u64,
    cpus: u32,
}

impl Times {
    fn parse(stat: &str) -> Self {
        let mut times = Self::default();
        for line in stat.lines() {
            let mut fields = line.split_whitespace();
            match fields.next() {
                Some("cpu") => {
                    let ticks: Vec<u64> =
                        fields.map(|field| field.parse::<u64>().unwrap_or_default() * TICK).collect();
                    let sum = |places: &[usize]| places.iter().filter_map(|place| ticks.get(*place)).sum();
                    // proc_stat(5): user nice system idle iowait irq softirq steal; guest times are in the first two.
                    times.user = sum(&[0, 1]);
                    times.system = sum(&[2, 5, 6, 7]);
                    times.idle = sum(&[3, 4]);
                }
                Some(name) if name.starts_with("cpu") => times.cpus += 1,
                _ => {}
            }
        }
        times
    }
}

/// Interfaces but loopback, of /proc/net/dev: received bytes, packets, errors, drops and four more, then the same sent.
fn interfaces(dev: &str) -> Vec<(String, [[u64; 4]; 2])> {
    let rows =
        dev.lines().filter_map(|line| line.split_once(':')).map(|(name, counts)| (name.trim(), counts));
    let counts = |counts: &str| {
        let mut sums = [[0; 4]; 2];
        for (place, count) in counts.split_whitespace().enumerate() {
            if let Some(sum) = sums.get_mut(place / 8).and_then(|side| side.get_mut(place % 8)) {
                *sum = count.parse().unwrap_or_default();
            }
        }
        sums
    };
    rows.filter(|(name, _)| *name != "lo").map(|(name, row)| (name.to_owned(), counts(row))).collect()
}

fn guest_memory() -> u64 {
    let info = rustix::system::sysinfo();
    info.totalram * u64::from(info.mem_unit)
}

/// A row of /proc/meminfo in bytes.
fn meminfo(text: &str, key: &str) -> u64 {
    let rows = text.lines().filter_map(|line| line.split_once(':'));
    let value = rows.filter(|(name, _)| *name == key).find_map(|(_, value)| value.split_whitespace().next());
    value.and_then(|kib| kib.parse::<u64>().ok()).unwrap_or_default() * 1024
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// The number of a file that holds one; `None` for `max`.
fn number(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

fn rows(text: &str) -> Vec<(String, u64)> {
    let rows = text.lines().filter_map(|line| line.split_once(' '));
    rows.filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?))).collect()
}

/// `io.stat`: `MAJOR:MINOR key=value…`.
fn io_rows(text: &str) -> Vec<IoSample> {
    text.lines().filter_map(io_row).collect()
}

fn io_row(line: &str) -> Option<IoSample> {
    let mut fields = line.split_whitespace();
    let (major, minor) = fields.next()?.split_once(':')?;
    let mut row = IoSample { device: (major.parse().ok()?, minor.parse().ok()?), ..IoSample::default() };
    for (key, value) in fields.filter_map(|field| field.split_once('=')) {
        let value = value.parse().unwrap_or_default();
        match key {
            "rbytes" => row.read_bytes = value,
            "wbytes" => row.write_bytes = value,
            "rios" => row.reads = value,
            "wios" => row.writes = value,
            _ => {}
        }
    }
    Some(row)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guests_times_add_up() {
        let text = "cpu  10 1 20 300 4 5 6 7 8 9\ncpu0 5 0 10 150 2 0 0 0 0 0\ncpu1 5 1 10 150 2 5 6 7 8 9\nintr 5\n";
        let times = Times::parse(text);
        assert_eq!(times, Times { user: 11 * TICK, system: 38 * TICK, idle: 304 * TICK, cpus: 2 });
        assert_eq!(Times::parse(""), Times::default());
    }

    #[test]
    fn interfaces_are_read_as_the_kernel_writes_them() {
        let dev = "Inter-|   Receive |  Transmit\n face |bytes packets errs drop\n    \
                   lo: 9 9 9 9 0 0 0 0 9 9 9 9 0 0 0 0\n  \
                   eth0:  1000  10 1 2 0 0 0 0 2000 20 3 4 0 0 0 0\nbroken: x\n";
        let expected =
            [("eth0".to_owned(), [[1000, 10, 1, 2], [2000, 20, 3, 4]]), ("broken".to_owned(), [[0; 4]; 2])];
        assert_eq!(interfaces(dev), expected);
    }

    #[test]
    fn files_of_groups_are_read_as_the_kernel_writes_them() {
        let io = "253:0 rbytes=4096 wbytes=8192 rios=1 wios=2 dbytes=0 dios=0\n7:0\nbroken\n";
        let first = IoSample { device: (253, 0), read_bytes: 4096, write_bytes: 8192, reads: 1, writes: 2 };
        assert_eq!(io_rows(io), [first, IoSample { device: (7, 0), ..IoSample::default() }]);
        assert_eq!(number("max\n"), None);
        assert_eq!(number("4096\n"), Some(4096));
        assert_eq!(rows("anon 5\nfile x\nslab 7\n"), [("anon".to_owned(), 5), ("slab".to_owned(), 7)]);
        assert_eq!(meminfo("MemTotal:  100 kB\nMemAvailable:    7 kB\n", "MemAvailable"), 7 * 1024);
    }
}
