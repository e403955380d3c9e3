//! Sizes and CPU counts as Docker's flags write them: `512m`, `2g`, `1.5`.

use thiserror::Error;

/// The least and the largest disk, in bytes.
const MIN_DISK: u64 = 16 << 20;
const MAX_DISK: u64 = 16 << 40;

/// Why a text is no size or no number of CPUs.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum SizeError {
    /// Not a number with one of the known units.
    #[error("\"{0}\" is no size; write a number and b, k, m, g or t, as in 512m or 2g")]
    NoSize(String),
    /// A disk below 16 MiB or over 16 TiB.
    #[error("\"{0}\" is no size of a disk; write 16m to 16t")]
    NoDisk(String),
    /// A size over 2^63 bytes.
    #[error("\"{0}\" is too large")]
    TooLarge(String),
    /// Not a positive decimal number.
    #[error("\"{0}\" is no number of CPUs; write a number between 0.01 and 32, as in 2 or 1.5")]
    NoCpus(String),
}

/// Reads a size in bytes. Units are powers of 1024, in either case, with or without `b` or `ib`.
///
/// # Errors
/// [`SizeError::NoSize`] and [`SizeError::TooLarge`].
pub fn parse_bytes(text: &str) -> Result<u64, SizeError> {
    let no_size = || SizeError::NoSize(text.to_owned());
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim_start_matches(' ').to_ascii_lowercase();
    let unit = unit.strip_suffix("ib").or_else(|| unit.strip_suffix('b')).unwrap_or(&unit);
    let shift = match unit {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        "p" => 50,
        _ => return Err(no_size()),
    };
    let thousandths = parse_thousandths(number).ok_or_else(no_size)?;
    let bytes = (u128::from(thousandths) << shift) / 1000;
    match u64::try_from(bytes) {
        Ok(bytes) if bytes <= i64::MAX as u64 => Ok(bytes),
        _ => Err(SizeError::TooLarge(text.to_owned())),
    }
}

/// Reads the size of a disk in bytes, and rounds it up to blocks of 4 KiB.
///
/// # Errors
/// Those of [`parse_bytes`], and [`SizeError::NoDisk`].
pub fn parse_disk(text: &str) -> Result<u64, SizeError> {
    let bytes = parse_bytes(text)?;
    let is_disk = (MIN_DISK..=MAX_DISK).contains(&bytes);
    is_disk.then(|| bytes.next_multiple_of(4096)).ok_or_else(|| SizeError::NoDisk(text.to_owned()))
}

/// How many CPUs a pod may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cpus {
    /// vCPUs of the virtual machine: the number rounded up.
    pub count: u32,
    /// The limit in thousandths of a CPU, where it is under `count`.
    pub millis: Option<u64>,
}

/// Reads a number of CPUs. A fraction is rounded up to whole vCPUs and held by the container's limit.
///
/// # Errors
/// [`SizeError::NoCpus`].
pub fn parse_cpus(text: &str) -> Result<Cpus, SizeError> {
    let no_cpus = || SizeError::NoCpus(text.to_owned());
    let millis =
        parse_thousandths(text).filter(|millis| (10..=32_000).contains(millis)).ok_or_else(no_cpus)?;
    let count = u32::try_from(millis.div_ceil(1000)).map_err(|_| no_cpus())?;
    Ok(Cpus { count, millis: (millis % 1000 != 0).then_some(millis) })
}

/// A decimal number in thousandths; further digits are dropped.
fn parse_thousandths(text: &str) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
        return None;
    }
    let whole: u64 = if whole.is_empty() { 0 } else { parse_digits(whole)? };
    let mut digits = fraction.chars().chain(std::iter::repeat('0'));
    let fraction_ok = fraction.chars().all(|c| c.is_ascii_digit());
    let first_three: String = digits.by_ref().take(3).collect();
    whole.checked_mul(1000)?.checked_add(if fraction_ok { parse_digits(&first_three)? } else { return None })
}

fn parse_digits(text: &str) -> Option<u64> {
    text.chars().all(|c| c.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_as_docker_reads_them() {
        for (text, bytes) in [
            ("0", 0),
            ("32", 32),
            ("32b", 32),
            ("1k", 1024),
            ("1K", 1024),
            ("512m", 512 << 20),
            ("2g", 2 << 30),
            ("2GiB", 2 << 30),
            ("1.5g", 3 << 29),
            ("1 mb", 1 << 20),
            ("8T", 8 << 40),
        ] {
            assert_eq!(parse_bytes(text), Ok(bytes), "{text}");
        }
        for text in ["", "m", "-1", "1x", "1..5g", "1,5g", "0x10", "12gg", ".", "1 2m"] {
            assert_eq!(parse_bytes(text), Err(SizeError::NoSize(text.to_owned())), "{text}");
        }
        assert_eq!(parse_bytes("999999p"), Err(SizeError::TooLarge("999999p".to_owned())));
    }

    #[test]
    fn cpus_round_up_and_keep_the_limit() {
        assert_eq!(parse_cpus("2"), Ok(Cpus { count: 2, millis: None }));
        assert_eq!(parse_cpus("1.5"), Ok(Cpus { count: 2, millis: Some(1500) }));
        assert_eq!(parse_cpus(".5"), Ok(Cpus { count: 1, millis: Some(500) }));
        assert_eq!(parse_cpus("1.0"), Ok(Cpus { count: 1, millis: None }));
        for text in ["0", "0.001", "33", "-1", "two", "", "1.x"] {
            assert_eq!(parse_cpus(text), Err(SizeError::NoCpus(text.to_owned())), "{text}");
        }
    }

    #[test]
    fn disks_have_whole_blocks() {
        assert_eq!((parse_disk("16m"), parse_disk("16777217")), (Ok(16 << 20), Ok((16 << 20) + 4096)));
        assert_eq!((parse_disk("1.5g"), parse_disk("20GiB")), (Ok(3 << 29), Ok(20 << 30)));
        for text in ["1", "15m", "0", "17t"] {
            assert_eq!(parse_disk(text), Err(SizeError::NoDisk(text.to_owned())), "{text}");
        }
        for text in ["", "g", "-1g", "1x", "nan", "inf", "1e30g"] {
            assert_eq!(parse_disk(text), Err(SizeError::NoSize(text.to_owned())), "{text}");
        }
    }
}
