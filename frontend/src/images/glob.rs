//! Patterns for names of images, as Go's `path.Match` has them: `*` and `?` stop at a slash.

/// Whether a pattern matches a text as a whole; `None`: it is malformed.
pub(super) fn matches(pattern: &str, text: &str) -> Option<bool> {
    let pattern = parse(pattern)?;
    // The states that are reached behind each letter: bounded by the pattern's length.
    let mut states = vec![false; pattern.len() + 1];
    states[0] = true;
    widen(&pattern, &mut states);
    for letter in text.chars() {
        let mut next = vec![false; states.len()];
        for (at, part) in pattern.iter().enumerate().filter(|(at, _)| states[*at]) {
            match part {
                Part::Any => next[at] |= letter != '/',
                Part::One => next[at + 1] |= letter != '/',
                Part::Letter(wanted) => next[at + 1] |= letter == *wanted,
                Part::Class(not, ranges) => {
                    let within = ranges.iter().any(|(low, high)| (*low..=*high).contains(&letter));
                    next[at + 1] |= letter != '/' && within != *not;
                }
            }
        }
        widen(&pattern, &mut next);
        states = next;
    }
    states.last().copied()
}

/// A star may also stand for nothing.
fn widen(pattern: &[Part], states: &mut [bool]) {
    for (at, part) in pattern.iter().enumerate() {
        if states[at] && matches!(part, Part::Any) {
            states[at + 1] = true;
        }
    }
}

enum Part {
    Any,
    One,
    Letter(char),
    Class(bool, Vec<(char, char)>),
}

fn parse(pattern: &str) -> Option<Vec<Part>> {
    let mut parts = Vec::new();
    let mut letters = pattern.chars().peekable();
    while let Some(letter) = letters.next() {
        parts.push(match letter {
            '*' => Part::Any,
            '?' => Part::One,
            '\\' => Part::Letter(letters.next()?),
            '[' => {
                let not = letters.next_if_eq(&'^').is_some();
                let mut ranges = Vec::new();
                while ranges.is_empty() || letters.next_if_eq(&']').is_none() {
                    let low = class_letter(&mut letters)?;
                    let high =
                        if letters.next_if_eq(&'-').is_some() { class_letter(&mut letters)? } else { low };
                    ranges.push((low, high));
                }
                Part::Class(not, ranges)
            }
            letter => Part::Letter(letter),
        });
    }
    Some(parts)
}

fn class_letter(letters: &mut impl Iterator<Item = char>) -> Option<char> {
    match letters.next()? {
        '\\' => letters.next(),
        '-' | ']' => None,
        letter => Some(letter),
    }
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns_are_gos() {
        for (pattern, text, wanted) in [
            ("alpine", "alpine", Some(true)),
            ("alp*", "alpine:3.19", Some(true)),
            ("*", "a/b", Some(false)),
            ("*/b", "a/b", Some(true)),
            ("a?c", "abc", Some(true)),
            ("a?c", "a/c", Some(false)),
            ("[a-c]x", "bx", Some(true)),
            ("[^a-c]x", "bx", Some(false)),
            ("a\\*", "a*", Some(true)),
            ("**b", "aab", Some(true)),
            ("", "", Some(true)),
            ("[", "a", None),
            ("[]", "a", None),
            ("[a-]", "a", None),
            ("a\\", "a", None),
        ] {
            assert_eq!(matches(pattern, text), wanted, "{pattern} {text}");
        }
        // Nothing that takes long.
        assert_eq!(matches(&"*a".repeat(200), &"a".repeat(199)), Some(false));
    }
}
