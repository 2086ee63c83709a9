//! Where manifests are written: nothing but a manifest is changed by that.

#![allow(clippy::unwrap_used, reason = "a fixture that cannot be built fails its test")]

mod store;

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rientro_mailstore::{Control, Manifest, ManifestError, Target, Written, write_baseline};
use rustix::fs::{CWD, Mode, mkfifoat};
use store::{Store, message};

fn pipe(path: &Path) {
    mkfifoat(CWD, path, Mode::RUSR | Mode::WUSR).unwrap();
}

/// A store with three messages of anna's, and a directory beside it.
struct Case {
    store: Store,
    apart: tempfile::TempDir,
    mail: PathBuf,
}

impl Case {
    fn new() -> Self {
        let (store, anna) = Store::with_anna();
        Self { store, apart: tempfile::tempdir().unwrap(), mail: anna.file(1) }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.apart.path().join(name)
    }

    fn write(&self, to: &Path, previous: Option<&Manifest>) -> Result<Written, ManifestError> {
        let target = Target { path: to, previous, damaged_too: false, now_ms: 0 };
        write_baseline(&self.store.task(), target, &Control::default(), &mut |_| ())
    }

    /// How the writing to `baseline` is refused; it leaves nothing behind.
    fn refused(&self) -> String {
        let names = || fs::read_dir(self.apart.path()).unwrap().count();
        let before = names();
        let refused = self.write(&self.at("baseline"), None).unwrap_err();
        assert_eq!(names(), before, "{refused}");
        assert_eq!(fs::read(&self.mail).unwrap(), message(1), "{refused}");
        refused.to_string()
    }
}

/// What stands beside the place is written over only where a writer of manifests left it.
#[test]
fn what_is_in_the_way_is_left_as_it_is() {
    for (put, why) in [
        ((|case, way| symlink(&case.mail, way).unwrap()) as fn(&Case, &Path), "it is a symbolic link"),
        (|case, way| symlink(case.at("nowhere"), way).unwrap(), "it is a symbolic link"),
        (|case, way| fs::hard_link(&case.mail, way).unwrap(), "it has another name too"),
        (|_, way| fs::write(way, "precious").unwrap(), "no writing of a manifest left it"),
        (|_, way| fs::create_dir(way).unwrap(), "it is a directory"),
        (|_, way| pipe(way), "it is no regular file"),
        (|_, way| drop(UnixListener::bind(way).unwrap()), "it is no regular file"),
    ] {
        let case = Case::new();
        let way = case.at("baseline.new");
        put(&case, &way);
        let state = || {
            let meta = fs::symlink_metadata(&way).unwrap();
            (meta.file_type(), meta.len(), meta.modified().unwrap())
        };
        let before = state();
        let refused = case.refused();
        let told = format!("{} is in the way: {why}. It stays as it is; remove it", way.display());
        assert!(refused.starts_with(&told), "{refused}");
        assert_eq!(state(), before);
    }
}

/// Root may write to every file, and this is one that somebody else put there.
#[test]
fn a_file_of_another_user_is_left_as_it_is() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let case = Case::new();
    let way = case.at("baseline.new");
    fs::write(&way, "").unwrap();
    std::os::unix::fs::chown(&way, Some(65_534), None).unwrap();
    assert!(case.refused().contains("is in the way: it belongs to another user"));
}

/// A link is replaced, and what it leads to is not touched; anything that cannot be replaced is refused before mail is read.
#[test]
fn only_a_file_or_a_link_is_replaced() {
    let case = Case::new();
    let place = case.at("baseline");
    symlink(&case.mail, &place).unwrap();
    case.write(&place, None).unwrap();
    assert!(fs::symlink_metadata(&place).unwrap().is_file());
    assert_eq!(fs::read(&case.mail).unwrap(), message(1));
    for put in [pipe as fn(&Path), |place| fs::create_dir(place).unwrap()] {
        let case = Case::new();
        put(&case.at("baseline"));
        assert!(case.refused().starts_with("replace "));
    }
}

