//! Names and numbers of signals, as Linux has them on x86-64.

use crate::engine::EngineError;

/// The names of the signals from 1 on.
const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE",
    "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ",
    "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

/// Other names of the same.
const ALIASES: [(&str, u32); 4] = [("IOT", 6), ("CLD", 17), ("POLL", 29), ("UNUSED", 31)];

/// The first and the last signal without a meaning of its own that programs get.
const REAL_TIME: [u32; 2] = [34, 64];

/// SIGKILL.
pub const KILL: u32 = 9;

/// The number of a signal given as `KILL`, `SIGKILL`, `kill`, `9`, `RTMIN+3` or `RTMAX-3`.
///
/// # Errors
/// [`EngineError::BadRequest`] for everything else.
pub fn parse(text: &str) -> Result<u32, EngineError> {
    lookup(text).ok_or_else(|| EngineError::BadRequest(format!("invalid signal: {text}")))
}

fn lookup(text: &str) -> Option<u32> {
    if let Ok(number) = text.parse::<u32>() {
        return (1..=REAL_TIME[1]).contains(&number).then_some(number);
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let [min, max] = REAL_TIME;
    if let Some(rest) = name.strip_prefix("RTMIN") {
        let offset = if rest.is_empty() { 0 } else { rest.strip_prefix('+')?.parse::<u32>().ok()? };
        return min.checked_add(offset).filter(|number| *number <= max);
    }
    if let Some(rest) = name.strip_prefix("RTMAX") {
        let offset = if rest.is_empty() { 0 } else { rest.strip_prefix('-')?.parse::<u32>().ok()? };
        return max.checked_sub(offset).filter(|number| *number >= min);
    }
    (1..)
        .zip(NAMES)
        .map(|(number, known)| (known, number))
        .chain(ALIASES)
        .find(|(known, _)| *known == name)
        .map(|(_, number)| number)
}

/// `SIGTERM`, or the number where it has no name.
#[must_use]
pub fn name(number: u32) -> String {
    let index = usize::try_from(number).ok().and_then(|number| number.checked_sub(1));
    index.and_then(|index| NAMES.get(index)).map_or_else(|| number.to_string(), |name| format!("SIG{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_agree() {
        for (text, number) in [
            ("KILL", 9),
            ("SIGKILL", 9),
            ("sigkill", 9),
            ("9", 9),
            ("TERM", 15),
            ("WINCH", 28),
            ("SYS", 31),
            ("IOT", 6),
            ("RTMIN", 34),
            ("SIGRTMIN+3", 37),
            ("RTMAX-1", 63),
            ("64", 64),
            ("1", 1),
        ] {
            assert_eq!(parse(text), Ok(number), "{text}");
        }
        assert_eq!((name(15), name(37)), ("SIGTERM".into(), "37".into()));
    }

    #[test]
    fn refuses_what_is_no_signal() {
        for text in
            ["", "0", "-9", "65", "SIG", "FOO", "RTMIN+31", "RTMAX-99", "RTMIN-1", "SIGSIGKILL", "4294967297"]
        {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }
}
