//! Signals by name or number, as Docker takes them; numbers are those of Linux on x86-64.

/// The signal that ends a container where nothing else is said.
pub const SIGTERM: u32 = 15;

// The C library keeps 32 and 33 for itself.
const RTMIN: u32 = 34;
const RTMAX: u32 = 64;

const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE",
    "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ",
    "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

/// A text that names no signal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid signal: {0}")]
pub struct SignalError(pub String);

/// The number of a signal such as `SIGTERM`, `term`, `15` or `SIGRTMIN+3`.
///
/// # Errors
/// There is no such signal.
pub fn number(text: &str) -> Result<u32, SignalError> {
    let unknown = || SignalError(text.to_owned());
    if let Ok(number) = text.parse::<u32>() {
        return (1..=RTMAX).contains(&number).then_some(number).ok_or_else(unknown);
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let real_time = |offset: &str, from: u32, sign: i64| {
        let offset = if offset.is_empty() { 0 } else { offset.get(1..)?.parse::<u8>().ok()? };
        let number = u32::try_from(i64::from(from) + sign * i64::from(offset)).ok()?;
        (RTMIN..=RTMAX).contains(&number).then_some(number)
    };
    match name {
        "IOT" => Some(6),
        "CLD" => Some(17),
        "POLL" => Some(29),
        _ if name.starts_with("RTMIN+") || name == "RTMIN" => real_time(&name[5..], RTMIN, 1),
        _ if name.starts_with("RTMAX-") || name == "RTMAX" => real_time(&name[5..], RTMAX, -1),
        _ => (1..).zip(NAMES).find(|(_, known)| *known == name).map(|(number, _)| number),
    }
    .ok_or_else(unknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_signals() {
        for (text, expected) in [
            ("SIGTERM", 15),
            ("term", 15),
            ("9", 9),
            ("SIGQUIT", 3),
            ("WINCH", 28),
            ("SIGSYS", 31),
            ("SIGRTMIN", 34),
            ("SIGRTMIN+3", 37),
            ("RTMAX-14", 50),
            ("64", 64),
        ] {
            assert_eq!(number(text), Ok(expected), "{text}");
        }
        for text in ["", "SIG", "0", "65", "-1", "SIGRTMIN+31", "SIGRTMAX-31", "RTMIN-1", "RTMIN+", "NOPE"] {
            assert_eq!(number(text), Err(SignalError(text.to_owned())));
        }
    }
}
