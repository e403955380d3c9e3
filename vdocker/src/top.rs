//! The columns of `docker top`: what ps(1) prints for the arguments that people give, of a guest's process table.

use std::time::{Duration, SystemTime};

use crate::api::stats::Top;
use crate::engine::EngineError;
use crate::stats::{ProcessRow, ProcessTable};
use crate::time;

/// The most columns of `-o`.
const MAX_COLUMNS: usize = 64;

const DAY: Duration = Duration::from_secs(86_400);

/// A column: its title, and what stands in it.
#[derive(Clone, Copy)]
struct Column {
    title: &'static str,
    cell: fn(&ProcessRow, &View) -> String,
}

/// What rows are seen in the light of.
#[derive(Clone, Copy, Debug)]
pub struct View {
    /// The time to which ages refer.
    pub now: SystemTime,
    /// The guest's memory in bytes.
    pub memory: u64,
}

/// Names of `-o`, and the columns that they stand for.
const COLUMNS: [(&str, Column); 38] = [
    ("uid", Column { title: "UID", cell: |row, _| row.uid.to_string() }),
    ("euid", Column { title: "EUID", cell: |row, _| row.uid.to_string() }),
    ("ruid", Column { title: "RUID", cell: |row, _| row.uid.to_string() }),
    ("user", Column { title: "USER", cell: user }),
    ("euser", Column { title: "EUSER", cell: user }),
    ("ruser", Column { title: "RUSER", cell: user }),
    ("uname", Column { title: "USER", cell: user }),
    ("pid", PID),
    ("ppid", Column { title: "PPID", cell: |row, _| row.ppid.to_string() }),
    ("c", Column { title: "C", cell: |row, _| row.cpu_percent.to_string() }),
    ("cp", Column { title: "CP", cell: |row, _| row.cpu_percent.saturating_mul(10).to_string() }),
    ("pcpu", Column { title: "%CPU", cell: percent_cpu }),
    ("%cpu", Column { title: "%CPU", cell: percent_cpu }),
    ("pmem", Column { title: "%MEM", cell: percent_memory }),
    ("%mem", Column { title: "%MEM", cell: percent_memory }),
    ("stime", Column { title: "STIME", cell: start }),
    ("start", Column { title: "STARTED", cell: start }),
    ("start_time", Column { title: "START", cell: start }),
    ("bsdstart", Column { title: "START", cell: start }),
    (
        "lstart",
        Column { title: "STARTED", cell: |row, _| row.started.map_or_else(|| "-".into(), time::clock::full) },
    ),
    ("etime", Column { title: "ELAPSED", cell: |row, view| time::clock::elapsed(age(row, view)) }),
    ("etimes", Column { title: "ELAPSED", cell: |row, view| age(row, view).to_string() }),
    ("tty", Column { title: "TT", cell: |row, _| row.tty.clone() }),
    ("tt", Column { title: "TT", cell: |row, _| row.tty.clone() }),
    ("tname", Column { title: "TTY", cell: |row, _| row.tty.clone() }),
    ("time", Column { title: "TIME", cell: |row, _| time::clock::cpu(row.cpu_seconds) }),
    ("cputime", Column { title: "TIME", cell: |row, _| time::clock::cpu(row.cpu_seconds) }),
    ("bsdtime", Column { title: "TIME", cell: |row, _| time::clock::cpu_short(row.cpu_seconds) }),
    ("s", Column { title: "S", cell: |row, _| row.state.to_string() }),
    ("state", Column { title: "S", cell: |row, _| row.state.to_string() }),
    ("stat", Column { title: "STAT", cell: |row, _| row.state.to_string() }),
    ("rss", Column { title: "RSS", cell: |row, _| row.rss_kib.to_string() }),
    ("vsz", Column { title: "VSZ", cell: |row, _| row.vsz_kib.to_string() }),
    ("comm", Column { title: "COMMAND", cell: |row, _| row.name.clone() }),
    ("ucmd", Column { title: "CMD", cell: |row, _| row.name.clone() }),
    ("cmd", Column { title: "CMD", cell: |row, _| row.command.clone() }),
    ("args", Column { title: "COMMAND", cell: |row, _| row.command.clone() }),
    ("command", Column { title: "COMMAND", cell: |row, _| row.command.clone() }),
];

