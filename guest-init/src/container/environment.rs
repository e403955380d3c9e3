//! The environment of a container's process: Docker's defaults, then the specification's entries.

use spec::ContainerSpec;

/// PATH where neither the image nor the user sets it.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Variables in order, each name once; a later value takes the earlier one's place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Environment(Vec<(String, String)>);

impl Environment {
    /// The environment of a process of the container, with `NAME=value` strings beyond the container's own, for a
    /// user with that home directory.
    pub(crate) fn new(spec: &ContainerSpec, tty: bool, more: &[String], home: &str) -> Self {
        let mut environment = Self(Vec::new());
        environment.set("PATH", DEFAULT_PATH);
        environment.set("HOSTNAME", &spec.hostname);
        if tty {
            environment.set("TERM", "xterm");
        }
        for variable in &spec.process.env {
            environment.set(&variable.name, &variable.value);
        }
        for variable in more {
            match variable.split_once('=') {
                Some((name, value)) => environment.set(name, value),
                // As Docker has it: the name alone takes the variable away.
                None => environment.0.retain(|(known, _)| known != variable),
            }
        }
        if environment.get("HOME").is_none_or(str::is_empty) {
            environment.set("HOME", home);
        }
        environment
    }

    /// The value of a variable.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// `NAME=value` strings for execve(2).
    pub(crate) fn strings(&self) -> impl Iterator<Item = String> + '_ {
        self.0.iter().map(|(name, value)| format!("{name}={value}"))
    }

    fn set(&mut self, name: &str, value: &str) {
        match self.0.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => value.clone_into(old),
            None => self.0.push((name.to_owned(), value.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::launch::tests::container;

    fn strings(spec: &ContainerSpec) -> Vec<String> {
        Environment::new(spec, spec.process.tty, &[], "/root").strings().collect()
    }

    #[test]
    fn defaults_are_dockers() {
        let mut spec = container("box");
        let path = format!("PATH={DEFAULT_PATH}");
        assert_eq!(strings(&spec), [path.as_str(), "HOSTNAME=box", "HOME=/root"]);
        spec.process.tty = true;
        assert_eq!(strings(&spec), [path.as_str(), "HOSTNAME=box", "TERM=xterm", "HOME=/root"]);
    }

    #[test]
    fn what_an_exec_brings_comes_last() {
        let mut spec = container("box");
        spec.process.env.push(spec::launch::EnvSpec {
            name: "A".into(),
            value: "1".into(),
            value_from: None,
        });
        let more = ["A=2".to_owned(), "B=".to_owned(), "HOSTNAME".to_owned()];
        let strings: Vec<_> = Environment::new(&spec, true, &more, "/root").strings().collect();
        assert_eq!(strings[1..], ["TERM=xterm", "A=2", "B=", "HOME=/root"]);
    }

    #[test]
    fn later_entries_win_in_the_earlier_ones_place() {
        let mut spec = container("box");
        for (name, value) in [("A", "1"), ("PATH", "/x"), ("HOME", "/h"), ("A", "2=3")] {
            spec.process.env.push(spec::launch::EnvSpec {
                name: name.into(),
                value: value.into(),
                value_from: None,
            });
        }
        assert_eq!(strings(&spec), ["PATH=/x", "HOSTNAME=box", "A=2=3", "HOME=/h"]);
    }
}
