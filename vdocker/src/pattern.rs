//! The regular expressions of the filters `name` and `id`, in Go's syntax but for its rarer parts: flags, classes by
//! name, `\b`. Takes time in proportion to pattern and text, whatever a client sends: all ways through a pattern are
//! followed at once.

mod parser;

/// The longest pattern in characters.
const MAX_LENGTH: usize = 256;

/// The most steps of a pattern: counted repetitions are written out.
const MAX_STEPS: usize = 512;

/// The most parts of a pattern that are looked at, those that are repeated counted as often.
const MAX_PARTS: usize = 4096;

/// A compiled pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(Vec<Step>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    One(Class),
    /// Goes on at both.
    Split(usize, usize),
    Start,
    End,
    Found,
}

/// Characters.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Class {
    ranges: Vec<(char, char)>,
    negated: bool,
}

impl Class {
    fn of(character: char) -> Self {
        Self { ranges: vec![(character, character)], negated: false }
    }

    const fn any() -> Self {
        Self { ranges: Vec::new(), negated: true }
    }

    fn has(&self, character: char) -> bool {
        self.negated != self.ranges.iter().any(|(first, last)| (*first..=*last).contains(&character))
    }
}

/// A part of a pattern.
enum Node {
    One(Class),
    Start,
    End,
    Sequence(Vec<Node>),
    Either(Vec<Node>),
    /// So many times; `None`: any number.
    Repeat(Box<Node>, u32, Option<u32>),
}

impl Pattern {
    /// Compiles a pattern; `None` for what it does not know.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.chars().count() > MAX_LENGTH {
            return None;
        }
        let mut compiler = Compiler { steps: Vec::new(), parts: 0 };
        compiler.emit(&parser::parse(text)?)?;
        compiler.step(Step::Found)?;
        Some(Self(compiler.steps))
    }

    /// Whether it is found in the text.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        let (mut characters, mut at_start, mut here) = (text.chars(), true, Vec::new());
        loop {
            let next = characters.next();
            here.push(0);
            let Some(wanting) = self.follow(here, at_start, next.is_none()) else { return true };
            let Some(next) = next else { return false };
            let takes = |at: &usize| matches!(&self.0[*at], Step::One(class) if class.has(next));
            here = wanting.into_iter().filter(takes).map(|at| at + 1).collect();
            at_start = false;
        }
    }

    /// The steps that want a character, reached from those without one; `None`: the end was reached.
    fn follow(&self, mut open: Vec<usize>, at_start: bool, at_end: bool) -> Option<Vec<usize>> {
        let (mut seen, mut wanting) = (vec![false; self.0.len()], Vec::new());
        while let Some(at) = open.pop() {
            if std::mem::replace(&mut seen[at], true) {
                continue;
            }
            match self.0[at] {
                Step::One(_) => wanting.push(at),
                Step::Split(one, other) => open.extend([one, other]),
                Step::Start if at_start => open.push(at + 1),
                Step::End if at_end => open.push(at + 1),
                Step::Start | Step::End => {}
                Step::Found => return None,
            }
        }
        Some(wanting)
    }
}

/// A pattern being written out. All fail where it gets too long.
struct Compiler {
    steps: Vec<Step>,
    parts: usize,
}

impl Compiler {
    fn step(&mut self, step: Step) -> Option<usize> {
        self.steps.push(step);
        (self.steps.len() <= MAX_STEPS).then(|| self.steps.len() - 1)
    }

    fn emit(&mut self, node: &Node) -> Option<()> {
        self.parts += 1;
        if self.parts > MAX_PARTS {
            return None;
        }
        match node {
            Node::One(class) => self.step(Step::One(class.clone())).map(drop),
            Node::Start => self.step(Step::Start).map(drop),
            Node::End => self.step(Step::End).map(drop),
            Node::Sequence(nodes) => nodes.iter().try_for_each(|node| self.emit(node)),
            Node::Either(nodes) => self.either(nodes),
            Node::Repeat(node, least, most) => self.repeat(node, *least, *most),
        }
    }

    fn either(&mut self, nodes: &[Node]) -> Option<()> {
        let mut ends = Vec::new();
        for node in nodes {
            let split = self.step(Step::Split(0, 0))?;
            self.emit(node)?;
            ends.push(self.step(Step::Split(0, 0))?);
            self.steps[split] = Step::Split(split + 1, self.steps.len());
        }
        // After the last there is no other.
        let nowhere = self.step(Step::One(Class { ranges: Vec::new(), negated: false }))?;
        for end in ends {
            self.steps[end] = Step::Split(nowhere + 1, nowhere + 1);
        }
        Some(())
    }

    fn repeat(&mut self, node: &Node, least: u32, most: Option<u32>) -> Option<()> {
        for _ in 0..least {
            self.emit(node)?;
        }
        let Some(most) = most else {
            let split = self.step(Step::Split(0, 0))?;
            self.emit(node)?;
            self.step(Step::Split(split, split))?;
            self.steps[split] = Step::Split(split + 1, self.steps.len());
            return Some(());
        };
        let mut splits = Vec::new();
        for _ in least..most {
            splits.push(self.step(Step::Split(0, 0))?);
            self.emit(node)?;
        }
        for split in splits {
            self.steps[split] = Step::Split(split + 1, self.steps.len());
        }
        Some(())
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
            ("web|db", "my-db", true),
            ("^(web|db)$", "db", true),
            ("^(web|db)$", "dbx", false),
            ("^(?:a|b|)+c$", "ababc", true),
            ("^(?P<n>a)(?<m>b)$", "ab", true),
            ("^web-[0-9]+$", "web-17", true),
            ("^web-[0-9]+$", "web-", false),
            ("^[^a-c]$", "b", false),
            ("^[^a-c]$", "d", true),
            ("^[]a-]+$", "a]-", true),
            (r"^[\d\-x]+$", "1-x", true),
            (r"^\w+\.\d{2,3}$", "ab_c.123", true),
            (r"^\w+\.\d{2,3}$", "ab.1234", false),
            (r"^\W\D\S$", "- a", true),
            (r"^\W\D\S$", "-1a", false),
            ("^a{2}$", "aa", true),
            ("^a{2}$", "aaa", false),
            ("^a{2,}$", "aaaa", true),
            ("^a{0}b$", "b", true),
            ("^a{,2}$", "a{,2}", true),
            ("^a+?b*?$", "aabb", true),
            ("a^|b$", "b", true),
            ("a$b", "ab", false),
            (r"\Aa\z", "a", true),
            ("(^a)*b", "cb", true),
            ("(a*)*c", "aac", true),
            ("()", "", true),
            ("}]", "}]", true),
        ] {
            assert_eq!(Pattern::parse(pattern).unwrap().matches(text), found, "{pattern:?} in {text:?}");
        }
    }

    #[test]
    fn refuses_what_it_does_not_know() {
        for pattern in [
            "*",
            "a**",
            "a|*",
            "(a",
            "a)",
            "[a",
            "[b-a]",
            "[[:alpha:]]",
            "(?i)a",
            "(?",
            r"\b",
            "\\",
            r"[\",
            "a{3,2}",
            "a{1001}",
            "((a{9}){9}){9}",
            "(((){999}){999}){999}",
        ] {
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
        let deep = "(".repeat(128) + &")".repeat(128);
        assert!(Pattern::parse(&deep).unwrap().matches(""));
        assert!(!Pattern::parse("^(a|a)*(a|a)*(a|a)*b$").unwrap().matches(&"a".repeat(10_000)));
    }
}
