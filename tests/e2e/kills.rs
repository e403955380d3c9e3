//! A VMM that is killed again and again while a database writes: each start finds what was acknowledged before, and nothing
//! is left behind.
//!
//! `KILLS=mariadb:20` takes another database and another number of kills.

use std::path::Path;

use tests::{Host, images};

const SQLITE: &str = "
    mkdir -p /data
    create='create table if not exists t (n integer primary key, filling blob);'
    set -- $(sqlite3 -separator ' ' /data/commits \"pragma integrity_check; $create select count(*), ifnull(max(n), 0) from t;\")
    echo \"$@\"
    n=$3
    while :; do
        n=$((n + 1))
        echo \"insert into t values ($n, randomblob($((n % 7 * 700))));\"
        echo \".print acknowledged $n\"
    done | stdbuf -oL sqlite3 -bail -cmd 'pragma synchronous = extra' /data/commits";

const MARIADB: &str = "
    entry mariadbd --user=mysql >/dev/null 2>&1 &
    until mariadb -e 'select 1' >/dev/null 2>&1; do sleep 0.1; done
    mariadb -e 'create database if not exists d; create table if not exists d.t (n int primary key, filling blob)'
    set -- $(mariadb -N -e 'check table d.t' | cut -f 4) \
        $(mariadb -N -e 'select count(*), ifnull(max(n), 0) from d.t')
    echo \"$1\" $2 $3 | sed 's/^OK/ok/'
    n=$3
    while :; do
        n=$((n + 1))
        echo \"insert into t values ($n, random_bytes($((n % 7 * 100 + 1))));\"
        echo \"select 'acknowledged $n';\"
    done | mariadb -N --unbuffered d";

#[test]
fn what_was_acknowledged_is_there_after_each_kill() {
    let kills = std::env::var("KILLS").unwrap_or_else(|_| "sqlite:3".to_owned());
    let (database, rounds) = kills.split_once(':').unwrap();
    let rounds: u64 = rounds.parse().unwrap();
    let script = if database == "mariadb" { MARIADB } else { SQLITE };
    let host = Host::shared();
    let entry = ["--entrypoint", "sh", "--disk-size", "512m"];
    let pod = host.summon(&entry, &images::layout(database), &["-c", script]);
    let mut acknowledged = 0;
    for round in 0..rounds {
        let mut running = pod.start();
        let words = running.wait_for("ok");
        let numbers: Vec<u64> = words.split(' ').skip(1).map(|word| word.parse().unwrap()).collect();
        let [count, last] = numbers[..] else { panic!("{words}") };
        assert!(count == last && last >= acknowledged, "round {round}: {words}, {acknowledged} acknowledged");
        // Some commits later, in the midst of the next.
        for _ in 0..1 + round * 7 % 11 {
            let line = running.wait_for("acknowledged");
            acknowledged = line.rsplit(' ').next().unwrap().parse().unwrap();
        }
        assert!(acknowledged > last);
        // By a signal that it does not see.
        drop(running);
        assert_eq!(processes_of(pod.path()), Vec::<String>::new());
    }
    let path = pod.path().to_owned();
    host.succeed(&["rm", pod.name()]);
    assert!(!path.exists());
    let left = std::fs::read_dir(path.parent().unwrap()).unwrap().count();
    assert_eq!(left, 0, "{left} files beside the pod");
}

/// Command lines of processes that name a directory.
fn processes_of(dir: &Path) -> Vec<String> {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = processes.filter_map(|process| std::fs::read(process.path().join("cmdline")).ok());
    let lines = lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
    lines.filter(|line| line.contains(dir.to_str().unwrap())).collect()
}
