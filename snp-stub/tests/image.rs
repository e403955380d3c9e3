//! The stub as it is built: the same bytes wherever it is built, and no instruction that would trap in an SNP guest.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::fs;
use std::path::Path;
use std::process::Command;

fn build(source: &Path, out: &Path) -> Vec<u8> {
    let built =
        Command::new(source.join("build.sh")).arg(out).env("RUSTFLAGS", "-Cdebuginfo=2").output().unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    fs::read(out).unwrap()
}

#[test]
fn two_builds_in_different_places_are_the_same_bytes() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let dir = tempfile::tempdir().unwrap();
    let there = dir.path().join("a folder of another name");
    let copied = Command::new("cp").arg("-r").arg(here).arg(&there).status().unwrap();
    assert!(copied.success());
    let [one, other] =
        [(here, "one"), (there.as_path(), "other")].map(|(from, to)| build(from, &dir.path().join(to)));
    assert_eq!(one, other);
    assert!(!one.is_empty() && one.len() <= 1 << 16, "{} bytes", one.len());
    // Neither paths nor messages: an error ends the machine with a number.
    for text in ["snp-stub", "panicked", "/rustc/", "src/"] {
        assert!(!one.windows(text.len()).any(|window| window == text.as_bytes()), "{text}");
    }
}

#[test]
fn no_instruction_traps_in_an_snp_guest() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("stub");
    let image = build(Path::new(env!("CARGO_MANIFEST_DIR")), &file);
    // The parking loop, `pause` and a jump to itself, is where the other vCPUs are put.
    assert_eq!(image[16..20], [0xf3, 0x90, 0xeb, 0xfc]);
    // Constants, the first of which is this one, are behind the code.
    let constants = image.windows(4).position(|word| word == 0x428a_2f98_u32.to_le_bytes()).unwrap();
    let listing = Command::new("objdump")
        .args(["-D", "-b", "binary", "-m", "i386:x86-64", "-M", "intel", "--no-show-raw-insn"])
        .arg(format!("--stop-address={constants}"))
        .arg(&file)
        .output()
        .unwrap();
    let listing = String::from_utf8(listing.stdout).unwrap();
    let has = |word: &str| listing.lines().any(|line| line.split_whitespace().nth(1) == Some(word));
    assert!(has("rep") && has("vmgexit") && has("wrmsr"), "{listing}");
    for word in [
        "cpuid", "rdtsc", "rdtscp", "rdmsr", "in", "out", "hlt", "xsetbv", "lidt", "monitor", "movaps",
        "movups",
    ] {
        assert!(!has(word), "{word}");
    }
}
