//! What `--timeline` prints: when each stage of the boot was reached, and how long it took.

use serde::Serialize;
use vmm::Mark;

/// A line of the timeline. Milliseconds since the program's start, and since the stage before.
#[derive(Debug, Serialize)]
struct Line {
    stage: &'static str,
    at: f64,
    took: f64,
}

/// The timeline as a table, or as one line of JSON.
pub(crate) fn render(marks: &[Mark], json: bool) -> String {
    let mut before = 0.0;
    let lines = marks.iter().map(|mark| {
        let at = (mark.at.as_secs_f64() * 1e6).round() / 1e3;
        let took = ((at - before) * 1e3).round() / 1e3;
        before = at;
        Line { stage: mark.name, at, took }
    });
    let lines: Vec<Line> = lines.collect();
    if json {
        return serde_json::to_string(&lines).unwrap_or_default() + "\n";
    }
    let row = |line: &Line| format!("{:14}{:>10.3}{:>10.3}\n", line.stage, line.at, line.took);
    format!("{:14}{:>10}{:>10}\n", "stage", "at ms", "took ms") + &lines.iter().map(row).collect::<String>()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn stages_and_their_times() {
        let mark = |name, micros| Mark { name, at: Duration::from_micros(micros) };
        let marks = [mark("vm-created", 1500), mark("init", 41_250)];
        let table = "stage              at ms   took ms\nvm-created         1.500     1.500\ninit              41.250    39.750\n";
        assert_eq!(render(&marks, false), table);
        let json: serde_json::Value = serde_json::from_str(&render(&marks, true)).unwrap();
        assert_eq!(json[1], serde_json::json!({"stage": "init", "at": 41.25, "took": 39.75}));
    }
}
