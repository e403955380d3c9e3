//! Stat and copies out.

use super::*;
use std::os::unix::fs::FileExt;

#[test]
fn what_we_pack_gnu_tar_unpacks() {
    let dir = tempfile::tempdir().unwrap();
    let (root, copy) = (dir.path().join("root"), dir.path().join("copy"));
    fs::create_dir(&root).unwrap();
    fs::create_dir(&copy).unwrap();
    make_tree(&root);
    let (stat, archive) = read(&root, "/.").unwrap();
    assert_eq!(stat.name, ".");
    tar_unpack(&archive, &copy);
    assert_same(&root, &copy);

    let exported = block_on(async { collect(Files::new().export(root.clone()).unwrap()).await.unwrap() });
    assert!(names(&exported).contains(&"dir/empty/".to_owned()));
    let copy = dir.path().join("export");
    fs::create_dir(&copy).unwrap();
    tar_unpack(&exported, &copy);
    assert_same(&root, &copy);
}

#[test]
fn entries_are_named_by_the_path() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    fs::create_dir_all(root.join("a/b")).unwrap();
    fs::write(root.join("a/b/c"), "text").unwrap();
    symlink("/a/b", root.join("link")).unwrap();
    symlink("nowhere/../../x", root.join("a/broken")).unwrap();
    let of = |path: &str| read(root, path).map(|(stat, archive)| (stat, names(&archive)));
    for (path, expected) in [
        ("/a/b", vec!["b/", "b/c"]),
        ("a/b/", vec!["b/", "b/c"]),
        ("/a/b/.", vec!["./", "./c"]),
        ("/a/b/c", vec!["c"]),
        ("/link", vec!["link"]),
        ("/link/", vec!["link/", "link/c"]),
        ("/link/.", vec!["./", "./c"]),
        ("/link/c", vec!["c"]),
        ("/link/../a/b/c", vec!["c"]),
        ("/", vec!["/", "/a/", "/a/b/", "/a/b/c", "/a/broken", "/link"]),
    ] {
        assert_eq!(of(path).unwrap().1, expected, "{path}");
    }
    let (stat, _) = of("/link").unwrap();
    assert_eq!((stat.name.as_str(), stat.link_target.as_str()), ("link", "/a/b"));
    assert_eq!(stat.mode, 0x0800_01ff);
    assert_eq!(of("/a/broken").unwrap().0.link_target, "/x");
    let (stat, _) = of("/a/b/c").unwrap();
    assert_eq!((stat.size, stat.link_target.as_str()), (4, ""));
    assert_eq!(stat.mtime, fs::metadata(root.join("a/b/c")).unwrap().modified().unwrap());

    let missing = EngineError::NotFound("Could not find the file /a/none in container box".to_owned());
    assert_eq!(of("/a/none").unwrap_err(), missing);
    let not_a_dir = EngineError::BadRequest("lstat /a/b/c/: not a directory".to_owned());
    assert_eq!(of("/a/b/c/").unwrap_err(), not_a_dir);
    assert!(matches!(of("/a\0b"), Err(EngineError::BadRequest(_))));
    assert!(matches!(of(&"/x".repeat(5000)), Err(EngineError::BadRequest(_))));
    let stat = |path| block_on(async { Files::new().stat(subject(root), path).await });
    // As typed: `..` leads back from where the link leads to.
    assert_eq!(stat("/link/../b/c").unwrap().name, "c");
    assert_eq!(stat("/").unwrap().name, "/");
}

#[test]
fn a_file_that_changes_its_size_keeps_that_of_its_header() {
    let dir = tempfile::tempdir().unwrap();
    let file = fs::File::create(dir.path().join("file")).unwrap();
    let grows_and_shrinks = |size: u64, new: u64| {
        file.set_len(0).unwrap();
        file.write_all_at(&vec![b'x'; usize::try_from(size).unwrap()], 0).unwrap();
        block_on(async {
            let (_, mut chunks) = Files::new().read(subject(dir.path()), "/file").await.unwrap();
            // Three chunks are under way at most before one is taken.
            let first = chunks.recv().await.unwrap().unwrap();
            file.set_len(new).unwrap();
            let rest = collect(chunks).await.unwrap();
            let archive = [&first[..], &rest].concat();
            assert_eq!(archive.len() as u64, 1024 + size.next_multiple_of(512) + 1024 + 512);
            assert_eq!(names(&archive), ["file"]);
        });
    };
    grows_and_shrinks(3 << 20, 5 << 20);
    grows_and_shrinks((3 << 20) + 17, 1 << 19);
    grows_and_shrinks(3 << 20, 0);
}

