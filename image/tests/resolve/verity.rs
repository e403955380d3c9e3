//! Hash trees of disks, beside those that Debian's `veritysetup` makes, and judged by it.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::{Command, Output};

use image::verity::{tree_blocks, write_tree};
use image::{ImageHandle, Silent, Store};

use crate::sample::{Events, Sample, get, store, tar};
use crate::server::Server;

const BLOCK: u64 = 4096;
/// How a user says what is fixed here.
const FORM: [&str; 6] = [
    "--no-superblock",
    "--format=1",
    "--hash=sha256",
    "--data-block-size=4096",
    "--hash-block-size=4096",
    "--salt=-",
];

fn veritysetup(action: &str, blocks: u64, arguments: &[&str]) -> Output {
    let output = Command::new("veritysetup")
        .env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin")
        .arg(action)
        .args(FORM)
        .arg(format!("--data-blocks={blocks}"))
        .args(arguments)
        .output();
    output.expect("veritysetup (cryptsetup-bin) runs")
}

/// Some bytes that never come again.
fn noise(seed: u64, length: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let words = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.take(usize::try_from(length / 8).unwrap()).flatten().collect()
}

#[test]
fn trees_are_those_of_veritysetup() {
    let dir = tempfile::tempdir().unwrap();
    let [data, ours, theirs] = ["data", "ours", "theirs"].map(|name| dir.path().join(name));
    let random = (0..6).map(|_| {
        let seed = std::collections::hash_map::RandomState::new();
        1 + std::hash::BuildHasher::hash_one(&seed, 0_u8) % 3000
    });
    // The ends of one, two and three levels.
    for blocks in
        [1, 2, 127, 128, 129, 255, 257, 128 * 128 - 1, 128 * 128, 128 * 128 + 1].into_iter().chain(random)
    {
        fs::write(&data, noise(blocks, blocks * BLOCK)).unwrap();
        let out = File::create(&ours).unwrap();
        let root = write_tree(File::open(&data).unwrap(), blocks, &out).unwrap();
        let _ = fs::remove_file(&theirs);
        let made = veritysetup("format", blocks, &[data.to_str().unwrap(), theirs.to_str().unwrap()]);
        let text = String::from_utf8_lossy(&made.stdout).into_owned();
        let expected = text.lines().find_map(|line| line.strip_prefix("Root hash:"));
        assert_eq!(expected.map(str::trim), Some(root.hex().as_str()), "{blocks} blocks: {made:?}");
        assert!(fs::read(&ours).unwrap() == fs::read(&theirs).unwrap(), "the tree of {blocks} blocks");
        assert_eq!(out.metadata().unwrap().len(), tree_blocks(blocks) * BLOCK);
    }
}

#[test]
fn there_is_no_tree_of_nothing_or_of_less_than_promised() {
    let out = tempfile::tempfile().unwrap();
    assert_eq!(tree_blocks(0), 0);
    write_tree(std::io::empty(), 0, &out).unwrap_err();
    write_tree(&noise(1, 2 * BLOCK)[1..], 2, &out).unwrap_err();
}

/// An image with its tree, and the whole disk in one file.
fn bound(store: &Store, disk: &Path) -> ImageHandle {
    let archives = [tar(&[("below", &noise(7, 9000))]), tar(&[("above", &noise(8, 70_000))])];
    let server = Server::with(&Sample::new(&archives), |_| None);
    let mut image = get(store, &format!("{}/bound:latest", server.host)).unwrap().image;
    assert_eq!((image.verity(), image.extents().len()), (None, 3));
    image.add_verity(store, &Silent, None).unwrap();
    let mut file = File::create(disk).unwrap();
    for extent in image.extents() {
        let bytes = fs::read(&extent.path).unwrap();
        assert_eq!((bytes.len() as u64, bytes.len() % (2 << 20)), (extent.len, 0));
        file.write_all(&bytes).unwrap();
    }
    image
}

