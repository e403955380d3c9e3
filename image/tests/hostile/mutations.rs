//! Thousands of damaged archives and layer files, the same ones on every run.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;

use image::erofs::convert_layer;
use image::merge::merge_layers;

use super::archives::small_limits;
use super::tarball::{BLOCK_DEVICE, CHAR_DEVICE, Dialect, FIFO, FILE, Item, Tarball, seal};

/// Repeatable numbers (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from((self.0 >> 11) % bound as u64).unwrap()
    }

    fn byte(&mut self) -> u8 {
        u8::try_from(self.below(256)).unwrap()
    }
}

fn items() -> Vec<Item> {
    vec![
        Item::directory("./"),
        Item::directory("a").xattr("user.a", "1"),
        Item::file("a/file", [1; 600]).xattr("security.capability", [1; 20]),
        Item::hard_link("a/hard", "a/file"),
        Item::hard_link("a/lower", "not/here"),
        Item::symlink("link", "a"),
        Item::file("link/through", "x"),
        Item::symlink("long", [b's'; 3000]),
        Item::device(CHAR_DEVICE, "char", 1, 3),
        Item::device(BLOCK_DEVICE, "block", 7, 0),
        Item::new(FIFO, "fifo"),
        Item::file("a/.wh.gone", ""),
        Item::file("b/.wh..wh..opq", ""),
        Item::file("b/c/d/e", [2; 5000]),
    ]
}

/// Archives of both dialects with sparse files in three forms.
fn seeds() -> Vec<Vec<u8>> {
    let record = |key: &str, value: &str| (format!("GNU.sparse.{key}"), value.as_bytes().to_vec());
    let mut pax = Tarball::new(Dialect::Pax);
    items().iter().for_each(|item| pax.put(item));
    pax.pax(b'g', &[("comment".to_owned(), b"global".to_vec())]);
    pax.pax(b'x', &[record("map", "0,512,100000,512"), record("size", "200000")]);
    pax.raw(FILE, b"sparse-0.1", &[3; 1024]);
    pax.pax(b'x', &[record("major", "1"), record("minor", "0"), record("realsize", "300000")]);
    let mut data = b"2\n4096\n512\n200000\n512\n".to_vec();
    data.resize(512, 0);
    data.extend_from_slice(&[4; 1024]);
    pax.raw(FILE, b"sparse-1.0", &data);

    let mut gnu = Tarball::new(Dialect::Gnu);
    items().iter().for_each(|item| gnu.put(item));
    let mut header = gnu.header(&Item { kind: b'S', ..Item::file("sparse-old", "") }, 512 * 5);
    for n in 0..4 {
        let pair = format!("{:011o}\0{:011o}\0", n * 10_000, 512);
        header[386 + n * 24..386 + n * 24 + 24].copy_from_slice(pair.as_bytes());
    }
    header[482] = 1;
    header[483..495].copy_from_slice(format!("{:011o}\0", 100_000).as_bytes());
    seal(&mut header);
    gnu.block(&header);
    let mut more = [0; 512];
    more[..24].copy_from_slice(format!("{:011o}\0{:011o}\0", 50_000, 512).as_bytes());
    gnu.block(&more);
    gnu.data(&[5; 512 * 5]);
    vec![pax.finish(), gnu.finish()]
}

/// The most memory that this process ever had, in KiB.
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Damages an archive; most often mends the checksum, so that the damage gets past it.
fn damage(archive: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..=random.below(3) {
        let block = random.below(archive.len() / 512) * 512;
        match random.below(6) {
            0 => archive.truncate(block + random.below(512)),
            1 => {
                let other = random.below(archive.len() / 512) * 512;
                archive.copy_within(other..other + 512, block);
            }
            2 => {
                let at = block + random.below(512);
                archive[at] = random.byte();
            }
            _ => {
                let fields = [0, 100, 108, 116, 124, 136, 156, 157, 257, 329, 345, 386, 482, 483];
                let at = block + fields[random.below(fields.len())] + random.below(12);
                archive[at] = [0, b'0', b'7', b'/', b'.', 0x80, 0xff, random.byte()][random.below(8)];
                if let Some(header) = archive[block..].first_chunk_mut::<512>() {
                    seal(header);
                }
            }
        }
        if archive.len() < 1024 {
            return;
        }
    }
}

