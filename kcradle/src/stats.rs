//! `kcradle stats`: what containers use, once or again and again.

use std::collections::BTreeMap;
use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::sync::mpsc;
use std::thread;

use anyhow::Context as _;
use serde::Deserialize;

use crate::api::container;
use crate::api::http::{Response, Upload};
use crate::api::query::Query;
use crate::api::{Api, ApiError};
use crate::cli::containers::StatsArgs;
use crate::failure::Failure;
use crate::{size, table};

/// The longest reading, in bytes.
const MAX_LINE: u64 = 1 << 20;

/// A reading: an object of `GET /containers/NAME/stats`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
struct Reading {
    id: String,
    name: String,
    cpu_stats: Cpu,
    precpu_stats: Cpu,
    memory_stats: Memory,
    blkio_stats: Io,
    pids_stats: Pids,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
struct Cpu {
    cpu_usage: CpuUsage,
    system_cpu_usage: u64,
    online_cpus: u32,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
struct CpuUsage {
    total_usage: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
struct Memory {
    usage: u64,
    limit: u64,
    stats: BTreeMap<String, u64>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
struct Io {
    io_service_bytes_recursive: Option<Vec<IoEntry>>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
struct IoEntry {
    op: String,
    value: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
struct Pids {
    current: u64,
}

/// Prints readings.
pub(crate) fn run(args: &StatsArgs) -> Result<u8, Failure> {
    let api = Api::of(&args.dir)?;
    let names = match args.container.is_empty() {
        true => container::listed(&api, args.all)?,
        false => args.container.clone(),
    };
    let open = |name: &String| -> Result<Response, ApiError> {
        let stream = if args.no_stream { "0" } else { "1" };
        api.call("GET", Query::container(name, "stats").with("stream", stream).as_str(), Upload::None)
    };
    let (readings, received) = mpsc::channel();
    for (index, name) in names.iter().enumerate() {
        let response = open(name).map_err(anyhow::Error::from)?;
        let readings = readings.clone();
        let read = move || {
            let mut body = response.into_body();
            while let Some(reading) = next(&mut body) {
                if readings.send((index, reading)).is_err() {
                    return;
                }
            }
        };
        thread::Builder::new().name("stats".into()).spawn(read).context("cannot start a thread")?;
    }
    drop(readings);
    let mut latest = vec![None; names.len()];
    if args.no_stream {
        received.iter().for_each(|(index, reading)| latest[index] = Some(reading));
        table::print(&HEADER, rows(&latest, args.no_trunc));
        return Ok(0);
    }
    // A round is shown when its first container's reading is there: all come once a second.
    let live = std::io::stdout().is_terminal();
    while let Ok((index, reading)) = received.recv() {
        latest[index] = Some(reading);
        if index == 0 || latest[0].is_none() {
            let text = table::render(&HEADER, rows(&latest, args.no_trunc));
            // Over what stood there, and nothing of it left behind.
            let text = if live { format!("\x1b[H{}\x1b[J", text.replace('\n', "\x1b[K\n")) } else { text };
            let mut out = std::io::stdout().lock();
            if out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_err() {
                return Ok(crate::api::session::code_of_signal(crate::api::session::SIGPIPE));
            }
        }
    }
    Ok(0)
}

/// The next reading; `None` at the end, also where what comes is none.
fn next(body: &mut impl std::io::BufRead) -> Option<Reading> {
    use std::io::Read as _;
    let mut line = Vec::new();
    body.take(MAX_LINE).read_until(b'\n', &mut line).ok()?;
    serde_json::from_slice(&line).ok()
}

const HEADER: [&str; 8] =
    ["CONTAINER ID", "NAME", "CPU %", "MEM USAGE / LIMIT", "MEM %", "NET I/O", "BLOCK I/O", "PIDS"];

fn rows(readings: &[Option<Reading>], whole: bool) -> Vec<Vec<String>> {
    readings.iter().flatten().map(|reading| row(reading, whole)).collect()
}

fn row(reading: &Reading, whole: bool) -> Vec<String> {
    let memory = &reading.memory_stats;
    let used = memory.usage.saturating_sub(memory.stats.get("inactive_file").copied().unwrap_or(0));
    let percent = if memory.limit == 0 { 0.0 } else { ratio(used, memory.limit) * 100.0 };
    let entries = reading.blkio_stats.io_service_bytes_recursive.as_deref().unwrap_or_default();
    let moved = |op: &str| {
        let of = entries.iter().filter(|entry| entry.op.eq_ignore_ascii_case(op));
        of.fold(0_u64, |sum, entry| sum.saturating_add(entry.value))
    };
    vec![
        if whole { reading.id.clone() } else { reading.id.chars().take(12).collect() },
        reading.name.trim_start_matches('/').to_owned(),
        format!("{:.2}%", cpu_percent(reading)),
        format!("{} / {}", size::binary(used), size::binary(memory.limit)),
        format!("{percent:.2}%"),
        // A pod has no network yet.
        "0B / 0B".to_owned(),
        format!("{} / {}", size::decimal(moved("read")), size::decimal(moved("write"))),
        reading.pids_stats.current.to_string(),
    ]
}

/// Of one CPU, as Docker counts: 200 % are two whole ones.
fn cpu_percent(reading: &Reading) -> f64 {
    let (now, before) = (&reading.cpu_stats, &reading.precpu_stats);
    let used = now.cpu_usage.total_usage.saturating_sub(before.cpu_usage.total_usage);
    let passed = now.system_cpu_usage.saturating_sub(before.system_cpu_usage);
    if passed == 0 { 0.0 } else { ratio(used, passed) * f64::from(now.online_cpus) * 100.0 }
}

#[expect(clippy::cast_precision_loss, reason = "two digits of a percentage are shown")]
fn ratio(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reading_is_shown_as_docker_shows_it() {
        let json = r#"{"id":"0123456789abcdef","name":"/web","unknown":1,
            "cpu_stats":{"cpu_usage":{"total_usage":300},"system_cpu_usage":2000,"online_cpus":2},
            "precpu_stats":{"cpu_usage":{"total_usage":200},"system_cpu_usage":1000},
            "memory_stats":{"usage":5242880,"limit":536870912,"stats":{"inactive_file":1048576}},
            "blkio_stats":{"io_service_bytes_recursive":[{"op":"read","value":1500},{"op":"Write","value":2}]},
            "pids_stats":{"current":3}}"#;
        let reading = next(&mut format!("{}\nrest", json.replace('\n', "")).as_bytes()).unwrap();
        assert_eq!(
            row(&reading, false),
            ["0123456789ab", "web", "20.00%", "4MiB / 512MiB", "0.78%", "0B / 0B", "1.5kB / 2B", "3"]
        );
    }

    #[test]
    fn a_container_that_does_not_run_uses_nothing() {
        let reading = next(&mut &br#"{"blkio_stats":{"io_service_bytes_recursive":null}}"#[..]).unwrap();
        assert_eq!(row(&reading, true)[2..], ["0.00%", "0B / 0B", "0.00%", "0B / 0B", "0B / 0B", "0"]);
        assert!(next(&mut &b""[..]).is_none());
        assert!(next(&mut &b"garbage\n"[..]).is_none());
    }
}
