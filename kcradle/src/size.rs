//! Sizes as Docker prints them.

/// A size for people: three digits and a decimal unit, as Docker prints sizes.
pub(crate) fn human(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["B", "kB", "MB", "GB", "TB", "PB"];
    let mut unit = 0;
    let mut scale: u64 = 1;
    while unit + 1 < UNITS.len() && bytes / scale >= 1000 {
        scale *= 1000;
        unit += 1;
    }
    let whole = bytes / scale;
    if unit == 0 || whole >= 100 {
        return format!("{whole}{}", UNITS[unit]);
    }
    let tenths = bytes % scale * 10 / scale;
    format!("{whole}.{tenths}{}", UNITS[unit])
}

/// A size in powers of 1024 with four digits at most, as `docker stats` prints memory.
pub(crate) fn binary(bytes: u64) -> String {
    scaled(bytes, 1024.0, 4, &["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"])
}

/// A size in powers of 1000 with three digits at most, as `docker stats` prints what was read and written.
pub(crate) fn decimal(bytes: u64) -> String {
    scaled(bytes, 1000.0, 3, &["B", "kB", "MB", "GB", "TB", "PB", "EB"])
}

/// As Go's `%.*g` writes it: so many digits that count, and no zeros behind the point at the end.
#[expect(clippy::cast_precision_loss, reason = "no more than four digits are shown")]
fn scaled(bytes: u64, base: f64, digits: usize, units: &[&str]) -> String {
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= base && unit + 1 < units.len() {
        value /= base;
        unit += 1;
    }
    let whole = format!("{value:.0}").len();
    let text = format!("{value:.*}", digits.saturating_sub(whole));
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{}", units[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_as_docker_stats_prints_them() {
        for (bytes, text) in [
            (0, "0B"),
            (1000, "1000B"),
            (1024, "1KiB"),
            (4_718_592, "4.5MiB"),
            (3 << 29, "1.5GiB"),
            (1_234_567_890, "1.15GiB"),
        ] {
            assert_eq!(binary(bytes), text);
        }
        for (bytes, text) in
            [(0, "0B"), (999, "999B"), (2048, "2.05kB"), (12_345_678, "12.3MB"), (999_999, "1000kB")]
        {
            assert_eq!(decimal(bytes), text);
        }
    }

    #[test]
    fn sizes_for_people() {
        for (bytes, text) in
            [(0, "0B"), (999, "999B"), (1000, "1.0kB"), (4_490_000, "4.4MB"), (135_000_000, "135MB")]
        {
            assert_eq!(human(bytes), text);
        }
    }
}