/// The manifest before is the one that stands there when the new one is begun.
#[test]
fn a_manifest_that_another_process_wrote_meanwhile_is_not_replaced() {
    let case = Case::new();
    let place = case.at("baseline");
    case.write(&place, None).unwrap();
    let opened = Manifest::open(&place).unwrap();
    case.write(&place, None).unwrap();
    let between = fs::read(&place).unwrap();
    let refused = case.write(&place, Some(&opened)).unwrap_err();
    assert!(matches!(refused, ManifestError::Replaced { .. }), "{refused}");
    assert_eq!(fs::read(&place).unwrap(), between);
    let opened = Manifest::open(&place).unwrap();
    case.write(&place, Some(&opened)).unwrap();
    let target = Target { path: &place, previous: Some(&opened), damaged_too: false, now_ms: 0 };
    let task = rientro_mailstore::Task { shard: b"ex.org", ..case.store.task() };
    let refused = write_baseline(&task, target, &Control::default(), &mut |_| ()).unwrap_err();
    assert!(
        refused.to_string().ends_with("is the baseline of another shard; write this one elsewhere"),
        "{refused}"
    );
}

/// Who waits for a writer may remove what that one writes, and begin: neither puts what the other has written into the place.
#[test]
fn what_another_process_is_writing_is_not_put_into_the_place() {
    let case = Case::new();
    let (place, beside) = (case.at("baseline"), case.at("baseline.new"));
    case.write(&place, None).unwrap();
    let before = fs::read(&place).unwrap();
    fs::write(&case.mail, "").unwrap();
    for half in [Some("rientro-manifest, and half of a mailbox"), None] {
        let target = Target { path: &place, previous: None, damaged_too: false, now_ms: 0 };
        let mut replace = |_| {
            fs::remove_file(&beside).ok();
            half.inspect(|half| fs::write(&beside, half).unwrap());
        };
        let refused =
            write_baseline(&case.store.task(), target, &Control::default(), &mut replace).unwrap_err();
        let told = format!("{} has been removed or written by another process", beside.display());
        assert!(refused.to_string().starts_with(&told), "{refused}");
        assert_eq!(fs::read(&place).unwrap(), before);
        assert_eq!(fs::read_to_string(&beside).ok().as_deref(), half);
        fs::remove_file(&beside).ok();
        assert_eq!(fs::read_dir(case.apart.path()).unwrap().count(), 1);
    }
}

/// Before mail is read, which may take hours.
#[test]
fn a_place_that_is_no_name_of_a_file_is_refused() {
    let case = Case::new();
    fs::create_dir(case.at("sub")).unwrap();
    for place in ["new/", "new/.", "sub/..", "sub/", "baseline//"] {
        let control = Control::default();
        let target = Target { path: &case.at(place), previous: None, damaged_too: false, now_ms: 0 };
        let refused = write_baseline(&case.store.task(), target, &control, &mut |_| ()).unwrap_err();
        assert!(refused.to_string().starts_with("write "), "{refused}");
        assert_eq!(control.progress().messages, 0);
    }
    assert_eq!(fs::read_dir(case.apart.path()).unwrap().count(), 1);
}

/// Nothing is waited for, and nothing without an end is read.
#[test]
fn only_a_regular_file_is_a_manifest() {
    let case = Case::new();
    let (pipe, other) = (case.at("pipe"), case.at("other"));
    self::pipe(&pipe);
    for path in [&*pipe, case.apart.path(), Path::new("/dev/zero")] {
        let refused = Manifest::open(path).unwrap_err();
        let ManifestError::Io { what: "open", source, .. } = &refused else { panic!("{refused}") };
        assert_eq!(source.to_string(), "it is no regular file");
    }
    fs::write(&other, "rientro").unwrap();
    assert!(matches!(Manifest::open(&other), Err(ManifestError::Malformed { .. })));
    fs::write(&other, "rientra").unwrap();
    assert!(matches!(Manifest::open(&other), Err(ManifestError::Foreign { .. })));
}