const PID: Column = Column { title: "PID", cell: |row, _| row.pid.to_string() };

/// What `-ef` shows: names of `-o`, with the titles that ps gives them there.
const FULL: [(&str, &str); 8] = [
    ("user", "UID"),
    ("pid", "PID"),
    ("ppid", "PPID"),
    ("c", "C"),
    ("stime", "STIME"),
    ("tty", "TTY"),
    ("time", "TIME"),
    ("cmd", "CMD"),
];

/// What `aux` shows.
const BSD: [(&str, &str); 11] = [
    ("user", "USER"),
    ("pid", "PID"),
    ("pcpu", "%CPU"),
    ("pmem", "%MEM"),
    ("vsz", "VSZ"),
    ("rss", "RSS"),
    ("tty", "TTY"),
    ("stat", "STAT"),
    ("stime", "START"),
    ("bsdtime", "TIME"),
    ("args", "COMMAND"),
];

/// What `-e` alone shows.
const SHORT: [(&str, &str); 4] = [("pid", "PID"), ("tty", "TTY"), ("time", "TIME"), ("ucmd", "CMD")];

/// Shows processes as `ps` does with those arguments; none: `-ef`.
///
/// # Errors
/// [`EngineError::BadRequest`] for arguments and columns that are not known, and where no column shows the pid.
pub fn show(table: &ProcessTable, arguments: &str, view: View) -> Result<Top, EngineError> {
    let columns = columns(arguments)?;
    let titles: Vec<_> = columns.iter().map(|column| column.title).collect();
    if !titles.contains(&"PID") {
        return Err(EngineError::BadRequest("Couldn't find PID field in ps output".into()));
    }
    let cells = |row: &ProcessRow| columns.iter().map(|column| (column.cell)(row, &view)).collect();
    Ok(Top { titles, processes: table.rows.iter().map(cells).collect() })
}

fn columns(arguments: &str) -> Result<Vec<Column>, EngineError> {
    let mut words = arguments.split_ascii_whitespace();
    let (mut chosen, mut form) = (Vec::new(), FULL.as_slice());
    while let Some(word) = words.next() {
        if let Some(list) = after_o(word) {
            let list = if list.is_empty() { words.next().unwrap_or_default() } else { list };
            add_columns(&mut chosen, list)?;
            continue;
        }
        form = match word {
            "-ef" | "-f" | "ef" | "-Af" => &FULL,
            "aux" | "-aux" | "au" | "u" | "ax" | "auxw" | "auxww" => &BSD,
            "-e" | "-A" | "-a" | "a" | "x" | "e" => &SHORT,
            "w" | "ww" | "-w" | "-ww" => continue,
            _ => {
                return Err(EngineError::BadRequest(format!(
                    "ps: {word:?} is not known; there are -ef, aux and -o with columns"
                )));
            }
        };
    }
    if !chosen.is_empty() {
        return Ok(chosen);
    }
    Ok(form.iter().filter_map(|&(name, title)| Some(Column { title, ..column(name)? })).collect())
}

/// What follows `-o`, `-eo` or `axo` in a word.
fn after_o(word: &str) -> Option<&str> {
    let letters = word.strip_prefix('-').unwrap_or(word);
    letters.trim_start_matches(['e', 'A', 'a', 'x']).strip_prefix('o')
}

fn add_columns(chosen: &mut Vec<Column>, list: &str) -> Result<(), EngineError> {
    for name in list.split(',') {
        let known = column(name).ok_or_else(|| EngineError::BadRequest(format!("ps: no column {name:?}")))?;
        chosen.push(known);
    }
    if chosen.len() > MAX_COLUMNS {
        return Err(EngineError::BadRequest("ps: too many columns".into()));
    }
    Ok(())
}

