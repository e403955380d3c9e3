//! Runs a parser on damaged messages (docs/testing.md, "Fuzzing"): for tests of the other crates.
//!
//! As a plain test it tries a fixed number of inputs, the same ones at each run. With `FUZZ_SECONDS` it goes on for that
//! time from another seed each time. Compilers without a nightly's instrumentation cannot say which code an input has
//! reached, so a parser tells what it made of it, as a number: inputs with new numbers are the seeds of further ones.
#![forbid(unsafe_code)]

mod mutate;
mod panics;
mod random;
mod watch;

use std::collections::HashSet;
use std::fmt::Debug;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::time::{Duration, Instant};

pub use random::Random;

use watch::Watch;

/// Inputs kept as seeds of others.
const CORPUS_MAX: usize = 4096;

/// The longest input, in bytes.
const INPUT_MAX: usize = 64 << 10;

/// A parser's inputs.
#[derive(Debug)]
pub struct Fuzz {
    name: &'static str,
    seeds: Vec<Vec<u8>>,
    words: Vec<Vec<u8>>,
    iterations: u64,
}

/// A number for what a parser made of an input: equal for equal ones.
#[must_use]
pub fn shape(made: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    made.hash(&mut hasher);
    hasher.finish()
}

impl Fuzz {
    /// Inputs made of sound messages. The name is that of the folder where damaging ones are put.
    #[must_use]
    pub fn new<S: AsRef<[u8]>>(name: &'static str, seeds: impl IntoIterator<Item = S>) -> Self {
        let seeds: Vec<_> = seeds.into_iter().map(|seed| seed.as_ref().to_vec()).collect();
        Self { name, seeds, words: Vec::new(), iterations: 20_000 }
    }

    /// Words of the format, to be put anywhere.
    #[must_use]
    pub fn words<W: AsRef<[u8]>>(mut self, words: impl IntoIterator<Item = W>) -> Self {
        self.words.extend(words.into_iter().map(|word| word.as_ref().to_vec()));
        self
    }

    /// The number of inputs of a plain test.
    #[must_use]
    pub fn iterations(mut self, iterations: u64) -> Self {
        self.iterations = iterations;
        self
    }

    /// Tries inputs. What the parser returns tells inputs apart, see [`shape`].
    ///
    /// # Panics
    /// When the parser panics, with the name of the file that has the input. `FUZZ_INPUT` names one to be tried alone.
    pub fn run(self, mut parser: impl FnMut(&[u8]) -> u64) {
        if let Some(file) = std::env::var_os("FUZZ_INPUT") {
            let input =
                fs::read(&file).unwrap_or_else(|error| panic!("cannot read {}: {error}", file.display()));
            println!("{}: made {:#x}", self.name, parser(&input));
            return;
        }
        let time = seconds("FUZZ_SECONDS").map(Duration::from_secs);
        let seed = seconds("FUZZ_SEED").unwrap_or_else(|| if time.is_some() { random::fresh() } else { 1 });
        let watch = time.map(|_time| Watch::new(self.folder()));
        let mut state = State { corpus: self.seeds.clone(), shapes: HashSet::new(), tried: 0 };
        println!("{}: FUZZ_SEED={seed}", self.name);
        for input in self.seeds.iter().cloned().chain(self.kept()) {
            self.try_input(&mut parser, &mut state, input, watch.as_ref());
        }
        let (mut random, began) = (Random::new(seed), Instant::now());
        loop {
            let done = match time {
                Some(time) => began.elapsed() >= time,
                None => state.tried >= self.iterations,
            };
            if done {
                break;
            }
            let input = mutate::mutate(&mut random, &state.corpus, &self.words, INPUT_MAX);
            self.try_input(&mut parser, &mut state, input, watch.as_ref());
        }
        println!("{}: {} inputs, {} of them told apart", self.name, state.tried, state.shapes.len());
    }

