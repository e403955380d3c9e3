//! What `--timeline` prints: when each stage of the boot was reached, and how long it took.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;
use vmm::Mark;

/// A line of the timeline. Milliseconds since the program's start, and since the stage before; in JSON the host's
/// monotonic clock too, for whoever measures from outside; bytes of a file that were mapped and copied into guest memory.
#[derive(Debug, Serialize)]
struct Line {
    stage: &'static str,
    at: f64,
    took: f64,
    clock: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    mapped: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    copied: Option<u64>,
}

/// The host's monotonic clock at `origin`.
pub(crate) fn clock_at(origin: Instant) -> Duration {
    // In this order, so that a pause between the two cannot bring the answer before `origin`.
    let since = origin.elapsed();
    Duration::try_from(clock_gettime(ClockId::Monotonic)).unwrap_or_default().saturating_sub(since)
}

/// The timeline as a table, or as one line of JSON. `clock` is [`clock_at`] its beginning.
pub(crate) fn render(marks: &[Mark], clock: Duration, json: bool) -> String {
    let mut before = 0.0;
    let millis = |time: Duration| (time.as_secs_f64() * 1e6).round() / 1e3;
    let lines = marks.iter().map(|mark| {
        let at = millis(mark.at);
        let took = ((at - before) * 1e3).round() / 1e3;
        before = at;
        let (mapped, copied) = mark.placed.map(|placed| (placed.mapped, placed.copied)).unzip();
        Line { stage: mark.name, at, took, clock: millis(clock + mark.at), mapped, copied }
    });
    let lines: Vec<Line> = lines.collect();
    if json {
        return serde_json::to_string(&lines).unwrap_or_default() + "\n";
    }
    let row = |line: &Line| {
        let placed = line.mapped.zip(line.copied);
        let bytes = placed.map(|(mapped, copied)| format!("  {mapped} bytes mapped, {copied} copied"));
        format!("{:14}{:>10.3}{:>10.3}{}\n", line.stage, line.at, line.took, bytes.unwrap_or_default())
    };
    format!("{:14}{:>10}{:>10}\n", "stage", "at ms", "took ms") + &lines.iter().map(row).collect::<String>()
}

#[cfg(test)]
mod tests {
    use vmm::Placed;

    use super::*;

    #[test]
    fn the_clock_is_the_hosts() {
        let clock = || Duration::try_from(clock_gettime(ClockId::Monotonic)).unwrap();
        let before = clock();
        let at = clock_at(Instant::now());
        assert!((before..=clock()).contains(&at));
    }

    #[test]
    fn stages_and_their_times() {
        let mark = |name, micros, placed| Mark { name, at: Duration::from_micros(micros), placed };
        let placed = Some(Placed { mapped: 8192, copied: 7 });
        let marks =
            [mark("vm-created", 1500, None), mark("kernel-loaded", 2000, placed), mark("init", 41_250, None)];
        let table = "stage              at ms   took ms\n\
                     vm-created         1.500     1.500\n\
                     kernel-loaded      2.000     0.500  8192 bytes mapped, 7 copied\n\
                     init              41.250    39.250\n";
        assert_eq!(render(&marks, Duration::ZERO, false), table);
        let json: serde_json::Value =
            serde_json::from_str(&render(&marks, Duration::from_millis(500), true)).unwrap();
        assert_eq!(
            json[1],
            serde_json::json!({"stage": "kernel-loaded", "at": 2.0, "took": 0.5, "clock": 502.0, "mapped": 8192, "copied": 7})
        );
        assert_eq!(
            json[2],
            serde_json::json!({"stage": "init", "at": 41.25, "took": 39.25, "clock": 541.25})
        );
    }
}
