//! `docker volume`.

use crate::host::Host;

#[test]
fn volumes_are_made_listed_and_removed() {
    let mut host = Host::start();
    assert_eq!(host.good(&["volume", "create", "--label", "team=a", "-o", "size=64m", "data"]), "data");
    assert_eq!(host.good(&["volume", "create", "data"]), "data", "it is there already");
    let anonymous = host.good(&["volume", "create"]);
    assert_eq!(anonymous.len(), 64);
    host.resume();
    let shown = host.good(&[
        "volume",
        "inspect",
        "data",
        "--format",
        "{{.Driver}} {{.Labels}} {{.Options}} {{.Scope}}",
    ]);
    assert_eq!(shown, "local map[team:a] map[size:64m] local");
    let disk = host.good(&["volume", "inspect", "data", "--format", "{{.Mountpoint}}"]);
    assert_eq!(std::fs::metadata(&disk).unwrap().len(), 64 << 20);

    let list = |filter: &str| host.good(&["volume", "ls", "-q", "--filter", filter]);
    assert_eq!(list("name=dat"), "data");
    assert_eq!(list("label=team=a"), "data");
    assert_eq!(list("label=team=b"), "");
    assert_eq!(list("driver=other"), "");
    assert_eq!(list("dangling=true").lines().count(), 2);
    assert_eq!(list("dangling=false"), "");

    let pruned = host.good(&["volume", "prune", "-f"]);
    assert!(pruned.contains(&anonymous) && !pruned.contains("data"), "{pruned}");
    assert!(host.good(&["volume", "prune", "-af"]).contains("data"));
    assert_eq!(host.good(&["volume", "ls", "-q"]), "");
    assert!(!std::path::Path::new(&disk).exists());
}

#[test]
fn what_cannot_be_a_volume_is_refused() {
    let host = Host::start();
    for name in ["../x", "a/b", ".", "x y"] {
        let said = host.refused(&["volume", "create", name]);
        assert!(said.contains("invalid characters for a local volume name"), "{said}");
    }
    assert!(host.refused(&["volume", "create", "-d", "nfs", "data"]).contains("plugin \"nfs\" not found"));
    assert!(
        host.refused(&["volume", "create", "-o", "type=nfs", "data"]).contains("type=nfs is not possible")
    );
    assert!(host.refused(&["volume", "create", "-o", "size=1", "data"]).contains("invalid size"));
    assert!(host.refused(&["volume", "inspect", "absent"]).contains("no such volume"));
    assert!(host.refused(&["volume", "rm", "absent"]).contains("no such volume"));
    host.good(&["volume", "create", "-o", "size=64m", "data"]);
    let said = host.refused(&["volume", "create", "-o", "size=65m", "data"]);
    assert!(said.contains("exists already with other options"), "{said}");
    let left: Vec<_> = std::fs::read_dir(host.path("state/volumes"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(
        left.iter().filter(|name| *name != ".lock").collect::<Vec<_>>(),
        ["data"],
        "what was refused left nothing"
    );
}

#[test]
fn drivers_and_spellings() {
    let host = Host::start();
    host.good(&["volume", "create", "-o", "o=size=64m", "spelled"]);
    host.good(&["volume", "create", "-d", "gfs", "-o", "writers=many", "shared"]);
    let shown = |name: &str| {
        let format = "{{.Driver}} {{.Options}} {{.Status.Size}} {{.Status.InUseBy}}";
        host.good(&["volume", "inspect", name, "--format", format])
    };
    assert_eq!(shown("spelled"), format!("local map[o:size=64m] {} []", 64 << 20));
    assert_eq!(shown("shared"), "gfs map[writers:many] <no value> []");
    assert_eq!(host.good(&["volume", "ls", "-q", "--filter", "driver=gfs"]), "shared");
    let said = host.refused(&["volume", "create", "-d", "gfs", "spelled"]);
    assert!(said.contains("already exists with the local driver"), "{said}");
    // A file of the user's is formatted, and stays.
    let file = host.path("disk");
    std::fs::File::create(&file).unwrap().set_len(32 << 20).unwrap();
    let device = format!("device={}", file.display());
    host.good(&["volume", "create", "-o", "type=ext4", "-o", &device, "mine"]);
    let said = host.refused(&["volume", "create", "-o", &device, "second"]);
    assert!(said.contains("is the disk of volume mine already"), "{said}");
    host.good(&["volume", "rm", "mine", "shared"]);
    assert_eq!(std::fs::metadata(&file).unwrap().len(), 32 << 20);
    std::fs::write(&file, vec![b'x'; 16 << 20]).unwrap();
    let said = host.refused(&["volume", "create", "-o", &device, "mine"]);
    assert!(said.contains("holds something that is no ext4"), "{said}");
}

#[test]
fn a_container_that_is_not_made_leaves_no_volume() {
    let host = Host::with_image();
    // That is looked at when the volumes are there.
    assert!(!host.refused(&["create", "-v", "/data", "--storage-opt", "size=x", "made:1"]).is_empty());
    assert_eq!(host.good(&["volume", "ls", "-q"]), "");
    // One that is named is its client's, and one of a container that is made is its own.
    assert!(!host.refused(&["create", "-v", "data:/data", "--storage-opt", "size=x", "made:1"]).is_empty());
    assert_eq!(host.good(&["volume", "ls", "-q"]), "data");
    host.good(&["create", "-v", "/data", "made:1"]);
    assert_eq!(host.good(&["volume", "ls", "-q"]).lines().count(), 2);
}

#[test]
fn a_volume_without_a_disk_leaves_nothing_and_says_why() {
    let host = Host::start();
    std::fs::write(host.path("templates"), "no directory").unwrap();
    let said = host.refused(&["volume", "create", "data"]);
    assert!(said.contains("Not a directory"), "{said}");
    assert_eq!(host.good(&["volume", "ls", "-q"]), "");
    assert_eq!(std::fs::read_dir(host.path("state/volumes")).unwrap().count(), 1, "its lock");
}