    fn try_input(
        &self,
        parser: &mut impl FnMut(&[u8]) -> u64,
        state: &mut State,
        input: Vec<u8>,
        watch: Option<&Watch>,
    ) {
        if let Some(watch) = watch {
            watch.begin(&input);
        }
        let made = panics::catch(|| parser(&input)).unwrap_or_else(|message| {
            let file = self.folder().join(format!("crash-{:016x}", shape(&input)));
            // The message says what it can: a test that failed must not fail for want of a folder.
            let saved = fs::create_dir_all(self.folder()).and_then(|()| fs::write(&file, &input));
            panic!(
                "{}: {message}\nFUZZ_INPUT={} ({saved:?}): {}",
                self.name,
                file.display(),
                input.escape_ascii()
            );
        });
        state.tried += 1;
        if state.shapes.insert(made) && state.corpus.len() < CORPUS_MAX {
            if watch.is_some() {
                self.keep(&input);
            }
            state.corpus.push(input);
        }
    }

    /// Where inputs of this parser are.
    fn folder(&self) -> PathBuf {
        let target = std::env::var_os("CARGO_TARGET_DIR")
            .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target")), PathBuf::from);
        target.join("fuzz").join(self.name)
    }

    /// Inputs that earlier long runs found worth keeping. A plain test is the same at each run, so it takes none.
    fn kept(&self) -> Vec<Vec<u8>> {
        let long = seconds("FUZZ_SECONDS").is_some();
        let files = long.then(|| fs::read_dir(self.folder()).ok()).flatten();
        files
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|file| fs::read(file.path()).ok())
            .take(CORPUS_MAX)
            .collect()
    }

    fn keep(&self, input: &[u8]) {
        let folder = self.folder();
        // The next long run begins with less.
        let _kept = fs::create_dir_all(&folder)
            .and_then(|()| fs::write(folder.join(format!("{:016x}", shape(input))), input));
    }
}

struct State {
    corpus: Vec<Vec<u8>>,
    shapes: HashSet<u64>,
    tried: u64,
}

fn seconds(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_not_a_number| panic!("{name}={text} is no number")))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Something that breaks on one word only, which no seed has.
    fn fragile(input: &[u8]) -> u64 {
        assert!(!input.starts_with(b"GE<"), "broken");
        shape(input.iter().zip(b"GE<").take_while(|(byte, wanted)| byte == wanted).count())
    }

    fn failure(fuzz: Fuzz) -> Option<String> {
        let failed = std::panic::catch_unwind(|| fuzz.run(fragile)).err()?;
        Some(failed.downcast_ref::<String>().unwrap().clone())
    }

    #[test]
    fn what_breaks_a_parser_is_found_step_by_step_and_saved() {
        let failure = failure(Fuzz::new("self-test", ["POST /"]).iterations(400_000)).unwrap();
        let file = failure.split("FUZZ_INPUT=").nth(1).unwrap().split(' ').next().unwrap();
        assert!(fs::read(file).unwrap().starts_with(b"GE<"), "{failure}");
        fs::remove_file(file).unwrap();
        assert!(failure.contains("broken"), "{failure}");
    }

    #[test]
    fn runs_are_the_same() {
        let inputs = || {
            let mut inputs = Vec::new();
            Fuzz::new("self-test", ["some seed", "another"]).words(["word"]).iterations(500).run(|input| {
                inputs.push(input.to_vec());
                shape(input.len())
            });
            inputs
        };
        let first = inputs();
        assert_eq!((first.len(), &first), (500, &inputs()));
        assert!(first.iter().all(|input| input.len() <= INPUT_MAX));
        assert!(first.iter().any(|input| input.windows(4).any(|bytes| bytes == b"word")));
    }

    #[test]
    fn a_panic_that_somebody_contains_counts() {
        let run = || {
            Fuzz::new("self-test", ["x"]).iterations(1).run(|_| {
                let _contained = std::panic::catch_unwind(|| panic!("wanted by the test"));
                0
            });
        };
        assert!(std::panic::catch_unwind(run).is_err());
    }
}
