//! Names of containers: those that Docker allows, and those it makes up where nobody says, an adjective and a surname.

use std::io;

use vdocker::EngineError;

use super::registry::Containers;

const ADJECTIVES: [&str; 64] = [
    "able", "airy", "amber", "ample", "apt", "arctic", "azure", "balmy", "blithe", "bold", "brisk", "calm",
    "candid", "cheery", "civil", "clear", "cosy", "crisp", "daring", "deft", "early", "earnest", "fair",
    "fleet", "fond", "frank", "fresh", "gentle", "glad", "golden", "hardy", "hearty", "humble", "ideal",
    "jolly", "just", "keen", "kind", "lively", "loyal", "lucid", "mellow", "merry", "mild", "neat", "noble",
    "patient", "placid", "polite", "proud", "quick", "quiet", "ready", "serene", "sharp", "silent", "sober",
    "steady", "sunny", "swift", "tidy", "vivid", "warm", "wise",
];

/// People of mathematics, computing and the sciences.
const SURNAMES: [&str; 64] = [
    "abel",
    "ampere",
    "babbage",
    "banach",
    "bernoulli",
    "bohr",
    "boole",
    "cantor",
    "cauchy",
    "cavendish",
    "chatelet",
    "church",
    "curie",
    "dalton",
    "davy",
    "dedekind",
    "descartes",
    "dijkstra",
    "dirac",
    "euclid",
    "euler",
    "faraday",
    "fermat",
    "fermi",
    "fourier",
    "galois",
    "gauss",
    "germain",
    "godel",
    "hamilton",
    "herschel",
    "hertz",
    "hilbert",
    "hooke",
    "hopper",
    "huygens",
    "jacobi",
    "joule",
    "kepler",
    "kirchhoff",
    "kovalevskaya",
    "lagrange",
    "laplace",
    "leibniz",
    "linnaeus",
    "lovelace",
    "maxwell",
    "meitner",
    "mendel",
    "minkowski",
    "napier",
    "noether",
    "ohm",
    "pascal",
    "planck",
    "poincare",
    "ramanujan",
    "riemann",
    "shannon",
    "turing",
    "volta",
    "watt",
    "weierstrass",
    "wiles",
];

/// How often names without a number are tried.
const TRIES: usize = 6;

/// The name in Docker's form, without a slash.
///
/// # Errors
/// [`EngineError::BadRequest`] in Docker's words.
pub(super) fn checked(name: &str) -> Result<String, EngineError> {
    let bare = name.strip_prefix('/').unwrap_or(name);
    let mut bytes = bare.bytes();
    let begins = bytes.next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    let goes_on = bytes.all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
    if begins && goes_on && (2..=128).contains(&bare.len()) {
        return Ok(bare.to_owned());
    }
    Err(EngineError::BadRequest(format!(
        "Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"
    )))
}

/// Takes a free name for an id.
///
/// # Errors
/// The kernel gives no random bytes.
pub(super) fn made_up(containers: &Containers, id: &str) -> Result<String, EngineError> {
    for attempt in 0.. {
        let name =
            random(attempt).map_err(|error| EngineError::Failed(format!("cannot make a name: {error}")))?;
        if containers.take_name(&name, id).is_ok() {
            return Ok(name);
        }
    }
    Err(EngineError::Failed("there are no free names".to_owned()))
}

fn random(attempt: usize) -> io::Result<String> {
    let mut bytes = [0_u8; 3];
    let mut filled = 0;
    while filled < bytes.len() {
        filled += rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty())?;
    }
    let word = |words: &[&'static str; 64], byte: u8| words[usize::from(byte) % words.len()];
    let number = if attempt < TRIES { String::new() } else { (usize::from(bytes[2]) * attempt).to_string() };
    Ok(format!("{}_{}{number}", word(&ADJECTIVES, bytes[0]), word(&SURNAMES, bytes[1])))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_dockers() {
        assert_eq!(checked("/web").unwrap(), "web");
        assert_eq!(checked("a.b-c_9").unwrap(), "a.b-c_9");
        for name in ["", "/", "a", "-a", "a b", "a/b", "../x", "_a", &"x".repeat(129)] {
            assert!(checked(name).is_err(), "{name}");
        }
    }

    #[test]
    fn made_up_names_are_valid_and_never_run_out() {
        for words in [ADJECTIVES, SURNAMES] {
            assert_eq!(words.iter().collect::<BTreeSet<_>>().len(), words.len());
        }
        let containers = Containers::default();
        let names: BTreeSet<_> =
            (0..5000).map(|id: u32| made_up(&containers, &id.to_string()).unwrap()).collect();
        assert_eq!(names.len(), 5000);
        assert!(names.iter().all(|name| checked(name).is_ok()));
    }
}
