//! Archives with anything in them (docs/testing.md, "Fuzzing"): reading returns, within its limits.

use fuzz::{Fuzz, shape};

use crate::{Archive, Kind, Limits, Timestamp, write};

/// An entry of our own making, with its data.
fn entry(kind: Kind, path: &[u8], data: &[u8], archive: &mut Vec<u8>) {
    let links = matches!(kind, Kind::HardLink | Kind::Symlink);
    let header = write::Header {
        kind,
        path,
        link: if links { b"target" } else { b"" },
        mode: 0o644,
        uid: 4_000_000_000,
        gid: 0,
        size: data.len() as u64,
        mtime: Timestamp { seconds: -1, nanos: 500_000_000 },
        device: (8, 1),
        xattrs: &[(b"user.note".to_vec(), b"value\n".to_vec())],
    };
    header.append(archive);
    block(data, archive);
}

fn block(data: &[u8], archive: &mut Vec<u8>) {
    archive.extend_from_slice(data);
    archive.resize(archive.len() + write::padding(data.len() as u64), 0);
}

/// A header as other programs make it, of the type `flag`.
fn foreign(flag: u8, magic: &[u8; 8], path: &[u8], data: &[u8], archive: &mut Vec<u8>) {
    let mut header = [0; 512];
    header[..path.len()].copy_from_slice(path);
    header[100..107].copy_from_slice(b"0000644");
    header[124..135].copy_from_slice(format!("{:011o}", data.len()).as_bytes());
    header[156] = flag;
    header[257..265].copy_from_slice(magic);
    archive.extend_from_slice(&header);
    block(data, archive);
}

fn seeds() -> Vec<Vec<u8>> {
    let (mut ours, mut pax, mut gnu) = (Vec::new(), Vec::new(), Vec::new());
    let kinds =
        [Kind::Directory, Kind::HardLink, Kind::Symlink, Kind::CharDevice, Kind::BlockDevice, Kind::Fifo];
    for kind in kinds {
        entry(kind, b"name/", b"", &mut ours);
    }
    entry(Kind::File, &[b'n'; 200], &[7; 700], &mut ours);
    ours.extend_from_slice(&write::TRAILER);
    const PAX: &[u8; 8] = b"ustar\x0000";
    foreign(b'g', PAX, b"global", b"19 comment=whatever\n", &mut pax);
    let sparse = b"22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n29 GNU.sparse.realsize=300000\n";
    foreign(b'x', PAX, b"extended", sparse, &mut pax);
    foreign(
        b'0',
        PAX,
        b"sparse",
        &[&b"2\n4096\n512\n200000\n512\n"[..], &[0; 491], &[4; 1024]].concat(),
        &mut pax,
    );
    foreign(b'x', PAX, b"extended", b"27 GNU.sparse.map=0,5,90,5\n23 GNU.sparse.size=100\n", &mut pax);
    foreign(b'0', PAX, b"sparse too", b"0123456789", &mut pax);
    const GNU: &[u8; 8] = b"ustar  \0";
    foreign(b'L', GNU, b"././@LongLink", &[b'l'; 300], &mut gnu);
    foreign(b'0', GNU, b"short", b"data", &mut gnu);
    let start = gnu.len();
    foreign(b'S', GNU, b"old sparse", &[5; 512], &mut gnu);
    gnu[start + 386..start + 410].copy_from_slice(b"00000000000\x0000000001000\0");
    gnu[start + 483..start + 494].copy_from_slice(b"00000010000");
    vec![ours, pax, gnu]
}

/// Makes the checksums right: damage has to reach what is behind them.
fn seal(archive: &mut [u8]) {
    for header in archive.chunks_exact_mut(512).filter(|block| block[257..].starts_with(b"ustar")) {
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
}

/// Reads an archive to its end or first error, with bounds small enough to be reached. Returns what it was made of.
fn read(bytes: &[u8]) -> u64 {
    let limits =
        Limits { archive_bytes: 1 << 20, file_bytes: 1 << 40, sparse_extents: 1 << 10, pax_bytes: 1 << 14 };
    let mut input = bytes;
    let mut archive = Archive::new(&mut input, limits);
    let (mut copied, mut kinds) = (false, Vec::new());
    let error = loop {
        let entry = match archive.next_entry() {
            Ok(Some(entry)) => entry,
            Ok(None) => break None,
            Err(error) => break Some(error),
        };
        assert!(entry.size <= limits.file_bytes);
        let extents = entry.extents.as_ref().map_or(0, Vec::len);
        assert!(extents <= 1 << 10);
        kinds.push((entry.kind as u8, extents.min(4), entry.xattrs.len(), entry.path.len() > 100));
        // By turns: skipped, copied, taken where it lies.
        copied = !copied;
        let mut buffer = [0; 100];
        while copied && matches!(archive.read_data(&mut buffer), Ok(1..)) {}
        while let Ok(count @ 1..) = archive.data().map(<[u8]>::len) {
            if copied || archive.consume_data(count.div_ceil(2)).is_err() {
                break;
            }
        }
    };
    kinds.truncate(6);
    let words = error.map(|error| error.to_string().replace(|letter: char| letter.is_ascii_digit(), ""));
    shape((kinds, words))
}

#[test]
fn archives() {
    let words = [
        "ustar\0",
        "ustar  \0",
        "GNU.sparse.map=",
        "\n30 mtime=1.5\n",
        "path=",
        "././@LongLink",
        "SCHILY.xattr.user.x=",
        "\u{80}\0\0\0\0\0\0\0",
        "linkpath=",
        "size=",
    ];
    Fuzz::new("tar", seeds()).words(words).iterations(10_000).run(|input| {
        let mut sealed = input.to_vec();
        if input.len() % 8 > 0 {
            seal(&mut sealed);
        }
        read(&sealed)
    });
}
