//! The regular expressions of the filters `name` and `id`: literals, `.`, `^`, `$`, and `*`, `+`, `?` after a
//! character. Takes time in proportion to pattern and text, whatever a client sends.

/// The longest pattern in characters.
const MAX_LENGTH: usize = 256;

/// A compiled pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    at_start: bool,
    at_end: bool,
    items: Vec<Item>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Item {
    /// `None`: any character.
    character: Option<char>,
    optional: bool,
    repeated: bool,
}

impl Pattern {
    /// Compiles a pattern; `None` for groups, classes and other things that it does not know.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.chars().count() > MAX_LENGTH {
            return None;
        }
        let (at_start, rest) = text.strip_prefix('^').map_or((false, text), |rest| (true, rest));
        let mut pattern = Self { at_start, at_end: false, items: Vec::new() };
        let mut characters = rest.chars().peekable();
        while let Some(character) = characters.next() {
            let character = match character {
                '$' if characters.peek().is_none() => {
                    pattern.at_end = true;
                    break;
                }
                '.' => None,
                '\\' => Some(characters.next().filter(char::is_ascii_punctuation)?),
                '^' | '$' | '*' | '+' | '?' | '(' | ')' | '[' | ']' | '{' | '}' | '|' => return None,
                literal => Some(literal),
            };
            let quantifier = characters.next_if(|next| matches!(next, '*' | '+' | '?'));
            pattern.items.push(Item {
                character,
                optional: matches!(quantifier, Some('*' | '?')),
                repeated: matches!(quantifier, Some('*' | '+')),
            });
        }
        Some(pattern)
    }

    /// Whether it is found in the text.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        // `reached[n]`: the first n items match what ends here.
        let mut reached = vec![false; self.items.len() + 1];
        self.enter(&mut reached);
        for character in text.chars() {
            if !self.at_end && self.is_met(&reached) {
                return true;
            }
            let mut next = vec![false; reached.len()];
            for (index, item) in self.items.iter().enumerate() {
                if item.character.is_none_or(|wanted| wanted == character) {
                    next[index + 1] = reached[index] || (item.repeated && reached[index + 1]);
                }
            }
            if !self.at_start {
                next[0] = true;
            }
            self.skip_optional(&mut next);
            reached = next;
        }
        self.is_met(&reached)
    }

    fn enter(&self, reached: &mut [bool]) {
        reached[0] = true;
        self.skip_optional(reached);
    }

    fn skip_optional(&self, reached: &mut [bool]) {
        for (index, item) in self.items.iter().enumerate() {
            reached[index + 1] |= reached[index] && item.optional;
        }
    }

    fn is_met(&self, reached: &[bool]) -> bool {
        reached[self.items.len()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_regular_expressions_find() {
        for (pattern, text, found) in [
            ("", "", true),
            ("", "x", true),
            ("b", "abc", true),
            ("^b", "abc", false),
            ("^a", "abc", true),
            ("b$", "abc", false),
            ("^/?web$", "web", true),
            ("^/?web$", "/web", true),
            ("^web$", "web2", false),
            ("a.c", "xabcx", true),
            ("a.*c", "a--c", true),
            ("^a+$", "aaa", true),
            ("^a+$", "", false),
            ("^a*$", "", true),
            ("^a*b$", "aaab", true),
            (r"a\.b", "a.b", true),
            (r"a\.b", "axb", false),
            ("^$", "x", false),
            ("aab", "aaab", true),
        ] {
            assert_eq!(Pattern::parse(pattern).unwrap().matches(text), found, "{pattern:?} in {text:?}");
        }
    }

    #[test]
    fn refuses_what_it_does_not_know() {
        for pattern in ["a|b", "(a)", "[a]", "a{2}", "*", "a**", r"\d", "\\", "a^", "$a"] {
            assert_eq!(Pattern::parse(pattern), None, "{pattern:?}");
        }
        assert_eq!(Pattern::parse(&"a".repeat(MAX_LENGTH + 1)), None);
    }

    #[test]
    fn hostile_patterns_cost_little() {
        let pattern = Pattern::parse(&"a*".repeat(MAX_LENGTH / 2)).unwrap();
        assert!(pattern.matches(&"a".repeat(10_000)));
        let pattern = Pattern::parse(&("^".to_owned() + &"a*".repeat(100) + "b$")).unwrap();
        assert!(!pattern.matches(&"a".repeat(10_000)));
    }
}
