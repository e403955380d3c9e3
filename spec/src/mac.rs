//! The address of a network card (IEEE 802, 48 bits), as people write it: `02:42:ac:11:00:02`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A unicast MAC address, not all zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MacAddress([u8; 6]);

/// No unicast MAC address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MacAddressError;

impl MacAddress {
    /// The address of these bytes.
    ///
    /// # Errors
    /// They are a group's address, or all zeros.
    pub const fn new(bytes: [u8; 6]) -> Result<Self, MacAddressError> {
        if bytes[0] & 1 != 0 || matches!(bytes, [0, 0, 0, 0, 0, 0]) {
            return Err(MacAddressError);
        }
        Ok(Self(bytes))
    }

    /// Its bytes, as they are sent.
    #[must_use]
    pub const fn octets(self) -> [u8; 6] {
        self.0
    }
}

impl FromStr for MacAddress {
    type Err = MacAddressError;

    /// Takes six pairs of hexadecimal digits with a colon or a hyphen between them.
    fn from_str(text: &str) -> Result<Self, MacAddressError> {
        let mut bytes = [0; 6];
        let mut pairs = text.split([':', '-']);
        for byte in &mut bytes {
            let pair = pairs.next().filter(|pair| pair.len() == 2 && !pair.starts_with('+'));
            *byte = pair.and_then(|pair| u8::from_str_radix(pair, 16).ok()).ok_or(MacAddressError)?;
        }
        if pairs.next().is_some() { Err(MacAddressError) } else { Self::new(bytes) }
    }
}

impl TryFrom<String> for MacAddress {
    type Error = MacAddressError;

    fn try_from(text: String) -> Result<Self, MacAddressError> {
        text.parse()
    }
}

impl From<MacAddress> for String {
    fn from(address: MacAddress) -> Self {
        address.to_string()
    }
}

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Display for MacAddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not the MAC address of one network card")
    }
}

impl std::error::Error for MacAddressError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_written() {
        let address: MacAddress = "02:42:AC:11:00:02".parse().unwrap();
        assert_eq!(address.octets(), [2, 0x42, 0xac, 0x11, 0, 2]);
        assert_eq!("02-42-ac-11-00-02".parse(), Ok(address));
        assert_eq!(serde_json::to_string(&address).unwrap(), r#""02:42:ac:11:00:02""#);
        assert_eq!(serde_json::from_str::<MacAddress>(r#""02:42:ac:11:00:02""#).unwrap(), address);
    }

    #[test]
    fn what_is_no_address_of_one_card_is_refused() {
        for text in [
            "",
            "02:42:ac:11:00",
            "02:42:ac:11:00:02:03",
            "2:42:ac:11:00:02",
            "02:42:ac:11:00:0g",
            "+2:42:ac:11:00:02",
            "0242ac110002",
            "02:42:ac:11:00:02 ",
            "01:00:5e:00:00:01",
            "ff:ff:ff:ff:ff:ff",
            "00:00:00:00:00:00",
        ] {
            assert_eq!(text.parse::<MacAddress>(), Err(MacAddressError), "{text}");
        }
    }
}
