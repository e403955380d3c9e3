//! The lines of JSON by which clients draw how a pull, push or load goes on (moby's `jsonmessage`).

use serde_json::{Value, json};

/// A line about the whole.
pub(super) fn status(text: &str) -> Value {
    json!({ "status": text })
}

/// A line about a part.
pub(super) fn part(id: &str, text: &str) -> Value {
    json!({"status": text, "progressDetail": {}, "id": id})
}

/// How far a part is, in bytes. The bar is for clients that do not draw their own.
pub(super) fn progress(id: &str, text: &str, current: u64, total: Option<u64>) -> Value {
    let Some(total) = total.filter(|total| *total > 0) else {
        return json!({"status": text, "progressDetail": {"current": current}, "progress": size(current), "id": id});
    };
    let done = usize::try_from(u128::from(current.min(total)) * 50 / u128::from(total)).unwrap_or(50);
    let bar =
        format!("[{}>{}] {:>8}/{}", "=".repeat(done), " ".repeat(50 - done), size(current), size(total));
    json!({"status": text, "progressDetail": {"current": current, "total": total}, "progress": bar, "id": id})
}

/// A size with four digits, as Docker's clients write it: `12.58MB`.
fn size(bytes: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "four digits are shown")]
    let mut size = bytes as f64;
    let mut units = ["B", "kB", "MB", "GB", "TB", "PB"].into_iter();
    let mut unit = units.next().unwrap_or_default();
    while size >= 1000.0 {
        let Some(next) = units.next() else { break };
        (size, unit) = (size / 1000.0, next);
    }
    let digits = if size >= 1000.0 {
        0
    } else if size >= 100.0 {
        1
    } else if size >= 10.0 {
        2
    } else {
        3
    };
    let text = format!("{size:.digits$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_bars_are_dockers() {
        for (bytes, text) in
            [(0, "0B"), (999, "999B"), (1000, "1kB"), (12_580_000, "12.58MB"), (4_123_456_789, "4.123GB")]
        {
            assert_eq!(size(bytes), text);
        }
        let line = progress("ab", "Downloading", 500, Some(1000));
        let bar = "[=========================>                         ]     500B/1kB";
        assert_eq!(line["progress"], bar);
        assert_eq!(progress("ab", "Downloading", 5, None)["progressDetail"], json!({"current": 5}));
    }
}
