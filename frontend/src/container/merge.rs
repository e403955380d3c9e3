//! A client's `Config` and the image's become the container's, by Docker's rules.

use std::collections::HashMap;

use bollard_stubs::models::{ContainerConfig, HealthConfig};
use image::config::{Healthcheck, RunConfig};

/// What the container gets of the image where the client says nothing.
pub(super) fn with_image(config: &mut ContainerConfig, image: &RunConfig) {
    command(config, image);
    let env = config.env.get_or_insert_default();
    let name = |variable: &str| variable.split('=').next().unwrap_or_default().to_owned();
    let known: Vec<_> = env.iter().map(|variable| name(variable)).collect();
    env.extend(image.env.iter().filter(|variable| !known.contains(&name(variable))).cloned());
    let labels = config.labels.get_or_insert_default();
    for (name, value) in &image.labels {
        labels.entry(name.clone()).or_insert_with(|| value.clone());
    }
    if !image.exposed_ports.is_empty() || config.exposed_ports.is_some() {
        let ports = config.exposed_ports.get_or_insert_default();
        ports.extend(image.exposed_ports.keys().map(|port| (port.clone(), HashMap::new())));
    }
    if !image.volumes.is_empty() || config.volumes.is_some() {
        let volumes = config.volumes.get_or_insert_default();
        volumes.extend(image.volumes.keys().map(|path| (path.clone(), HashMap::new())));
    }
    let or = |text: &mut Option<String>, image: &str| {
        if text.as_deref().unwrap_or_default().is_empty() {
            *text = Some(image.to_owned());
        }
    };
    or(&mut config.user, &image.user);
    or(&mut config.working_dir, &image.working_dir);
    if !image.stop_signal.is_empty() {
        or(&mut config.stop_signal, &image.stop_signal);
    }
    health(config, image.healthcheck.as_ref());
}

/// A new entry point makes the image's command meaningless.
fn command(config: &mut ContainerConfig, image: &RunConfig) {
    let has_entrypoint = config.entrypoint.as_ref().is_some_and(|words| !words.is_empty());
    if has_entrypoint {
        return;
    }
    if config.cmd.as_ref().is_none_or(Vec::is_empty) {
        config.cmd = (!image.cmd.is_empty()).then(|| image.cmd.clone());
    }
    if config.entrypoint.is_none() {
        config.entrypoint = (!image.entrypoint.is_empty()).then(|| image.entrypoint.clone());
    }
}

/// Program and arguments. One empty word is no entry point.
pub(super) fn words(config: &ContainerConfig) -> Vec<String> {
    let entrypoint = config.entrypoint.iter().flatten();
    let is_none = config.entrypoint.as_ref().is_some_and(|words| words.as_slice() == [""]);
    entrypoint.filter(|_| !is_none).chain(config.cmd.iter().flatten()).cloned().collect()
}

fn health(config: &mut ContainerConfig, image: Option<&Healthcheck>) {
    let Some(image) = image else { return };
    let wanted = config.healthcheck.get_or_insert_default();
    if wanted.test.as_ref().is_none_or(Vec::is_empty) {
        wanted.test = Some(image.test.clone());
    }
    let or = |number: &mut Option<i64>, image: i64| {
        if number.unwrap_or_default() == 0 && image != 0 {
            *number = Some(image);
        }
    };
    let HealthConfig { interval, timeout, retries, start_period, start_interval, .. } = wanted;
    or(interval, image.interval);
    or(timeout, image.timeout);
    or(retries, image.retries);
    or(start_period, image.start_period);
    or(start_interval, image.start_interval);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(config: &str) -> (ContainerConfig, Vec<String>) {
        let image = RunConfig {
            entrypoint: vec!["/entry".into()],
            cmd: vec!["serve".into()],
            env: vec!["PATH=/bin".into(), "A=image".into()],
            user: "web".into(),
            labels: [("a".to_owned(), "image".to_owned()), ("b".to_owned(), "image".to_owned())].into(),
            ..RunConfig::default()
        };
        let mut config = serde_json::from_str(config).unwrap();
        with_image(&mut config, &image);
        let words = words(&config);
        (config, words)
    }

    #[test]
    fn entry_points_and_commands_are_dockers() {
        assert_eq!(merged("{}").1, ["/entry", "serve"]);
        assert_eq!(merged(r#"{"Cmd":["x"]}"#).1, ["/entry", "x"]);
        assert_eq!(merged(r#"{"Entrypoint":["sh"]}"#).1, ["sh"]);
        assert_eq!(merged(r#"{"Entrypoint":["sh"],"Cmd":["-c","x"]}"#).1, ["sh", "-c", "x"]);
        assert_eq!(merged(r#"{"Entrypoint":[""],"Cmd":["x"]}"#).1, ["x"]);
        assert_eq!(merged(r#"{"Entrypoint":[],"Cmd":["x"]}"#).1, ["x"]);
        assert!(merged(r#"{"Entrypoint":[""]}"#).1.is_empty());
    }

    #[test]
    fn the_clients_wishes_win() {
        let (config, _) = merged(r#"{"Env":["A=client"],"Labels":{"a":"client"},"User":""}"#);
        assert_eq!(config.env.unwrap(), ["A=client", "PATH=/bin"]);
        let labels = config.labels.unwrap();
        assert_eq!((labels["a"].as_str(), labels["b"].as_str()), ("client", "image"));
        assert_eq!(config.user.as_deref(), Some("web"));
    }
}
