//! Names and types of all fields of the JSON answers, against the tables under `forms/`: clients with strict
//! models fail where one of them changes.

use serde_json::{Value, json};

use crate::pod::{Pod, spec_json};

/// A container that has a bit of everything, and one that has ended and has little.
fn pod() -> Pod {
    let mut spec = spec_json("web", &["sleep", "1000"]);
    spec["process"]["rlimits"] = json!([{ "name": "RLIMIT_NOFILE", "soft": 10, "hard": 20 }]);
    spec["process"]["noNewPrivileges"] = json!(true);
    spec["limits"] = json!({ "memory": 67_108_864, "pids": 10, "cpuMillis": 1500 });
    spec["mounts"] = json!([
        { "guestPath": "/data", "source": { "anonymous": { "name": "v" } } },
        { "guestPath": "/tmp", "source": { "tmpfs": { "size": 1024, "mode": 1023, "exec": false } } },
    ]);
    spec["healthcheck"] = json!({
        "test": ["CMD", "true"], "interval": 1_000_000, "timeout": 60_000_000_000u64, "startPeriod": 1, "startInterval": 1,
        "retries": 1,
    });
    let pod = Pod::start(vec![spec, spec_json("plain", &["true"])]);
    pod.wait("plain");
    while pod.json("/containers/web/json")["State"]["Health"]["Log"][0].is_null() {
        std::thread::yield_now();
    }
    pod
}

/// A line a field: its path and its type; of lists the first item stands for all.
fn form(value: &Value) -> String {
    let mut lines = Vec::new();
    describe("", value, &mut lines);
    lines.sort();
    lines.join("\n") + "\n"
}

fn describe(path: &str, value: &Value, lines: &mut Vec<String>) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (name, field) in fields {
                describe(&format!("{path}/{name}"), field, lines);
            }
        }
        Value::Array(items) if !items.is_empty() => describe(&format!("{path}/0"), &items[0], lines),
        Value::Object(_) => lines.push(format!("{path} object")),
        Value::Array(_) => lines.push(format!("{path} list")),
        Value::Null => lines.push(format!("{path} null")),
        Value::Bool(_) => lines.push(format!("{path} boolean")),
        Value::String(_) => lines.push(format!("{path} string")),
        Value::Number(number) if number.is_f64() => lines.push(format!("{path} fraction")),
        Value::Number(_) => lines.push(format!("{path} integer")),
    }
}

#[test]
fn answers_have_dockers_fields() {
    let pod = pod();
    let cases = [
        ("inspect", "/containers/web/json?size=1", include_str!("forms/inspect.txt")),
        ("inspect-ended", "/containers/plain/json", include_str!("forms/inspect-ended.txt")),
        ("list", "/containers/json?size=1", include_str!("forms/list.txt")),
        ("stats", "/containers/web/stats?stream=0&one-shot=1", include_str!("forms/stats.txt")),
        ("stats-ended", "/containers/plain/stats?stream=0", include_str!("forms/stats-ended.txt")),
        ("top", "/containers/web/top", include_str!("forms/top.txt")),
        ("version", "/version", include_str!("forms/version.txt")),
        ("info", "/info", include_str!("forms/info.txt")),
        ("images", "/images/json", include_str!("forms/images.txt")),
        ("volumes", "/volumes", include_str!("forms/volumes.txt")),
    ];
    for (name, target, wanted) in cases {
        let found = form(&pod.json(target));
        assert!(found == wanted, "{name} differs:\n{found}");
    }
}
