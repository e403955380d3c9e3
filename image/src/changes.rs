//! Lines of a Dockerfile that change what an image's containers run, as `docker commit --change` and `docker import
//! --change` take them.

use serde_json::{Map, Value, json};

/// Why a line changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// An instruction that needs a build, or none at all.
    #[error("{0} is not a valid change command")]
    Command(String),
    /// An instruction without what it needs.
    #[error("{0} requires at least one argument")]
    Empty(&'static str),
    /// Words that are no `NAME=VALUE`.
    #[error("Syntax error - can't find = in {0:?}. Must be of the form: name=value")]
    Pair(String),
    /// A port that is none.
    #[error("invalid containerPort: {0}")]
    Port(String),
    /// A health check that is none.
    #[error("{0}")]
    Health(String),
    /// A name that must not be empty.
    #[error("{0} names can not be blank")]
    Blank(&'static str),
}

/// Changes a configuration (Docker's `Config` of an image) by some lines.
///
/// # Errors
/// The first line that is not understood, in Docker's words where it has some.
pub fn apply(config: &mut Map<String, Value>, lines: &[String]) -> Result<(), ChangeError> {
    let lines = lines.iter().flat_map(|text| text.lines()).map(str::trim);
    for line in lines.filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        change(config, word, rest.trim())?;
    }
    Ok(())
}

fn change(config: &mut Map<String, Value>, word: &str, rest: &str) -> Result<(), ChangeError> {
    let needed = |name| if rest.is_empty() { Err(ChangeError::Empty(name)) } else { Ok(rest) };
    match word.to_ascii_uppercase().as_str() {
        "CMD" => {
            set(config, "Cmd", json!(command(rest)));
        }
        "ENTRYPOINT" => {
            set(config, "Entrypoint", json!(command(rest)));
        }
        "ENV" => env(config, needed("ENV")?)?,
        "LABEL" => {
            for (key, value) in pairs(needed("LABEL")?, "LABEL")? {
                object(config, "Labels").insert(key, json!(value));
            }
        }
        "EXPOSE" => {
            for word in needed("EXPOSE")?.split_whitespace() {
                for port in ports(word)? {
                    object(config, "ExposedPorts").insert(port, json!({}));
                }
            }
        }
        "USER" => set(config, "User", json!(needed("USER")?)),
        "WORKDIR" => {
            let dir = workdir(config, needed("WORKDIR")?);
            set(config, "WorkingDir", json!(dir));
        }
        "STOPSIGNAL" => set(config, "StopSignal", json!(needed("STOPSIGNAL")?)),
        "VOLUME" => {
            let paths = list(needed("VOLUME")?)
                .unwrap_or_else(|| rest.split_whitespace().map(str::to_owned).collect());
            for path in paths {
                object(config, "Volumes").insert(path, json!({}));
            }
        }
        "ONBUILD" => onbuild(config, needed("ONBUILD")?)?,
        "HEALTHCHECK" => {
            let check = health(needed("HEALTHCHECK")?)?;
            set(config, "Healthcheck", check);
        }
        other => return Err(ChangeError::Command(other.to_owned())),
    }
    Ok(())
}

fn set(config: &mut Map<String, Value>, key: &str, value: Value) {
    config.insert(key.to_owned(), value);
}

/// The object of a key, made where there is none.
fn object<'a>(config: &'a mut Map<String, Value>, key: &str) -> &'a mut Map<String, Value> {
    let value = config.entry(key).or_insert_with(|| json!({}));
    if !value.is_object() {
        *value = json!({});
    }
    match value {
        Value::Object(object) => object,
        _ => unreachable!("it has just been made one"),
    }
}

/// A list in JSON, or a line for the shell.
fn command(rest: &str) -> Vec<String> {
    list(rest).unwrap_or_else(|| match rest {
        "" => Vec::new(),
        line => ["/bin/sh", "-c", line].map(str::to_owned).to_vec(),
    })
}

fn list(rest: &str) -> Option<Vec<String>> {
    serde_json::from_str(rest).ok()
}

fn env(config: &mut Map<String, Value>, rest: &str) -> Result<(), ChangeError> {
    let mut variables: Vec<String> = match config.get("Env") {
        Some(Value::Array(list)) => list.iter().filter_map(|one| one.as_str().map(str::to_owned)).collect(),
        _ => Vec::new(),
    };
    for (key, value) in pairs(rest, "ENV")? {
        let line = format!("{key}={value}");
        match variables.iter_mut().find(|old| old.split('=').next() == Some(&key)) {
            Some(old) => *old = line,
            None => variables.push(line),
        }
    }
    set(config, "Env", json!(variables));
    Ok(())
}

