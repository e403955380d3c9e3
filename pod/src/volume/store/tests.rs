//! A store of volumes, with the host's own mkfs.ext4.

use std::collections::BTreeMap;

use super::*;
use crate::volume::GFS;

fn wanted(name: &str, driver: Option<&str>, options: &[(&str, &str)]) -> Wanted {
    let options: BTreeMap<_, _> =
        options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Wanted { name: name.to_owned(), driver: driver.map(str::to_owned), options, ..Wanted::default() }
}

#[test]
fn volumes_are_made_found_grown_and_removed() {
    let dir = tempfile::tempdir().unwrap();
    let volumes = Volumes::at(dir.path().join("volumes"));
    assert_eq!(volumes.all().unwrap(), []);
    let templates = dir.path().join("templates");
    let locked = volumes.lock().unwrap();
    let data = wanted("data", None, &[("size", "64m")]);
    let (volume, made) = locked.make(&data, &templates).unwrap();
    assert!(made && volume.is_disk() && volume.has_one_writer());
    let place = volumes.place(&volume);
    assert_eq!(fs::metadata(&place).unwrap().len(), 64 << 20);
    assert!(volumes.used(&volume) > 0 && volumes.used(&volume) < 8 << 20, "sparse");
    assert_eq!(locked.make(&data, &templates).unwrap(), (volume.clone(), false));
    assert!(!locked.make(&wanted("data", None, &[]), &templates).unwrap().1);
    let other = wanted("data", None, &[("size", "65m")]);
    assert!(matches!(locked.make(&other, &templates), Err(VolumeError::Exists(_))));
    let other = wanted("data", Some(GFS), &[]);
    assert!(matches!(locked.make(&other, &templates), Err(VolumeError::Driver { driver: "local", .. })));

    assert!(
        matches!(locked.grow("data", Some(63 << 20)), Err(VolumeError::Shrink { size, .. }) if size == 64 << 20)
    );
    locked.grow("data", Some(80 << 20)).unwrap();
    assert_eq!(fs::metadata(&place).unwrap().len(), 80 << 20);
    assert_eq!(volumes.size(&volumes.find("data").unwrap()), Some(80 << 20));

    let (shared, _) = locked.make(&wanted("shared", Some(GFS), &[("writers", "many")]), &templates).unwrap();
    assert!(!shared.is_disk() && !shared.has_one_writer());
    fs::write(volumes.place(&shared).join("file"), "x").unwrap();
    assert!(writer_lock(&volumes.place(&shared)).is_file());
    assert!(matches!(locked.grow("shared", Some(1 << 30)), Err(VolumeError::Sizeless(..))));
    let names: Vec<_> = volumes.all().unwrap().into_iter().map(|volume| volume.name).collect();
    assert_eq!(names, ["data", "shared"]);

    // What a killed process left.
    fs::create_dir(volumes.dir(".x.gone")).unwrap();
    fs::create_dir_all(volumes.dir(".y.new").join("data/deep")).unwrap();
    locked.tidy().unwrap();
    locked.remove("data").unwrap();
    locked.remove("shared").unwrap();
    assert!(matches!(locked.remove("data"), Err(VolumeError::Missing(_))));
    let left: Vec<_> =
        fs::read_dir(dir.path().join("volumes")).unwrap().flatten().map(|one| one.file_name()).collect();
    assert_eq!(left, [".lock"]);
}

#[test]
fn a_file_of_the_user_is_formatted_once_and_stays() {
    let dir = tempfile::tempdir().unwrap();
    let volumes = Volumes::at(dir.path().join("volumes"));
    let locked = volumes.lock().unwrap();
    let path = dir.path().join("disk");
    let file = File::create_new(&path).unwrap();
    file.set_len(32 << 20).unwrap();
    let device = path.to_str().unwrap();
    let mine = wanted("mine", None, &[("device", device)]);
    let (volume, _) = locked.make(&mine, dir.path()).unwrap();
    assert_eq!((volumes.place(&volume), volumes.size(&volume)), (path.clone(), Some(32 << 20)));
    let formatted = fs::read(&path).unwrap();
    assert_eq!(formatted[1024 + 0x38..][..2], [0x53, 0xef]);
    let link = dir.path().join("link");
    fs::hard_link(&path, &link).unwrap();
    let second = wanted("second", None, &[("device", link.to_str().unwrap())]);
    assert!(
        matches!(locked.make(&second, dir.path()), Err(VolumeError::Shared { volume, .. }) if volume == "mine")
    );
    let shown = locked.make(&wanted("data", None, &[("size", "16m")]), dir.path()).unwrap().0;
    let of_store = volumes.place(&shown);
    let third = wanted("third", None, &[("device", of_store.to_str().unwrap())]);
    assert!(
        matches!(locked.make(&third, dir.path()), Err(VolumeError::Shared { volume, .. }) if volume == "data")
    );
    assert!(matches!(locked.grow("mine", Some(64 << 20)), Err(VolumeError::Sizeless(..))));
    file.set_len(48 << 20).unwrap();
    locked.grow("mine", None).unwrap();
    locked.remove("mine").unwrap();
    // It is the user's, with what it has.
    assert_eq!(fs::metadata(&path).unwrap().len(), 48 << 20);
    locked.make(&mine, dir.path()).unwrap();
    assert_eq!(fs::read(&path).unwrap()[..formatted.len()], formatted);
}

#[test]
fn one_process_changes_the_store_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let volumes = Volumes::at(dir.path().join("volumes"));
    let locked = volumes.lock().unwrap();
    let file = File::open(dir.path().join("volumes/.lock")).unwrap();
    assert!(flock(&file, FlockOperation::NonBlockingLockExclusive).is_err());
    drop(locked);
    flock(&file, FlockOperation::NonBlockingLockExclusive).unwrap();
}

#[test]
fn what_a_process_has_is_not_removed() {
    let dir = tempfile::tempdir().unwrap();
    let volumes = Volumes::at(dir.path().join("volumes"));
    let locked = volumes.lock().unwrap();
    let (disk, _) = locked.make(&wanted("disk", None, &[("size", "16m")]), dir.path()).unwrap();
    let (shared, _) = locked.make(&wanted("shared", Some(GFS), &[]), dir.path()).unwrap();
    for (volume, path) in [(&disk, volumes.place(&disk)), (&shared, writer_lock(&volumes.place(&shared)))] {
        let file = File::open(&path).unwrap();
        flock(&file, FlockOperation::NonBlockingLockShared).unwrap();
        assert!(matches!(locked.remove(&volume.name), Err(VolumeError::InUse(_))));
        assert_eq!(volumes.find(&volume.name).unwrap(), *volume);
        drop(file);
        locked.remove(&volume.name).unwrap();
    }
}

#[test]
fn a_record_has_the_name_of_its_directory_and_this_version() {
    let dir = tempfile::tempdir().unwrap();
    let volumes = Volumes::at(dir.path().join("volumes"));
    let locked = volumes.lock().unwrap();
    let (first, _) = locked.make(&wanted("first", Some(GFS), &[]), dir.path()).unwrap();
    let record = volumes.dir("first").join(RECORD);
    fs::create_dir_all(volumes.dir("copy").join(DATA)).unwrap();
    fs::copy(&record, volumes.dir("copy").join(RECORD)).unwrap();
    let copy = volumes.find("copy").unwrap();
    assert_eq!(volumes.place(&copy), volumes.dir("copy").join(DATA));
    locked.write(&record, &Volume { version: VERSION + 1, ..first }).unwrap();
    assert!(matches!(volumes.get("first"), Err(VolumeError::Record { .. })));
}
