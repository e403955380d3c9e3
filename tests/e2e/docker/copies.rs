//! `docker cp` in both directions, with the cases that go wrong elsewhere.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt, symlink};

use tests::{Ended, Host};

use super::scripted;

#[test]
fn files_are_copied_in_and_out() {
    let host = Host::shared();
    let wishes = ["--tmpfs", "/scratch"];
    let mut served = scripted(&host, &wishes, "echo ready; exec sleep 1000");
    let docker = &served.docker;
    let folder = host.folder().join("files");
    let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    fs::create_dir_all(folder.join("tree/sub")).unwrap();
    fs::write(folder.join("file"), "content\n").unwrap();
    fs::set_permissions(folder.join("file"), PermissionsExt::from_mode(0o741)).unwrap();
    fs::write(folder.join("tree/sub/a"), "a").unwrap();
    fs::hard_link(folder.join("tree/sub/a"), folder.join("tree/b")).unwrap();
    symlink("sub/a", folder.join("tree/link")).unwrap();
    std::os::unix::fs::chown(folder.join("file"), Some(12), Some(34)).unwrap();
    let cp = |from: &str, to: &str| docker.good(&["cp", "-q", from, to]);
    let shell = |script: &str| docker.shell("web", script);

    // In: into a directory, by a new name, over a file, through a link, into a tmpfs, kept owners, a tree, its content.
    shell("mkdir /d; ln -s /d /l; echo old >/d/old");
    cp(&path("file"), "web:/d/");
    cp(&path("file"), "web:/d/new");
    cp(&path("file"), "web:/d/old");
    cp(&path("file"), "web:/scratch/t");
    docker.good(&["cp", "-qa", &path("file"), "web:/l/kept"]);
    cp(&path("tree"), "web:/l");
    cp(&path("tree/."), "web:/content");
    assert_eq!(
        shell(
            "cd /d; cat file new old /scratch/t; stat -c '%a %u %g' file kept; readlink tree/link; cat /content/sub/a; \
               test tree/b -ef tree/sub/a && echo same"
        ),
        "content\n".repeat(4) + "741 12 34\n741 12 34\nsub/a\nasame\n"
    );
    for (from, to, why) in [
        (path("file"), "web:/none/", "o such directory"),
        (path("file"), "web:/none/x", "ould not find"),
        (path("tree"), "web:/d/file", "cannot copy directory"),
        (path("file"), "web:/proc/x", ""),
        (path("missing"), "web:/d", "no such file"),
    ] {
        let error = docker.refused(&["cp", &from, to], 1);
        assert!(error.contains(why), "{from} {to}: {error}");
    }

    // Out: by name, into a directory, a link and what it leads to, a tree, its content, an archive.
    let attributes = "cd /d; ln -s file link; touch -d '2001-02-03 04:05:06' file; chmod 4755 file; touch empty; \
                      dd if=/dev/zero of=sparse bs=1 count=0 seek=64M 2>/dev/null; printf end >>sparse";
    shell(attributes);
    cp("web:/d/file", &path("out"));
    assert_eq!(fs::read_to_string(path("out")).unwrap(), "content\n");
    assert_eq!(fs::metadata(path("out")).unwrap().mtime(), 981_173_106);
    fs::create_dir(path("dir")).unwrap();
    cp("web:/d/link", &path("dir"));
    assert_eq!(fs::read_link(path("dir/link")).unwrap().to_str(), Some("file"));
    docker.good(&["cp", "-qL", "web:/d/link", &path("followed")]);
    assert_eq!(fs::read_to_string(path("followed")).unwrap(), "content\n");
    cp("web:/d/.", &path("dir"));
    assert_eq!(fs::metadata(path("dir/sparse")).unwrap().len(), (64 << 20) + 3);
    cp("web:/scratch", &path("from-tmpfs"));
    assert_eq!(fs::read_to_string(path("from-tmpfs/t")).unwrap(), "content\n");
    let archive = docker.run(&["cp", "web:/d/tree", "-"]);
    assert_eq!(&archive.stdout[257..262], b"ustar");
    let mut untar = docker.start(&["cp", "-", "web:/scratch"]);
    untar.stdin.take().unwrap().write_all(&archive.stdout).unwrap();
    assert!(untar.wait().unwrap().success());
    assert_eq!(shell("cat /scratch/tree/sub/a"), "a");
    for from in ["web:/none", "web:/d/file/x"] {
        docker.refused(&["cp", from, &path("x")], 1);
    }
    // A link that leads out of the container leads nowhere.
    shell("ln -s ../../../../../../etc/hostname /d/up; ln -s /proc/1/root/etc /d/proc");
    let up = docker.run(&["cp", "-L", "web:/d/up", "-"]);
    assert!(!up.out().contains(&fs::read_to_string("/etc/hostname").unwrap()), "{}", up.out());

    // Of the guest itself there is nothing to copy.
    docker.refused(&["cp", "cradle:/init", &path("x")], 1);
    assert_eq!(docker.good(&["kill", "web"]), "web\n");
    let Ended { code, .. } = served.running.end();
    assert_eq!(code, Some(137));
}
