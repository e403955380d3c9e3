//! Every crate that we link has a licence that Apache-2.0 software may ship with.

use crate::graph::crates;

/// Licences without conditions on the rest of a program.
const ALLOWED: [&str; 12] = [
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "Unicode-3.0",
    "Zlib",
];

/// Whether an SPDX expression (`A OR (B AND C)`, or the old `A/B`) can be met by [`ALLOWED`] licences.
fn acceptable(expression: &str) -> bool {
    let spaced =
        expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ").replace(" WITH ", "+WITH+");
    let tokens: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = tokens.as_slice();
    either(&mut rest) == Some(true) && rest.is_empty()
}

/// `A OR B`; `None` where it is no expression, as in the next two.
fn either(rest: &mut &[&str]) -> Option<bool> {
    let mut good = both(rest)?;
    while rest.first() == Some(&"OR") {
        *rest = &rest[1..];
        good |= both(rest)?;
    }
    Some(good)
}

fn both(rest: &mut &[&str]) -> Option<bool> {
    let mut good = one(rest)?;
    while rest.first() == Some(&"AND") {
        *rest = &rest[1..];
        good &= one(rest)?;
    }
    Some(good)
}

fn one(rest: &mut &[&str]) -> Option<bool> {
    let (token, tail) = rest.split_first()?;
    *rest = tail;
    if *token != "(" {
        return Some(ALLOWED.contains(&token.replace("+WITH+", " WITH ").as_str()));
    }
    let good = either(rest)?;
    let (token, tail) = rest.split_first()?;
    *rest = tail;
    (*token == ")").then_some(good)
}

#[test]
fn all_licences_are_acceptable() {
    let bad: Vec<String> = crates()
        .iter()
        .filter(|krate| !acceptable(&krate.licence))
        .map(|krate| format!("{} {}: {:?}", krate.name, krate.version, krate.licence))
        .collect();
    assert!(bad.is_empty(), "{bad:#?}");
}

#[test]
fn expressions_are_read_as_spdx_does() {
    for good in ["MIT", "MIT/GPL-2.0", "GPL-3.0 OR (MIT AND ISC)", "(MIT OR GPL-2.0) AND Unicode-3.0"] {
        assert!(acceptable(good), "{good}");
    }
    for bad in
        ["", "GPL-2.0", "MIT AND GPL-2.0", "GPL-2.0 OR (MIT AND LGPL-2.1)", "MIT OR", "(MIT", "MIT MIT"]
    {
        assert!(!acceptable(bad), "{bad}");
    }
}
