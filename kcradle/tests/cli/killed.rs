//! A daemon that is killed at any moment of a load of clients: what it has acknowledged is there after its next start, what
//! it has not is there or not, and nothing is left over on the disk. `FAULT_ROUNDS` for more kills than a plain test has.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc;

use serde_json::Value;

use crate::host::Host;
use crate::serve::Served;

/// Clients at a time.
const CLIENTS: usize = 4;

/// What a client knows of a name: whether it is there, or that its request was torn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    There,
    Gone,
    Torn,
}

type Names = BTreeMap<String, Known>;

/// Makes and removes volumes and networks until the daemon is gone. Tells of each answer.
fn load(served: &Served, client: usize, round: usize, answered: &mpsc::Sender<()>) -> Names {
    let mut names = Names::new();
    for number in 0.. {
        let kind = if number % 2 == 0 { "volumes" } else { "networks" };
        let name = format!("c{client}-r{round}-n{number}");
        let key = format!("{kind}/{name}");
        names.insert(key.clone(), Known::Torn);
        let body = format!(r#"{{"Name":"{name}"}}"#);
        match served.ask("POST", &format!("/{kind}/create"), &body) {
            Ok((201, _)) => names.insert(key.clone(), Known::There),
            Ok(other) => panic!("{key}: {other:?}"),
            Err(_) => return names,
        };
        let _ = answered.send(());
        if number % 3 == 0 {
            names.insert(key.clone(), Known::Torn);
            match served.ask("DELETE", &format!("/{key}"), "") {
                Ok((204, _)) => names.insert(key, Known::Gone),
                Ok(other) => panic!("{key}: {other:?}"),
                Err(_) => return names,
            };
            let _ = answered.send(());
        }
    }
    names
}

/// What the daemon says there is.
fn listed(served: &Served) -> BTreeSet<String> {
    let list =
        |path: &str| -> Value { serde_json::from_str(&served.ask("GET", path, "").unwrap().1).unwrap() };
    let (volumes, networks) = (list("/volumes"), list("/networks"));
    let named = |kind: &'static str, list: &Value| -> Vec<String> {
        let names = list.as_array().unwrap().iter().map(|one| one["Name"].as_str().unwrap().to_owned());
        names.map(|name| format!("{kind}/{name}")).collect()
    };
    let mut all: BTreeSet<_> = named("volumes", &volumes["Volumes"]).into_iter().collect();
    let own = |name: &String| !["networks/bridge", "networks/host", "networks/none"].contains(&name.as_str());
    all.extend(named("networks", &networks).into_iter().filter(own));
    all
}

#[test]
fn what_was_acknowledged_outlives_a_kill() {
    let rounds = std::env::var("FAULT_ROUNDS").map_or(4, |rounds| rounds.parse().unwrap());
    let host = Host::new();
    let mut known = Names::new();
    for round in 0..rounds {
        let served = Served::start(&host, &[]);
        let (answered, answers) = mpsc::channel();
        let torn = std::thread::scope(|scope| {
            let clients: Vec<_> = (0..CLIENTS)
                .map(|client| {
                    let (served, answered) = (&served, answered.clone());
                    scope.spawn(move || load(served, client, round, &answered))
                })
                .collect();
            // Each round is torn at another place.
            for _ in 0..7 + 11 * (round % 9) {
                answers.recv().unwrap();
            }
            served.cut();
            clients.into_iter().flat_map(|client| client.join().unwrap()).collect::<Names>()
        });
        served.kill();
        known.extend(torn);
        let served = Served::start(&host, &[]);
        let listed = listed(&served);
        for (name, state) in &mut known {
            let is_there = listed.contains(name);
            match state {
                Known::There => assert!(is_there, "round {round}: {name} was acknowledged and is gone"),
                Known::Gone => assert!(!is_there, "round {round}: {name} was removed and is there"),
                Known::Torn => *state = if is_there { Known::There } else { Known::Gone },
            }
        }
        assert!(listed.iter().all(|name| known.contains_key(name)), "round {round}: {listed:?}");
        let disks: BTreeSet<_> = std::fs::read_dir(host.path("state/volumes"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name != ".lock")
            .map(|name| format!("volumes/{name}"))
            .collect();
        let volumes: BTreeSet<_> = listed.into_iter().filter(|name| name.starts_with("volumes/")).collect();
        assert_eq!(disks, volumes, "round {round}: a disk for each volume, and no other");
        events_are_whole(&served, &known);
        served.kill();
    }
}

/// Each volume that is there was created once in the events, and what is gone has been destroyed.
fn events_are_whole(served: &Served, known: &Names) {
    let until = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() + 1;
    let filters = "%7B%22type%22:%5B%22volume%22%5D%7D";
    let (_, text) =
        served.ask("GET", &format!("/events?since=1&until={until}&filters={filters}"), "").unwrap();
    let mut balance: BTreeMap<String, i32> = BTreeMap::new();
    for line in text.lines().filter(|line| line.starts_with('{')) {
        let event: Value = serde_json::from_str(line).unwrap();
        let change = match event["Action"].as_str().unwrap() {
            "create" => 1,
            "destroy" => -1,
            _ => 0,
        };
        *balance.entry(format!("volumes/{}", event["Actor"]["ID"].as_str().unwrap())).or_default() += change;
    }
    for (name, balance) in balance {
        assert_eq!(balance, i32::from(known[&name] == Known::There), "{name}");
    }
}
