//! The simple ones of Go's templates, as `docker inspect --format` takes them: text with `{{.Path.To.Value}}` and
//! `{{json .Path}}` in it. What is more than that is the docker client's to print.

use serde_json::Value;
use thiserror::Error;

/// Why a template is not understood, or does not fit what it is of.
#[derive(Debug, PartialEq, Eq, Error)]
pub(crate) enum TemplateError {
    /// An action without its end.
    #[error("the template has a {{{{ without }}}}")]
    Open,
    /// More than a path.
    #[error(
        "the template's {{{{{0}}}}} is not understood: {{{{.Path.To.Value}}}} and {{{{json .Path}}}} are"
    )]
    Action(String),
    /// There is no such value.
    #[error("the template's {0} is not there")]
    Missing(String),
    /// Go prints these in a way of its own.
    #[error("the template's {0} is an object: {{{{json {0}}}}} prints it")]
    Object(String),
}

/// A template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    /// A value by its names; printed as JSON, or as text.
    Value {
        path: Vec<String>,
        json: bool,
    },
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// [`TemplateError::Open`] and [`TemplateError::Action`].
    pub(crate) fn parse(text: &str) -> Result<Self, TemplateError> {
        let (mut pieces, mut rest) = (Vec::new(), text);
        while let Some((before, after)) = rest.split_once("{{") {
            pieces.push(Piece::Text(before.to_owned()));
            let (action, behind) = after.split_once("}}").ok_or(TemplateError::Open)?;
            pieces.push(parse_action(action).ok_or_else(|| TemplateError::Action(action.to_owned()))?);
            rest = behind;
        }
        pieces.push(Piece::Text(rest.to_owned()));
        Ok(Self(pieces))
    }

    /// The text for a document.
    ///
    /// # Errors
    /// [`TemplateError::Missing`] and [`TemplateError::Object`].
    pub(crate) fn render(&self, document: &Value) -> Result<String, TemplateError> {
        let mut text = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(piece) => text.push_str(piece),
                Piece::Value { path, json } => {
                    let shown = || format!(".{}", path.join("."));
                    let value = path.iter().try_fold(document, |value, name| value.get(name));
                    let value = value.ok_or_else(|| TemplateError::Missing(shown()))?;
                    let printed = if *json { Some(value.to_string()) } else { plain(value) };
                    text.push_str(&printed.ok_or_else(|| TemplateError::Object(shown()))?);
                }
            }
        }
        Ok(text)
    }
}

fn parse_action(action: &str) -> Option<Piece> {
    let action = action.trim();
    let (json, path) = match action.strip_prefix("json ") {
        Some(path) => (true, path.trim_start()),
        None => (false, action),
    };
    let names = path.strip_prefix('.')?;
    let is_name = |name: &str| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    let path: Vec<String> =
        if names.is_empty() { Vec::new() } else { names.split('.').map(str::to_owned).collect() };
    path.iter().all(|name| is_name(name)).then_some(Piece::Value { path, json })
}

/// As Go prints a value; `None` for objects and what holds some.
fn plain(value: &Value) -> Option<String> {
    match value {
        Value::Null => Some("<nil>".to_owned()),
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        Value::Array(items) => {
            let items = items.iter().map(plain).collect::<Option<Vec<_>>>()?;
            Some(format!("[{}]", items.join(" ")))
        }
        Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn render(text: &str) -> Result<String, TemplateError> {
        let document = json!({
            "Name": "/web",
            "State": { "Status": "running", "Pid": 7, "Paused": false, "Health": null },
            "Args": ["-c", "sleep 1"],
        });
        Template::parse(text)?.render(&document)
    }

    #[test]
    fn paths_print_as_go_prints_them() {
        for (text, printed) in [
            ("{{.State.Status}}", "running"),
            ("{{ .Name }}: {{.State.Pid}} {{.State.Paused}} {{.State.Health}}!", "/web: 7 false <nil>!"),
            ("{{.Args}}", "[-c sleep 1]"),
            ("{{json .Args}} {{json .State.Status}}", r#"["-c","sleep 1"] "running""#),
            ("{{json .State}}", r#"{"Health":null,"Paused":false,"Pid":7,"Status":"running"}"#),
            ("no action", "no action"),
            ("", ""),
        ] {
            assert_eq!(render(text).as_deref(), Ok(printed), "{text}");
        }
        assert!(render("{{json .}}").unwrap().starts_with("{\"Args\""));
    }

    #[test]
    fn what_is_more_than_a_path_is_refused() {
        for action in
            ["range .Args", "index .Args 0", ".Args | len", "", "Name", ".a..b", "json", ".Name -}} x {{"]
        {
            assert!(
                matches!(render(&format!("{{{{{action}}}}}")), Err(TemplateError::Action(_))),
                "{action}"
            );
        }
        assert_eq!(render("{{.Name"), Err(TemplateError::Open));
        assert_eq!(render("{{.State.Nope}}"), Err(TemplateError::Missing(".State.Nope".to_owned())));
        assert_eq!(render("{{.Name.x}}"), Err(TemplateError::Missing(".Name.x".to_owned())));
        let error = render("{{.State}}").unwrap_err();
        assert_eq!(error.to_string(), "the template's .State is an object: {{json .State}} prints it");
    }
}
