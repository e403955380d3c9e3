//! Random trees: tar to EROFS and back through the kernel, against GNU tar.

use std::fs;
use std::path::Path;

use super::layering::apply_reference;
use super::oracle::{Bench, in_namespace};
use super::snapshot::{Snapshot, assert_same, take};
use super::tarball::{BLOCK_DEVICE, CHAR_DEVICE, DIRECTORY, Dialect, FIFO, Item, Tarball};

/// A small generator of repeatable numbers (xorshift).
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }

    fn name(&mut self) -> Vec<u8> {
        let length = match self.below(10) {
            0 => 200 + self.below(50),
            1 => 1,
            _ => 3 + self.below(12),
        };
        (0..length)
            .map(|_| b"abcdefghijklmnopqrstuvwxyz0123456789_-+,~"[usize::try_from(self.below(41)).unwrap()])
            .collect()
    }
}

/// A tree of named directories with files of all kinds, some named twice.
fn items(random: &mut Random) -> Vec<Item> {
    let mut directories = vec![b".".to_vec()];
    let mut files: Vec<Vec<u8>> = Vec::new();
    let mut items = vec![Item::directory("./").mode(0o755).mtime(1_234_567, 89)];
    for number in 0..300_u64 {
        let parent = &directories[usize::try_from(random.below(directories.len() as u64)).unwrap()];
        // The number keeps kinds apart: only files are ever named again.
        let path = [&parent[..], b"/", number.to_string().as_bytes(), &random.name()].concat();
        let path = if parent.len() > 1500 {
            [b"./", &random.name()[..], b"-", number.to_string().as_bytes()].concat()
        } else {
            path
        };
        let item = match random.below(12) {
            0 | 1 => {
                directories.push(path.clone());
                Item::directory(path).mode(0o700 + u32::try_from(random.below(64)).unwrap())
            }
            2 => Item::symlink(path, {
                let n = random.below(400);
                vec![b's'; usize::try_from(n).unwrap() + 1]
            }),
            3 => Item::device(CHAR_DEVICE, path, 1 + random.below(4000), random.below(1 << 20)),
            4 => Item::device(BLOCK_DEVICE, path, 1 + random.below(4000), random.below(1 << 20)),
            5 => Item::new(FIFO, path),
            6 if !files.is_empty() => {
                Item::hard_link(path, &files[usize::try_from(random.below(files.len() as u64)).unwrap()])
            }
            7 if !files.is_empty() => {
                Item::file(&files[usize::try_from(random.below(files.len() as u64)).unwrap()], "again")
            }
            _ => {
                files.push(path.clone());
                let size = [0, 1, 4095, 4096, 4097, 70_000][usize::try_from(random.below(6)).unwrap()];
                let byte = u8::try_from(random.below(256)).unwrap();
                Item::file(path, vec![byte; size]).mode(0o600 + u32::try_from(random.below(64)).unwrap())
            }
        };
        let is_link = item.kind == super::tarball::HARD_LINK;
        let mut item = item.owner(random.below(1 << 32).min(u64::from(u32::MAX) - 1), random.below(70_000));
        item.mtime = (
            i64::try_from(random.below(4_000_000_000)).unwrap() - 1_000_000_000,
            u32::try_from(random.below(1_000_000_000)).unwrap(),
        );
        if matches!(item.kind, b'0' | b'5') && !is_link && random.below(3) == 0 {
            let value = vec![3; usize::try_from(random.below(3000)).unwrap()];
            item = item.xattr("user.random", value).xattr("trusted.random", "t");
        }
        items.push(item);
    }
    items
}

/// A file that is named again is a new one for both, but the first one's other names differ: tar removes, we too.
fn check(bench: &Bench, seed: u64) {
    let archive = Tarball::of(Dialect::Pax, items(&mut Random::new(seed)));
    let layer = bench.layer(&format!("{seed}.layer"), &archive);
    let reference: Snapshot = take(&bench.untar(&format!("{seed}.reference"), &archive, &[]));
    assert_same(&take(&bench.mount(&format!("{seed}.layer"), &format!("{seed}.single"))), &reference);
    assert_same(&take(&bench.mount_merged(&format!("{seed}.merged"), &[layer])), &reference);
}

#[test]
fn mount_random_trees() {
    if !in_namespace("random::mount_random_trees") {
        return;
    }
    let bench = Bench::new();
    for seed in 1..=3 {
        check(&bench, seed);
    }
}

/// A layer on few names, so that layers meet: every parent is an entry, so that tar and the merge agree on it.
fn layer(random: &mut Random) -> Vec<Item> {
    let mut items = vec![Item::directory(".").mtime(1_111_111, 0)];
    let mut used = std::collections::BTreeSet::from([".".to_owned()]);
    let mut directories = vec![".".to_owned()];
    for number in 0..40 {
        let parent = directories[usize::try_from(random.below(directories.len() as u64)).unwrap()].clone();
        let name = char::from(b'a' + u8::try_from(random.below(6)).unwrap());
        let path = format!("{parent}/{name}");
        if parent.len() > 12 || !used.insert(path.clone()) {
            continue;
        }
        let mut item = match random.below(8) {
            0..=2 => {
                directories.push(path.clone());
                Item::directory(&path).mode(0o700 + u32::try_from(random.below(64)).unwrap())
            }
            3 => Item::symlink(&path, format!("nowhere-{number}")),
            4 => Item::file(format!("{parent}/.wh.{name}"), ""),
            5 if parent != "." => Item::file(format!("{parent}/.wh..wh..opq"), ""),
            _ => Item::file(&path, format!("{number}")),
        };
        item.mtime.1 = u32::try_from(random.below(1_000_000_000)).unwrap();
        items.push(item);
    }
    // Whiteouts first, as the reference applies them.
    items.sort_by_key(|item| !item.path.windows(4).any(|part| part == b".wh."));
    items
}

/// What tar does not do by itself: a file takes the place of a directory and the other way round.
fn make_room(reference: &Path, items: &[Item]) {
    for item in items {
        let path = reference.join(std::str::from_utf8(&item.path).unwrap());
        let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
        match (metadata.is_dir(), item.kind == DIRECTORY) {
            (true, false) => fs::remove_dir_all(&path).unwrap(),
            (false, _) => fs::remove_file(&path).unwrap(),
            (true, true) => {}
        }
    }
}

#[test]
fn mount_random_layers() {
    if !in_namespace("random::mount_random_layers") {
        return;
    }
    let bench = Bench::new();
    let mut random = Random::new(77);
    for round in 0..6 {
        let reference = bench.path(&format!("{round}.reference"));
        let mut layers = Vec::new();
        for number in 0..5 {
            let items = layer(&mut random);
            let archive = Tarball::of(Dialect::Pax, items.clone());
            layers.push(bench.layer(&format!("{round}.layer.{number}"), &archive));
            let whiteouts = items.iter().take_while(|item| item.path.windows(4).any(|part| part == b".wh."));
            apply_reference(
                &bench,
                &format!("{round}.reference"),
                &[Tarball::of(Dialect::Pax, whiteouts.cloned())],
            );
            make_room(&reference, &items);
            apply_reference(
                &bench,
                &format!("{round}.reference"),
                &[Tarball::of(
                    Dialect::Pax,
                    items.iter().filter(|item| !item.path.windows(4).any(|part| part == b".wh.")).cloned(),
                )],
            );
        }
        let mounted = bench.mount_merged(&format!("{round}.merged"), &layers);
        assert_same(&take(&mounted), &take(&reference));
    }
}