/// `a=b "c d"=e f="g h"`, or the old form `a b c` for one pair.
fn pairs(rest: &str, what: &'static str) -> Result<Vec<(String, String)>, ChangeError> {
    let words = words(rest);
    let first = words.first().map_or("", String::as_str);
    let pairs = if first.contains('=') {
        let pair = |word: &String| {
            let (key, value) = word.split_once('=').ok_or_else(|| ChangeError::Pair(word.clone()))?;
            Ok((key.to_owned(), value.to_owned()))
        };
        words.iter().map(pair).collect::<Result<Vec<_>, _>>()?
    } else {
        let (key, value) =
            rest.split_once(char::is_whitespace).ok_or_else(|| ChangeError::Pair(rest.to_owned()))?;
        vec![(key.to_owned(), value.trim().to_owned())]
    };
    if pairs.iter().any(|(key, _)| key.is_empty()) { Err(ChangeError::Blank(what)) } else { Ok(pairs) }
}

/// Words with the quotes taken off; a backslash takes the next letter as it is.
fn words(text: &str) -> Vec<String> {
    let (mut words, mut word, mut begun, mut quote) = (Vec::new(), String::new(), false, None);
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match (quote, letter) {
            (None, letter) if letter.is_whitespace() => {
                if std::mem::take(&mut begun) {
                    words.push(std::mem::take(&mut word));
                }
                continue;
            }
            (None, '"' | '\'') => quote = Some(letter),
            (Some(open), letter) if open == letter => quote = None,
            (None | Some('"'), '\\') => word.extend(letters.next()),
            (_, letter) => word.push(letter),
        }
        begun = true;
    }
    words.extend(begun.then_some(word));
    words
}

/// `80`, `80/udp`, `8000-8003/tcp`, with an address of the host before it or not.
fn ports(word: &str) -> Result<Vec<String>, ChangeError> {
    let bad = || ChangeError::Port(word.to_owned());
    let (numbers, protocol) = word.split_once('/').unwrap_or((word, "tcp"));
    let protocol = protocol.to_ascii_lowercase();
    if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return Err(bad());
    }
    let numbers = numbers.rsplit(':').next().unwrap_or(numbers);
    let (first, last) = numbers.split_once('-').unwrap_or((numbers, numbers));
    let (first, last): (u16, u16) = (first.parse().map_err(|_| bad())?, last.parse().map_err(|_| bad())?);
    if first > last || first == 0 {
        return Err(bad());
    }
    Ok((first..=last).map(|port| format!("{port}/{protocol}")).collect())
}

fn workdir(config: &Map<String, Value>, dir: &str) -> String {
    if dir.starts_with('/') {
        return dir.to_owned();
    }
    let before = config.get("WorkingDir").and_then(Value::as_str).unwrap_or_default();
    format!("{}/{dir}", if before == "/" { "" } else { before })
}

fn onbuild(config: &mut Map<String, Value>, rest: &str) -> Result<(), ChangeError> {
    let word = rest.split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
    if matches!(word.as_str(), "ONBUILD" | "FROM" | "MAINTAINER") {
        return Err(ChangeError::Command(format!("ONBUILD {word}")));
    }
    match config.entry("OnBuild").or_insert_with(|| json!([])) {
        Value::Array(list) => list.push(json!(rest)),
        other => *other = json!([rest]),
    }
    Ok(())
}

/// `NONE`, or `[--interval=… …] CMD …`.
fn health(rest: &str) -> Result<Value, ChangeError> {
    let mut check = Map::new();
    let mut rest = rest;
    while let Some(option) = rest.strip_prefix("--") {
        let (word, after) = option.split_once(char::is_whitespace).unwrap_or((option, ""));
        let bad = || ChangeError::Health(format!("Unknown flag: {}", word.split('=').next().unwrap_or(word)));
        let (name, value) = word.split_once('=').ok_or_else(bad)?;
        let key = match name {
            "interval" => "Interval",
            "timeout" => "Timeout",
            "start-period" => "StartPeriod",
            "start-interval" => "StartInterval",
            "retries" => "Retries",
            _ => return Err(bad()),
        };
        let wrong = || ChangeError::Health(format!("invalid value {value:?} of --{name}"));
        let number = if name == "retries" { value.parse::<i64>().ok() } else { nanoseconds(value) };
        check.insert(key.to_owned(), json!(number.filter(|number| *number >= 0).ok_or_else(wrong)?));
        rest = after.trim_start();
    }
    let (kind, line) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let test = match kind.to_ascii_uppercase().as_str() {
        "NONE" if line.trim().is_empty() => vec!["NONE".to_owned()],
        "NONE" => return Err(ChangeError::Health("HEALTHCHECK NONE takes no arguments".to_owned())),
        "CMD" if line.trim().is_empty() => {
            return Err(ChangeError::Health("Missing command after HEALTHCHECK CMD".to_owned()));
        }
        "CMD" => match list(line.trim()) {
            Some(words) => ["CMD".to_owned()].into_iter().chain(words).collect(),
            None => vec!["CMD-SHELL".to_owned(), line.trim().to_owned()],
        },
        other => return Err(ChangeError::Health(format!("Unknown type {other:?} in HEALTHCHECK (try CMD)"))),
    };
    check.insert("Test".to_owned(), json!(test));
    Ok(Value::Object(check))
}