#[test]
fn mutated_archives_end_in_a_result() {
    let mut random = Random(0x5eed);
    let out = tempfile::tempfile().unwrap();
    let merged = tempfile::tempfile().unwrap();
    let seeds = seeds();
    for seed in &seeds {
        out.set_len(0).unwrap();
        convert_layer(&mut &seed[..], &out, &small_limits()).unwrap();
    }
    let mut accepted = 0;
    for round in 0..6000 {
        let mut archive = seeds[round % seeds.len()].clone();
        damage(&mut archive, &mut random);
        out.set_len(0).unwrap();
        if convert_layer(&mut &archive[..], &out, &small_limits()).is_ok() {
            accepted += 1;
            merged.set_len(0).unwrap();
            // What the converter wrote, the merge reads; only a link's target may be missing.
            match merge_layers(&[&out], &merged, &small_limits()) {
                Ok(_) | Err(image::merge::MergeError::MissingLinkTarget { .. }) => {}
                Err(error) => panic!("round {round}: {error:?}"),
            }
        }
    }
    assert!(
        (500..5900).contains(&accepted),
        "{accepted} of 6000 mutants were accepted: the damage is too mild or too hard"
    );
    assert!(peak_memory() < 512 << 10, "{} KiB", peak_memory());
}

#[test]
fn truncated_archives_end_in_a_result() {
    let out = tempfile::tempfile().unwrap();
    for seed in seeds() {
        for length in (0..seed.len()).step_by(61) {
            out.set_len(0).unwrap();
            let _ = convert_layer(&mut &seed[..length], &out, &small_limits());
        }
    }
}

#[test]
fn mutated_layers_end_in_a_result() {
    let mut random = Random(0xbad);
    let dir = tempfile::tempdir().unwrap();
    let open = |name: &str| -> File {
        OpenOptions::new().read(true).write(true).create_new(true).open(dir.path().join(name)).unwrap()
    };
    // A target for the link to a lower layer.
    let lower = open("lower");
    let target = Tarball::of(Dialect::Pax, [Item::file("not/here", "x"), Item::file("b/hidden", "x")]);
    convert_layer(&mut &target[..], &lower, &small_limits()).unwrap();
    let layer = open("layer");
    convert_layer(&mut &seeds()[0][..], &layer, &small_limits()).unwrap();
    let merged = open("merged");
    merge_layers(&[&lower, &layer], &merged, &small_limits()).unwrap();

    let mut bytes = vec![0; 2 << 20];
    layer.read_exact_at(&mut bytes, 0).unwrap();
    let used: Vec<usize> = (0..bytes.len()).filter(|&at| bytes[at] != 0).collect();
    let mut refused = 0;
    for _ in 0..6000 {
        let places: Vec<usize> =
            (0..=random.below(3)).map(|_| used[random.below(used.len())] + random.below(3)).collect();
        for &at in &places {
            let byte = [0, 1, 0x7f, 0x80, 0xff, random.byte()][random.below(6)];
            layer.write_all_at(&[byte], at as u64).unwrap();
        }
        merged.set_len(0).unwrap();
        refused += u32::from(merge_layers(&[&lower, &layer], &merged, &small_limits()).is_err());
        for &at in &places {
            layer.write_all_at(&bytes[at..=at], at as u64).unwrap();
        }
    }
    assert!(refused > 100, "{refused} of 6000 damaged layers were refused: the damage is too mild");
    merged.set_len(0).unwrap();
    merge_layers(&[&lower, &layer], &merged, &small_limits()).unwrap();
    for length in [0, 4096, (2 << 20) - 1, 4 << 20] {
        layer.set_len(length).unwrap();
        assert!(
            merge_layers(&[&lower, &layer], &merged, &small_limits()).is_err(),
            "{length} bytes were accepted"
        );
    }
}

#[test]
fn equal_archives_make_equal_bytes() {
    let convert = |archive: &[u8]| {
        let file = tempfile::tempfile().unwrap();
        let summary = convert_layer(&mut &archive[..], &file, &small_limits()).unwrap();
        let mut bytes = vec![0; usize::try_from(summary.file_bytes).unwrap()];
        file.read_exact_at(&mut bytes, 0).unwrap();
        bytes
    };
    for seed in seeds() {
        assert!(convert(&seed) == convert(&seed));
    }
}