fn verify(disk: &Path, image: &ImageHandle) -> Output {
    let verity = image.verity().unwrap();
    let (offset, disk) = (format!("--hash-offset={}", verity.data_blocks * BLOCK), disk.to_str().unwrap());
    veritysetup("verify", verity.data_blocks, &[&offset, disk, disk, &verity.root.hex()])
}

#[test]
fn a_changed_byte_anywhere_on_the_disk_is_found() {
    let (dir, store) = store();
    let disk = dir.path().join("disk");
    let image = bound(&store, &disk);
    let whole = verify(&disk, &image);
    assert!(whole.status.success(), "{whole:?}");

    let data = image.verity().unwrap().data_blocks * BLOCK;
    assert_eq!(data, 3 * (2 << 20));
    let root = data;
    let leaf = data + BLOCK;
    let leaves = data.div_ceil(BLOCK).div_ceil(128);
    let file = File::options().read(true).write(true).open(&disk).unwrap();
    // The superblock, inodes and padding of the metadata; either layer; each level of the tree.
    let layer = 2 << 20;
    for place in
        [1024, BLOCK + 5, layer - 1, layer + BLOCK + 1, 2 * layer + 5 * BLOCK, data - 1, root, leaf + 77]
    {
        let mut byte = [0];
        file.read_exact_at(&mut byte, place).unwrap();
        file.write_all_at(&[byte[0] ^ 0x10], place).unwrap();
        let changed = verify(&disk, &image);
        assert!(!changed.status.success(), "byte {place}: {changed:?}");
        file.write_all_at(&byte, place).unwrap();
    }
    assert!(leaves > 1 && verify(&disk, &image).status.success());
}

#[test]
fn a_tree_is_made_once_and_goes_with_its_image() {
    let (dir, store) = store();
    let disk = dir.path().join("disk");
    let mut first = bound(&store, &disk);
    let name = first.reference().to_owned();
    let verity = first.verity();
    first.add_verity(&store, &Silent, None).unwrap();
    assert_eq!((first.verity(), first.extents().len()), (verity, 4));

    let mut second = store.open_image(&store.image(&name).unwrap(), &name).unwrap().unwrap();
    let events = Events::default();
    second.add_verity(&store, &events, None).unwrap();
    assert_eq!((second.verity(), events.count("Hashing")), (verity, 0));
    // A torn one is made anew, with the same bytes.
    let tree = second.extents()[3].path.clone();
    let bytes = fs::read(&tree).unwrap();
    File::options().write(true).open(&tree).unwrap().set_len(BLOCK).unwrap();
    let mut third = store.open_image(&store.image(&name).unwrap(), &name).unwrap().unwrap();
    third.add_verity(&store, &events, None).unwrap();
    assert_eq!((third.verity(), events.count("Hashing")), (verity, 1));
    assert!(fs::read(&tree).unwrap() == bytes);

    // A pod keeps it; without pod and name it goes.
    let pod = dir.path().join("pod");
    fs::create_dir(&pod).unwrap();
    store.add_root(&pod, &[&third]).unwrap();
    fs::write(pod.join("pod.json"), "{}").unwrap();
    drop((first, second, third));
    store.remove(&name).unwrap();
    store.prune(true).unwrap();
    assert!(tree.exists());
    fs::remove_dir_all(&pod).unwrap();
    store.prune(true).unwrap();
    assert!(!tree.exists());
}

#[test]
fn hashing_can_be_ended() {
    let (dir, store) = store();
    let server = Server::with(&Sample::of("ended"), |_| None);
    let mut image = get(&store, &format!("{}/ended:latest", server.host)).unwrap().image;
    let stopped = std::sync::atomic::AtomicBool::new(true);
    let error = image.add_verity(&store, &Silent, Some(&stopped)).unwrap_err();
    assert!(matches!(error, image::VerityError::Cancelled), "{error:?}");
    assert_eq!((image.verity(), image.extents().len()), (None, 3));
    assert_eq!(crate::sample::names(&dir.path().join("verity")), [""; 0]);
}