/// A duration as Go writes it, `1m30s` or `500ms`, in nanoseconds; `None` for anything else.
#[must_use]
pub fn nanoseconds(text: &str) -> Option<i64> {
    let mut total = 0_f64;
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.')?;
        let number: f64 = rest[..end].parse().ok()?;
        let after = &rest[end..];
        let unit = after.find(|letter: char| letter.is_ascii_digit() || letter == '.').unwrap_or(after.len());
        let scale = match &after[..unit] {
            "ns" => 1.0,
            "us" | "µs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            _ => return None,
        };
        total += number * scale;
        rest = &after[unit..];
    }
    // Two centuries at most.
    #[expect(clippy::cast_possible_truncation, reason = "in range")]
    (!text.is_empty() && total < 6.4e18).then_some(total as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(before: Value, lines: &[&str]) -> Result<Value, ChangeError> {
        let mut config = before.as_object().unwrap().clone();
        let lines: Vec<_> = lines.iter().map(|&line| line.to_owned()).collect();
        apply(&mut config, &lines).map(|()| Value::Object(config))
    }

    #[test]
    fn instructions_change_the_configuration() {
        let before =
            json!({"Env": ["PATH=/bin", "A=1"], "WorkingDir": "/srv", "Cmd": ["old"], "Labels": null});
        let lines = [
            r#"CMD ["run", "it"]"#,
            "entrypoint exec /init",
            r#"ENV A=2 B="two words" C=a\ b"#,
            "ENV old form of it",
            "LABEL one=1 'two'='2 2'",
            "EXPOSE 80 53/udp 8000-8001/TCP",
            "USER 1000:1000\nWORKDIR data",
            r#"VOLUME ["/a"]"#,
            "VOLUME /b /c",
            "STOPSIGNAL SIGINT",
            "ONBUILD RUN true",
            "HEALTHCHECK --interval=1m30s --timeout=500ms --retries=3 CMD curl -f http://localhost/",
        ];
        let after = changed(before, &lines).unwrap();
        let expected = json!({
            "Env": ["PATH=/bin", "A=2", "B=two words", "C=a b", "old=form of it"],
            "WorkingDir": "/srv/data",
            "Cmd": ["run", "it"],
            "Entrypoint": ["/bin/sh", "-c", "exec /init"],
            "Labels": {"one": "1", "two": "2 2"},
            "ExposedPorts": {"80/tcp": {}, "53/udp": {}, "8000/tcp": {}, "8001/tcp": {}},
            "User": "1000:1000",
            "Volumes": {"/a": {}, "/b": {}, "/c": {}},
            "StopSignal": "SIGINT",
            "OnBuild": ["RUN true"],
            "Healthcheck": {
                "Interval": 90_000_000_000_i64, "Timeout": 500_000_000, "Retries": 3,
                "Test": ["CMD-SHELL", "curl -f http://localhost/"],
            },
        });
        assert_eq!(after, expected);
    }

    #[test]
    fn what_is_no_change_is_refused() {
        for (line, error) in [
            ("FROM x", "FROM is not a valid change command"),
            ("run x", "RUN is not a valid change command"),
            ("ENV", "ENV requires at least one argument"),
            ("LABEL a", "Syntax error - can't find = in \"a\". Must be of the form: name=value"),
            ("ENV a=b c", "Syntax error - can't find = in \"c\". Must be of the form: name=value"),
            ("ENV =x", "ENV names can not be blank"),
            ("EXPOSE 70000", "invalid containerPort: 70000"),
            ("EXPOSE 9-1", "invalid containerPort: 9-1"),
            ("ONBUILD FROM x", "ONBUILD FROM is not a valid change command"),
            ("HEALTHCHECK --every=1s CMD x", "Unknown flag: every"),
            ("HEALTHCHECK CMD", "Missing command after HEALTHCHECK CMD"),
        ] {
            assert_eq!(changed(json!({}), &[line]).unwrap_err().to_string(), error, "{line}");
        }
    }
}
