//! A pattern's text taken apart.

use std::iter::Peekable;
use std::str::Chars;

use super::{Class, Node};

/// The most repetitions that can be counted, as in Go.
const MAX_REPEAT: u32 = 1000;

const DIGITS: &[(char, char)] = &[('0', '9')];
const WORDS: &[(char, char)] = &[('0', '9'), ('A', 'Z'), ('_', '_'), ('a', 'z')];
const SPACES: &[(char, char)] = &[('\t', '\n'), ('\u{c}', '\r'), (' ', ' ')];

/// Takes a pattern apart; `None` where it is not understood.
pub(super) fn parse(text: &str) -> Option<Node> {
    let mut parser = Parser(text.chars().peekable());
    let node = parser.either()?;
    // A bracket that nothing has opened.
    parser.0.next().is_none().then_some(node)
}

struct Parser<'t>(Peekable<Chars<'t>>);

impl Parser<'_> {
    fn either(&mut self) -> Option<Node> {
        let mut nodes = vec![self.sequence()?];
        while self.0.next_if_eq(&'|').is_some() {
            nodes.push(self.sequence()?);
        }
        if nodes.len() == 1 { nodes.pop() } else { Some(Node::Either(nodes)) }
    }

    fn sequence(&mut self) -> Option<Node> {
        let mut nodes = Vec::new();
        while let Some(character) = self.0.next_if(|next| !matches!(next, '|' | ')')) {
            let node = self.one(character)?;
            nodes.push(self.repeated(node)?);
        }
        Some(Node::Sequence(nodes))
    }

    fn one(&mut self, character: char) -> Option<Node> {
        Some(match character {
            '^' => Node::Start,
            '$' => Node::End,
            '.' => Node::One(Class::any()),
            '(' => self.group()?,
            '[' => Node::One(self.class()?),
            '\\' => match self.0.next()? {
                'A' => Node::Start,
                'z' => Node::End,
                escaped => Node::One(escape(escaped)?),
            },
            '*' | '+' | '?' => return None,
            literal => Node::One(Class::of(literal)),
        })
    }

    fn group(&mut self) -> Option<Node> {
        if self.0.next_if_eq(&'?').is_some() {
            // Names are of no use here; flags are not known.
            let named = self.0.next_if_eq(&'P').is_some();
            match self.0.next()? {
                ':' if !named => {}
                '<' => self
                    .0
                    .find(|next| !next.is_ascii_alphanumeric() && *next != '_')
                    .filter(|end| *end == '>')
                    .map(drop)?,
                _ => return None,
            }
        }
        let node = self.either()?;
        self.0.next_if_eq(&')').map(|_| node)
    }

    /// What is between brackets, the first of which is read.
    fn class(&mut self) -> Option<Class> {
        let negated = self.0.next_if_eq(&'^').is_some();
        let mut class = Class { ranges: Vec::new(), negated };
        let mut is_first = true;
        loop {
            match self.0.next()? {
                ']' if !is_first => return Some(class),
                '[' if self.0.peek() == Some(&':') => return None,
                first => self.range(first, &mut class)?,
            }
            is_first = false;
        }
    }

    fn range(&mut self, first: char, class: &mut Class) -> Option<()> {
        let first = if first == '\\' { escape(self.0.next()?)? } else { Class::of(first) };
        let mut ahead = self.0.clone();
        let is_range = ahead.next() == Some('-') && ahead.next().is_some_and(|last| last != ']');
        if !is_range {
            // A class that leaves out has no place among what is there.
            return (!first.negated).then(|| class.ranges.extend(first.ranges));
        }
        self.0.next();
        let last = match self.0.next()? {
            '\\' => escape(self.0.next()?)?,
            last => Class::of(last),
        };
        let range = (first.single()?, last.single()?);
        (range.0 <= range.1).then(|| class.ranges.push(range))
    }

    /// A part with the quantifier that may follow.
    fn repeated(&mut self, node: Node) -> Option<Node> {
        let (least, most) = match self.0.peek() {
            Some('*') => (0, None),
            Some('+') => (1, None),
            Some('?') => (0, Some(1)),
            Some('{') => match counted(self.0.clone()) {
                Some((least, most, rest)) => {
                    self.0 = rest;
                    return self.after(Node::Repeat(Box::new(node), least, most), least, most);
                }
                None => return Some(node),
            },
            _ => return Some(node),
        };
        self.0.next();
        self.after(Node::Repeat(Box::new(node), least, most), least, most)
    }

    /// Whether as much or as little as possible is taken makes no difference; two quantifiers make no sense.
    fn after(&mut self, node: Node, least: u32, most: Option<u32>) -> Option<Node> {
        self.0.next_if_eq(&'?');
        let again = matches!(self.0.peek(), Some('*' | '+' | '?'))
            || self.0.peek() == Some(&'{') && counted(self.0.clone()).is_some();
        let sound = least <= MAX_REPEAT && most.is_none_or(|most| (least..=MAX_REPEAT).contains(&most));
        (sound && !again).then_some(node)
    }
}

impl Class {
    /// The character, where it is one.
    fn single(&self) -> Option<char> {
        match self.ranges[..] {
            [(first, last)] if first == last && !self.negated => Some(first),
            _ => None,
        }
    }
}

/// `{2}`, `{2,}` and `{2,3}`, and what is behind; `None`: a bracket like any other character.
fn counted(mut text: Peekable<Chars<'_>>) -> Option<(u32, Option<u32>, Peekable<Chars<'_>>)> {
    fn number(text: &mut Peekable<Chars<'_>>) -> Option<u32> {
        let mut digits = String::new();
        while let Some(digit) = text.next_if(char::is_ascii_digit) {
            digits.push(digit);
        }
        (!digits.is_empty()).then(|| digits.parse().unwrap_or(u32::MAX))
    }
    text.next_if_eq(&'{')?;
    let least = number(&mut text)?;
    let most = match text.next_if_eq(&',') {
        Some(_) => number(&mut text),
        None => Some(least),
    };
    text.next_if_eq(&'}').map(|_| (least, most, text))
}

/// What stands behind a backslash.
fn escape(character: char) -> Option<Class> {
    let class = |ranges: &[(char, char)], negated| Some(Class { ranges: ranges.to_vec(), negated });
    match character {
        'd' => class(DIGITS, false),
        'D' => class(DIGITS, true),
        'w' => class(WORDS, false),
        'W' => class(WORDS, true),
        's' => class(SPACES, false),
        'S' => class(SPACES, true),
        punctuation if punctuation.is_ascii_punctuation() => Some(Class::of(punctuation)),
        _ => None,
    }
}
