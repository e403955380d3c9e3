//! The keys that leave a container's terminal without ending its program: `ctrl-p,ctrl-q` where the user says nothing.
//! Looked for by the server, as Docker does, and by clients that want to know before.

use std::str::FromStr;

use thiserror::Error;

use crate::engine::EngineError;

/// Bytes of a text that names keys.
const MAX_TEXT: usize = 256;

/// A text that names no keys.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("invalid detach keys ({text}): {why}")]
pub struct DetachKeysError {
    text: String,
    why: String,
}

/// A sequence of keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DetachKeys {
    text: String,
    keys: Vec<u8>,
}

impl Default for DetachKeys {
    fn default() -> Self {
        Self { text: "ctrl-p,ctrl-q".to_owned(), keys: vec![0x10, 0x11] }
    }
}

impl FromStr for DetachKeys {
    type Err = DetachKeysError;

    /// Reads keys with commas between them: `ctrl-` with a letter or one of `@ [ \ ] ^ _`, or one character.
    fn from_str(text: &str) -> Result<Self, DetachKeysError> {
        let key = |name: &str| match name.as_bytes() {
            [key] => Some(*key),
            [b'c', b't', b'r', b'l', b'-', key] => match key {
                b'a'..=b'z' => Some(key - b'a' + 1),
                b'@' => Some(0),
                b'[' | b'\\' | b']' | b'^' | b'_' => Some(key - b'[' + 27),
                _ => None,
            },
            _ => None,
        };
        let parse = |name: &str| {
            key(name).ok_or_else(|| DetachKeysError {
                text: text.to_owned(),
                why: format!("unknown character: '{name}'"),
            })
        };
        if text.len() > MAX_TEXT {
            let why = format!("more than {MAX_TEXT} bytes");
            return Err(DetachKeysError { text: text.chars().take(MAX_TEXT).collect(), why });
        }
        Ok(Self { text: text.to_owned(), keys: text.split(',').map(parse).collect::<Result<_, _>>()? })
    }
}

impl DetachKeys {
    /// The keys that a client names; where it names none, the usual ones.
    ///
    /// # Errors
    /// [`EngineError::BadRequest`] for what names no keys.
    pub fn wanted(text: &str) -> Result<Self, EngineError> {
        if text.is_empty() { Ok(Self::default()) } else { text.parse() }
            .map_err(|error: DetachKeysError| EngineError::BadRequest(error.to_string()))
    }

    /// As the user wrote them.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// Looks for the keys in what is typed.
#[derive(Debug)]
pub struct Watch {
    keys: Vec<u8>,
    /// Of the keys, how many were typed last and are held back.
    held: usize,
}

impl Watch {
    /// Looks for these.
    #[must_use]
    pub fn new(keys: &DetachKeys) -> Self {
        Self { keys: keys.keys.clone(), held: 0 }
    }

    /// What is to be passed on of `typed`, with what was held back before it; true where the keys came.
    pub fn pass(&mut self, typed: &[u8], passed: &mut Vec<u8>) -> bool {
        for byte in typed {
            while self.held > 0 && *byte != self.keys[self.held] {
                // The first held key is none of the sequence; those behind it may begin another.
                passed.push(self.keys[0]);
                let rest = self.keys[1..self.held].to_vec();
                self.held = 0;
                self.pass(&rest, passed);
            }
            if *byte != self.keys[self.held] {
                passed.push(*byte);
                continue;
            }
            self.held += 1;
            if self.held == self.keys.len() {
                self.held = 0;
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_as_docker_names_them() {
        assert_eq!("ctrl-p,ctrl-q".parse(), Ok(DetachKeys::default()));
        let keys = |text: &str| text.parse::<DetachKeys>().map(|keys| keys.keys);
        assert_eq!(
            keys("ctrl-@,ctrl-[,ctrl-\\,ctrl-],ctrl-^,ctrl-_,x"),
            Ok(vec![0, 27, 28, 29, 30, 31, b'x'])
        );
        for wrong in ["", "ctrl-", "ctrl-A", "ctrl-1", "ctrl-p,", "xy", "ü"] {
            assert!(keys(wrong).unwrap_err().to_string().starts_with("invalid detach keys ("), "{wrong}");
        }
    }

    fn pass(keys: &str, pieces: &[&[u8]]) -> (Vec<u8>, bool) {
        let mut watch = Watch::new(&keys.parse().unwrap());
        let mut passed = Vec::new();
        let found = pieces.iter().any(|piece| watch.pass(piece, &mut passed));
        (passed, found)
    }

    #[test]
    fn the_sequence_is_found_however_it_is_typed_and_the_rest_is_passed_on() {
        type Case = (&'static str, &'static [&'static [u8]], &'static [u8], bool);
        let cases: [Case; 9] = [
            ("a,b", &[b"xaby"], b"x", true),
            ("a,b", &[b"a", b"b"], b"", true),
            ("a,b", &[b"a", b"c"], b"ac", false),
            ("a,b", &[b"aab"], b"a", true),
            ("a,b", &[b"a"], b"", false),
            ("a,a,b", &[b"aaab"], b"a", true),
            ("a,b,a,c", &[b"ababac"], b"ab", true),
            ("a,a,a", &[b"aabaa"], b"aab", false),
            ("q", &[b"abq"], b"ab", true),
        ];
        for (keys, pieces, passed, found) in cases {
            assert_eq!(pass(keys, pieces), (passed.to_vec(), found), "{keys} {pieces:?}");
        }
    }
}
