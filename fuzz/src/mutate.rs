//! Damaged messages: a few changes to a message of the corpus.

use super::Random;

/// Texts in place of a number.
const NUMBERS: [&str; 12] = [
    "0",
    "-1",
    "1",
    "255",
    "256",
    "65536",
    "2147483648",
    "4294967296",
    "9223372036854775807",
    "18446744073709551615",
    "18446744073709551616",
    "1e999",
];

/// Bytes at which parsers have their borders.
const BYTES: [u8; 12] = [0, 1, 0x7f, 0x80, 0xff, b'\n', b'\r', b'"', b'\\', b'%', b' ', b'0'];

/// Changes a message of the corpus. The result has at most `max` bytes.
pub(super) fn mutate(random: &mut Random, corpus: &[Vec<u8>], words: &[Vec<u8>], max: usize) -> Vec<u8> {
    let pick =
        |random: &mut Random| corpus.get(random.below(corpus.len().max(1))).cloned().unwrap_or_default();
    let mut input = pick(random);
    for _ in 0..=random.size(5) {
        let start = random.below(input.len() + 1);
        let length = random.size(11).min(input.len() - start);
        let range = start..start + length;
        match random.below(11) {
            0 | 1 => change_byte(random, &mut input),
            2 => drop(input.splice(start..start, [random.byte()])),
            3 => drop(input.drain(range)),
            4 => {
                let again = input[range].to_vec();
                drop(input.splice(start..start, again));
            }
            5 => {
                let other = pick(random);
                let from = random.below(other.len() + 1);
                let to = from + random.below(other.len() - from + 1);
                drop(input.splice(range, other[from..to].iter().copied()));
            }
            6 if !words.is_empty() => {
                let word = words[random.below(words.len())].clone();
                let replaced =
                    if random.below(2) == 0 { start } else { (start + word.len()).min(input.len()) };
                drop(input.splice(start..replaced, word));
            }
            7 => change_number(random, &mut input, start),
            8 => change_length(random, &mut input, start),
            9 => input.truncate(start),
            _ => {
                let byte = BYTES[random.below(BYTES.len())];
                let count = 1 + random.size(12);
                drop(input.splice(range, std::iter::repeat_n(byte, count)));
            }
        }
        input.truncate(max);
    }
    input
}

fn change_byte(random: &mut Random, input: &mut [u8]) {
    if input.is_empty() {
        return;
    }
    let place = random.below(input.len());
    input[place] = match random.below(4) {
        0 => input[place] ^ 1 << random.below(8),
        1 => BYTES[random.below(BYTES.len())],
        2 => input[place].wrapping_add(1),
        _ => random.byte(),
    };
}

/// Replaces the next digits.
fn change_number(random: &mut Random, input: &mut Vec<u8>, start: usize) {
    let Some(begin) = input[start..].iter().position(u8::is_ascii_digit).map(|at| start + at) else { return };
    let length = input[begin..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    drop(input.splice(begin..begin + length, NUMBERS[random.below(NUMBERS.len())].bytes()));
}

/// Overwrites bytes as a binary length of either order.
fn change_length(random: &mut Random, input: &mut [u8], start: usize) {
    let value = match random.below(3) {
        0 => u64::MAX,
        1 => random.below(300) as u64,
        _ => 1 << random.below(64),
    };
    let width = 1 << random.below(4);
    let bytes = if random.below(2) == 0 {
        value.to_le_bytes()
    } else {
        value.rotate_left(64 - 8 * width).to_be_bytes()
    };
    for (place, byte) in input[start..].iter_mut().zip(bytes).take(width as usize) {
        *place = byte;
    }
}