fn column(name: &str) -> Option<Column> {
    COLUMNS.iter().find(|(known, _)| *known == name).map(|(_, column)| *column)
}

/// Names are in the containers' files, which differ: all but root's are shown as numbers, as ps does with strangers.
fn user(row: &ProcessRow, _: &View) -> String {
    if row.uid == 0 { "root".into() } else { row.uid.to_string() }
}

fn percent_cpu(row: &ProcessRow, _: &View) -> String {
    format!("{}.0", row.cpu_percent)
}

fn percent_memory(row: &ProcessRow, view: &View) -> String {
    let tenths = row.rss_kib.saturating_mul(1024 * 1000).checked_div(view.memory).unwrap_or(0);
    format!("{}.{}", tenths / 10, tenths % 10)
}

fn start(row: &ProcessRow, view: &View) -> String {
    let Some(started) = row.started else { return "-".into() };
    let young = view.now.duration_since(started).is_ok_and(|age| age < DAY);
    if young { time::clock::hour_minute(started) } else { time::clock::month_day(started) }
}

/// Seconds.
fn age(row: &ProcessRow, view: &View) -> u64 {
    row.started.and_then(|started| view.now.duration_since(started).ok()).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(arguments: &str) -> Result<Top, EngineError> {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let row = ProcessRow {
            uid: 0,
            pid: 7,
            ppid: 1,
            cpu_percent: 3,
            started: Some(now - Duration::from_secs(3700)),
            tty: "pts/0".into(),
            cpu_seconds: 3723,
            state: 'S',
            rss_kib: 1024,
            vsz_kib: 4096,
            name: "sh".into(),
            command: "sh -c x".into(),
        };
        let other = ProcessRow {
            uid: 33,
            pid: 9,
            started: Some(now - Duration::from_secs(3 * 86_400)),
            ..row.clone()
        };
        show(&ProcessTable { rows: vec![row, other] }, arguments, View { now, memory: 64 << 20 })
    }

    #[test]
    fn shows_the_full_form() {
        let top = shown("").unwrap();
        assert_eq!(top.titles, ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]);
        assert_eq!(top.processes[0], ["root", "7", "1", "3", "21:11", "pts/0", "01:02:03", "sh -c x"]);
        assert_eq!(top.processes[1], ["33", "9", "1", "3", "Nov11", "pts/0", "01:02:03", "sh -c x"]);
        assert_eq!(shown("-ef").unwrap(), top);
    }

    #[test]
    fn shows_other_forms() {
        let top = shown("aux").unwrap();
        assert_eq!(
            top.processes[0],
            ["root", "7", "3.0", "1.5", "4096", "1024", "pts/0", "S", "21:11", "62:03", "sh -c x"]
        );
        for arguments in [
            "-o pid,comm,etime",
            "-eo pid,comm,etime",
            "o pid,comm,etime",
            "-e -o pid -o comm,etime",
            "-opid,comm,etime",
        ] {
            let top = shown(arguments).unwrap();
            assert_eq!(top.titles, ["PID", "COMMAND", "ELAPSED"], "{arguments}");
            assert_eq!(top.processes[0], ["7", "sh", "01:01:40"]);
            assert_eq!(top.processes[1], ["9", "sh", "3-00:00:00"]);
        }
        assert_eq!(shown("-e").unwrap().titles, ["PID", "TTY", "TIME", "CMD"]);
    }

    #[test]
    fn refuses_the_rest() {
        for arguments in
            ["-o comm", "-o", "-o pid,nothing", "-o pid,,comm", "--forest", "-x; reboot", "ef -Z"]
        {
            assert!(matches!(shown(arguments), Err(EngineError::BadRequest(_))), "{arguments}");
        }
        assert!(shown(&("-o pid".to_owned() + &",pid".repeat(64))).is_err());
    }
}
