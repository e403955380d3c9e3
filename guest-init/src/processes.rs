//! Processes as ps(1) describes them, read from /proc.

use crate::kmsg;
use crate::runtime::now;
use std::io::{self, Read as _};
use std::time::Duration;
use vdocker::stats::{ProcessRow, ProcessTable};

/// Units of /proc's times in a second (USER_HZ).
const TICKS: u64 = 100;

/// Bytes of a page.
const PAGE: u64 = 4096;

/// Bytes of a process's files `stat` and `status`; they are far shorter, but for a list of groups.
const MAX_FILE: usize = 64 << 10;

/// The longest command line that is shown, in bytes.
const MAX_COMMAND: usize = 4096;

/// Bytes of all command lines together; processes beyond that are shown by their names.
const MAX_COMMANDS: usize = 2 << 20;

/// All processes of the guest.
pub(crate) fn all() -> ProcessTable {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    of_pids(entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect())
}

/// The processes with those pids. Those that have ended meanwhile are left out.
pub(crate) fn of_pids(mut pids: Vec<u32>) -> ProcessTable {
    pids.sort_unstable();
    // One that moves from group to group meanwhile may be seen in both.
    pids.dedup();
    let mut room = MAX_COMMANDS;
    ProcessTable { rows: pids.into_iter().filter_map(|pid| row(pid, &mut room)).collect() }
}

/// A process, whose command line takes of the room that is left for such.
fn row(pid: u32, room: &mut usize) -> Option<ProcessRow> {
    let read = |name: &str, most: usize| {
        let mut bytes = Vec::new();
        std::fs::File::open(format!("/proc/{pid}/{name}"))?.take(most as u64).read_to_end(&mut bytes)?;
        Ok::<_, io::Error>(bytes)
    };
    let file = |name| read(name, MAX_FILE).ok();
    let mut row = parse_stat(&String::from_utf8_lossy(&file("stat")?), now())?;
    let status = file("status")?;
    row.uid = effective_uid(&String::from_utf8_lossy(&status)).unwrap_or_default();
    let command = read("cmdline", MAX_COMMAND.min(*room)).unwrap_or_default();
    row.command = command_line(&command).unwrap_or_else(|| format!("[{}]", row.name));
    *room = room.saturating_sub(command.len());
    Some(row)
}

/// A line of /proc/PID/stat (proc_pid_stat(5)), read when the guest had run for so long.
fn parse_stat(line: &str, uptime: Duration) -> Option<ProcessRow> {
    // The name may hold spaces and brackets: it ends with the last one.
    let (pid, rest) = line.split_once(" (")?;
    let (name, rest) = rest.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    // `rest` begins with the third field.
    let field = |number: usize| fields.get(number - 3).copied();
    let number = |place: usize| field(place).and_then(|text| text.parse::<u64>().ok());
    let used = number(14)?.saturating_add(number(15)?);
    let started = Duration::from_millis(number(22)?.saturating_mul(1000 / TICKS));
    let lived = uptime.saturating_sub(started).as_millis().max(1);
    let percent = u128::from(used) * u128::from(1000 / TICKS) * 100 / lived;
    Some(ProcessRow {
        uid: 0,
        pid: pid.trim().parse().ok()?,
        ppid: u32::try_from(number(4)?).ok()?,
        cpu_percent: u32::try_from(percent).unwrap_or(u32::MAX),
        started: Some(kmsg::booted() + started),
        tty: terminal(field(7)?.parse().ok()?),
        cpu_seconds: used / TICKS,
        state: field(3)?.chars().next()?,
        rss_kib: number(24)?.saturating_mul(PAGE / 1024),
        vsz_kib: number(23)? / 1024,
        name: name.to_owned(),
        command: String::new(),
    })
}

/// The name of the terminal with that device number, as the kernel packs it.
fn terminal(number: i32) -> String {
    let number = number.cast_unsigned();
    let (major, minor) = ((number >> 8) & 0xfff, (number & 0xff) | ((number >> 12) & 0xfff00));
    match major {
        0 => "?".to_owned(),
        136..=143 => format!("pts/{}", (major - 136) * 256 + minor),
        4 => format!("tty{minor}"),
        _ => format!("{major}:{minor}"),
    }
}

fn effective_uid(status: &str) -> Option<u32> {
    status.lines().find_map(|line| line.strip_prefix("Uid:"))?.split_whitespace().nth(1)?.parse().ok()
}

/// The arguments in one line; `None` where a process has none, as those of the kernel.
fn command_line(bytes: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim_end_matches('\0').replace(|c: char| c.is_control(), " ");
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_stat_are_read_whatever_the_name() {
        let line = "42 (a) R (b) S 1 42 42 34816 42 4194560 100 0 0 0 150 50 0 0 20 0 1 0 500 4096000 250 18446744073709551615";
        let row = parse_stat(line, Duration::from_secs(15)).unwrap();
        assert_eq!((row.pid, row.ppid, row.name.as_str(), row.state), (42, 1, "a) R (b", 'S'));
        assert_eq!((row.cpu_seconds, row.cpu_percent), (2, 20));
        assert_eq!((row.vsz_kib, row.rss_kib, row.tty.as_str()), (4000, 1000, "pts/0"));
        for cut in 0..line.len() {
            let _no_panic = parse_stat(&line[..cut], Duration::ZERO);
        }
    }

    #[test]
    fn own_processes_are_found() {
        let table = of_pids(vec![4_194_305, std::process::id()]);
        let [row] = table.rows.as_slice() else { panic!("one process: {table:?}") };
        assert_eq!((row.pid, row.uid), (std::process::id(), rustix::process::geteuid().as_raw()));
        assert!(row.command.contains("guest"), "{row:?}");
        assert!(all().rows.len() > 1);
    }

    #[test]
    fn command_lines_take_what_room_there_is() {
        let mut room = 5;
        let own = row(std::process::id(), &mut room).unwrap();
        assert_eq!((own.command.len(), room), (5, 0));
        let own = row(std::process::id(), &mut room).unwrap();
        assert_eq!(own.command, format!("[{}]", own.name));
    }

    #[test]
    fn command_lines_are_one_line() {
        assert_eq!(command_line(b"sh\0-c\0echo a\nb\0").unwrap(), "sh -c echo a b");
        assert_eq!(command_line(b""), None);
        assert_eq!(terminal(0), "?");
    }
}