#[test]
fn holes_are_zeros() {
    let dir = tempfile::tempdir().unwrap();
    let (root, copy) = (dir.path().join("root"), dir.path().join("copy"));
    fs::create_dir(&root).unwrap();
    fs::create_dir(&copy).unwrap();
    for (index, islands) in
        [vec![], vec![0], vec![1_000_000], vec![3, 70_000, 2_000_000, 2_999_995]].iter().enumerate()
    {
        let file = fs::File::create(root.join(index.to_string())).unwrap();
        file.set_len(3_000_000).unwrap();
        islands.iter().for_each(|at| file.write_all_at(b"data", *at).unwrap());
    }
    tar_unpack(&read(&root, "/.").unwrap().1, &copy);
    assert_same(&root, &copy);
}

#[test]
fn nothing_stays_open_wherever_a_client_goes() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    fs::create_dir(&root).unwrap();
    make_tree(&root);
    let open = || {
        let links =
            fs::read_dir("/proc/self/fd").unwrap().filter_map(|fd| fs::read_link(fd.unwrap().path()).ok());
        links.filter(|path| path.starts_with(&root)).count()
    };
    block_on(async {
        let files = Files::new();
        let (_, chunks) = files.read(subject(&root), "/.").await.unwrap();
        let archive = collect(chunks).await.unwrap();
        for count in 0..15 {
            let (_, mut chunks) = files.read(subject(&root), "/.").await.unwrap();
            for _ in 0..count {
                chunks.recv().await;
            }
            drop(chunks);
            let (sender, chunks) = mpsc::channel(100);
            for chunk in archive.chunks(200_000).take(count) {
                sender.send(Ok(Bytes::copy_from_slice(chunk))).await.unwrap();
            }
            drop(sender);
            let _torn = files.write(subject(&root), "", "/", WriteOptions::default(), chunks).await;
            let all = super::super::MAX_OPERATIONS;
            drop(files.slots.acquire_many(all).await.unwrap());
            assert_eq!(open(), 0, "after {count} chunks");
        }
    });
}

#[test]
fn a_large_hole_costs_no_memory() {
    let dir = tempfile::tempdir().unwrap();
    let file = fs::File::create(dir.path().join("hole")).unwrap();
    file.set_len(5 << 30).unwrap();
    // More data than the memory that is allowed.
    (0..64).for_each(|at| file.write_all_at(&vec![7; 1 << 20], (at << 20) + 5).unwrap());
    let resident = || {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
    };
    let before = resident();
    let bytes = block_on(async {
        let (stat, mut chunks) = Files::new().read(subject(dir.path()), "/hole").await.unwrap();
        assert_eq!(stat.size, 5 << 30);
        let mut bytes = 0;
        while let Some(chunk) = chunks.recv().await {
            bytes += chunk.unwrap().len() as u64;
        }
        bytes
    });
    assert!((5 << 30..(5 << 30) + 10_000).contains(&bytes), "{bytes}");
    assert!(resident() - before < 8 << 10, "{} KiB more", resident() - before);
}

#[test]
fn sockets_are_left_out_and_pipes_are_not_opened() {
    let dir = tempfile::tempdir().unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(dir.path().join("socket")).unwrap();
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, dir.path().join("pipe"), rustix::fs::FileType::Fifo, mode, 0)
        .unwrap();
    assert_eq!(names(&read(dir.path(), "/.").unwrap().1), ["./", "./pipe"]);
    assert_eq!(names(&read(dir.path(), "/pipe").unwrap().1), ["pipe"]);
}

#[test]
fn a_client_that_goes_frees_its_place() {
    let dir = tempfile::tempdir().unwrap();
    fs::File::create(dir.path().join("hole")).unwrap().set_len(1 << 40).unwrap();
    block_on(async {
        let files = Files::new();
        let mut clients = Vec::new();
        for _ in 0..super::super::MAX_OPERATIONS {
            clients.push(files.read(subject(dir.path()), "/hole").await.unwrap());
        }
        let error = files.read(subject(dir.path()), "/hole").await.unwrap_err();
        assert!(matches!(error, EngineError::Busy(_)), "{error}");
        // A thread ends at its next chunk at the latest.
        drop(clients);
        let all = super::super::MAX_OPERATIONS;
        drop(files.slots.acquire_many(all).await.unwrap());
        files.stat(subject(dir.path()), "/hole").await.unwrap();
    });
}

#[test]
fn the_end_of_the_pod_ends_what_is_under_way() {
    let dir = tempfile::tempdir().unwrap();
    fs::File::create(dir.path().join("hole")).unwrap().set_len(1 << 43).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let files = Files::new();
        let (_, chunks) = files.read(subject(dir.path()), "/hole").await.unwrap();
        let (read, ended) = tokio::join!(collect(chunks), files.end());
        assert!(read.is_err() && ended);
    });
}
