//! Where shards are on this node: roots with volumes on them, and which of them a task is about.
//!
//! A task names a volume. It is looked for by what is mounted at that moment, not by what was there at the last scan: a
//! volume that moved to another root is found there, and one that is gone is gone.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rientro_mailstore::{Control, Expected, Layout, volume};
use rientro_types::{Digest, MailboxId, PATH_BYTES_MAX, ShardId, TaskFailure, VolumeId};

use crate::inventory::{Entry, list_of};
use crate::named_file::open_named;
use crate::question::{Question, Unanswered};

/// One place where a volume is mounted.
#[derive(Clone, Debug)]
pub struct Root {
    /// Where.
    pub path: PathBuf,
    /// Where mailboxes stand on it.
    pub layout: Layout,
    /// File with a path below the root for each mailbox that must be there.
    pub expected: Option<PathBuf>,
    /// Whether only an enrolled marker counts as identity.
    pub marker_only: bool,
    /// What is asked of the disk.
    pub questions: Questions,
}

/// What is asked of the disk under a root; one that hangs keeps nobody from the other roots.
#[derive(Clone, Debug, Default)]
pub struct Questions {
    volume: Question<Option<VolumeId>>,
    expected: Question<io::Result<()>>,
    /// Its shards.
    pub shards: Question<BTreeMap<ShardId, Entry>>,
    /// The mailboxes of one of them.
    pub mailboxes: Question<io::Result<Vec<MailboxId>>>,
}

/// Longest wait for the identity of a volume. A disk under the load of an outage may be slow; one that does not say within
/// this who it is serves nobody.
const VOLUME_PATIENCE: Duration = Duration::from_secs(60);

/// Longest wait for the list of expected mailboxes: a few hundred megabytes on a disk that is shared with others.
const LIST_PATIENCE: Duration = Duration::from_secs(60);

/// A shard's place.
#[derive(Clone, Debug)]
pub struct Place {
    /// The root it is on.
    pub root: Arc<Root>,
    /// Path of the shard below it.
    pub path: Vec<u8>,
}

/// All roots, and where shards were at the last scan.
#[derive(Debug)]
pub struct Roots {
    all: Vec<Arc<Root>>,
    seen: RwLock<BTreeMap<ShardId, Seen>>,
}

/// A shard, as the last look saw it.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Where it is.
    pub place: Place,
    /// Digest of the addresses of its mailboxes.
    pub list: Digest,
}

/// A list of expected mailboxes cannot be used; no verification on its root can end well.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the list of expected mailboxes {}: {source}", list.display())]
pub struct ListError {
    /// The file.
    list: PathBuf,
    /// Why.
    source: io::Error,
}

impl ListError {
    fn of(list: &Path, source: io::Error) -> Self {
        Self { list: list.to_owned(), source }
    }
}

impl Root {
    /// Reads the list of expected mailboxes, where there is one.
    ///
    /// # Errors
    /// That it cannot be read, or that its file system does not answer.
    pub fn check_expected(&self) -> Result<(), ListError> {
        let Some(list) = self.expected.clone() else { return Ok(()) };
        let asked = list.clone();
        let read = self.questions.expected.ask(LIST_PATIENCE, move || for_each_path(&asked, |_| ()));
        let read = read.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        read.map_err(|source| ListError::of(&list, source))
    }

    /// The identity of the volume that is mounted; `None` when there is none that counts, or when it does not answer.
    #[must_use]
    pub fn volume(&self) -> Option<VolumeId> {
        let (path, marker_only) = (self.path.clone(), self.marker_only);
        let volume = self.questions.volume.ask(VOLUME_PATIENCE, move || identity(&path, marker_only));
        if volume == Err(Unanswered::InTime) {
            tracing::warn!(root = %self.path.display(), "the file system does not answer; its shards count as missing");
        }
        volume.ok().flatten()
    }
}

fn identity(path: &Path, marker_only: bool) -> Option<VolumeId> {
    match volume::identify(path) {
        Ok(id) if marker_only && !id.as_str().starts_with("marker:") => None,
        Ok(id) => Some(id),
        Err(error) => {
            tracing::debug!(%error, "root without a volume");
            None
        }
    }
}

impl Place {
    /// The shard's directory.
    #[must_use]
    pub fn directory(&self) -> PathBuf {
        self.root.path.join(std::ffi::OsStr::from_bytes(&self.path))
    }

    /// The mailboxes that must be in the shard; `None` when nobody says, as when the list has no line of this shard.
    ///
    /// # Errors
    /// That the list cannot be read.
    pub fn expected(&self) -> Result<Option<Expected>, ListError> {
        let Some(list) = self.root.expected.as_deref() else { return Ok(None) };
        expected_below(list, &self.path).map_err(|source| ListError::of(list, source))
    }
}

impl Roots {
    /// Over these roots, in the order in which they are searched.
    #[must_use]
    pub fn new(roots: Vec<Root>) -> Self {
        Self { all: roots.into_iter().map(Arc::new).collect(), seen: RwLock::default() }
    }

    /// Every root.
    #[must_use]
    pub fn all(&self) -> &[Arc<Root>] {
        &self.all
    }

    /// Remembers where shards are, and what is in them.
    pub fn remember(&self, seen: BTreeMap<ShardId, Seen>) {
        *self.seen.write().unwrap_or_else(PoisonError::into_inner) = seen;
    }

    fn seen(&self, shard: ShardId) -> Option<Seen> {
        self.seen.read().unwrap_or_else(PoisonError::into_inner).get(&shard).cloned()
    }

    /// Whether other mailboxes are in a shard than at the last look. What cannot be listed is told by a verification.
    #[must_use]
    pub fn lists_others(&self, shard: ShardId, place: &Place, control: &Control) -> bool {
        let Some(seen) = self.seen(shard) else { return false };
        list_of(place, control).is_ok_and(|(list, _)| list != seen.list)
    }

    /// What is mounted, root by root.
    #[must_use]
    pub fn volumes(&self) -> Vec<Option<VolumeId>> {
        self.all.iter().map(|root| root.volume()).collect()
    }

    /// Finds a shard on a volume. Calls `look_at` for each root that has it, before anything is looked for there.
    ///
    /// # Errors
    /// [`TaskFailure::VolumeWrong`] when the volume is on none of the roots, [`TaskFailure::ShardMissing`] when the shard is
    /// not on it, and what `look_at` says.
    pub fn find(
        &self,
        shard: ShardId,
        volume: VolumeId,
        look_at: impl Fn(&Root) -> Result<(), TaskFailure>,
    ) -> Result<Place, TaskFailure> {
        let seen = self.seen(shard).map(|seen| seen.place);
        let mounted: Vec<_> = self.all.iter().filter(|root| root.volume() == Some(volume)).collect();
        if mounted.is_empty() {
            return Err(TaskFailure::VolumeWrong { found: self.instead(seen.as_ref()) });
        }
        mounted.iter().try_for_each(|root| look_at(root))?;
        let remembered = seen.filter(|place| {
            mounted.iter().any(|root| Arc::ptr_eq(root, &place.root)) && place.directory().is_dir()
        });
        remembered
            .or_else(|| mounted.into_iter().find_map(|root| listed(root, shard)))
            .ok_or(TaskFailure::ShardMissing)
    }

    /// What is mounted where the shard was, or should be.
    fn instead(&self, seen: Option<&Place>) -> Option<VolumeId> {
        match (seen, &self.all[..]) {
            (Some(place), _) => place.root.volume(),
            (None, [only]) => only.volume(),
            (None, _) => None,
        }
    }
}

/// Looks for a shard in a fresh listing.
fn listed(root: &Arc<Root>, shard: ShardId) -> Option<Place> {
    let shards = root.layout.shards(&root.path).ok()?.found;
    let path = shards.into_iter().find(|found| found.id == shard)?.path;
    Some(Place { root: Arc::clone(root), path })
}

/// The lines of a list that lie below the shard, as paths inside it. Lines are paths below the root. One that names the shard
/// itself says that it is in the list, with whatever other lines say of it: with none, that it is empty. A list that is cut
/// short or stale says nothing of a shard that it does not name.
pub(crate) fn expected_below(list: &Path, shard: &[u8]) -> io::Result<Option<Expected>> {
    let mut paths = Vec::new();
    let mut named = false;
    for_each_path(list, |path| {
        named |= path == shard || (shard.is_empty() && path == b".");
        paths.extend(below(path, shard).map(<[u8]>::to_vec));
    })?;
    named |= !paths.is_empty();
    Ok(named.then(|| paths.into_iter().collect()))
}

/// Longest line of a list, its end included.
const LINE_BYTES_MAX: usize = PATH_BYTES_MAX + 2;

/// Shows every path of a list, one a line; empty lines and those that begin with `#` are passed over.
///
/// # Errors
/// The error of reading it; invalid input when it is no regular file, or a line is no path below a root.
pub(crate) fn for_each_path(list: &Path, mut show: impl FnMut(&[u8])) -> io::Result<()> {
    let invalid = |problem: String| Err(io::Error::new(io::ErrorKind::InvalidInput, problem));
    let mut input = BufReader::new(open_named(list)?);
    let mut line = Vec::new();
    for number in 1_u64.. {
        line.clear();
        input.by_ref().take(LINE_BYTES_MAX as u64).read_until(b'\n', &mut line)?;
        if line.is_empty() {
            break;
        }
        let Some(path) = line.strip_suffix(b"\n").or((line.len() < LINE_BYTES_MAX).then_some(&line)) else {
            return invalid(format!("line {number} is longer than a path can be ({PATH_BYTES_MAX} bytes)"));
        };
        let path = path.strip_suffix(b"\r").unwrap_or(path);
        if path.is_empty() || path.starts_with(b"#") {
            continue;
        }
        let path = path.strip_suffix(b"/").unwrap_or(path);
        if !is_below_root(path) {
            return invalid(format!("line {number} is no path below the root, such as example.org/anna"));
        }
        show(path);
    }
    Ok(())
}

/// Whether names lead down from the root, and nowhere else.
fn is_below_root(path: &[u8]) -> bool {
    const MARK: &[u8] = b"\xef\xbb\xbf";
    let is_name = |name: &[u8]| !matches!(name, b"" | b"." | b"..");
    path == b"." || (path.split(|byte| *byte == b'/').all(is_name) && !path.starts_with(MARK))
}

fn below<'p>(path: &'p [u8], shard: &[u8]) -> Option<&'p [u8]> {
    if shard.is_empty() {
        Some(path).filter(|path| path != b".")
    } else {
        path.strip_prefix(shard)?.strip_prefix(b"/")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is no list is refused at once, and not read until memory ends.
    #[test]
    fn a_list_is_a_file_of_paths() {
        let folder = tempfile::tempdir().unwrap();
        let list = folder.path().join("list");
        std::fs::write(&list, b"# mailboxes\n\nex.org/anna\r\nex.org/bo").unwrap();
        let mut paths = Vec::new();
        for_each_path(&list, |path| paths.push(path.to_vec())).unwrap();
        assert_eq!(paths, [&b"ex.org/anna"[..], b"ex.org/bo"]);
        assert!(for_each_path(Path::new("/dev/zero"), |_| ()).is_err());
        assert!(for_each_path(folder.path(), |_| ()).is_err());
        std::fs::write(&list, vec![b'a'; PATH_BYTES_MAX + 9]).unwrap();
        let refused = for_each_path(&list, |_| ()).unwrap_err().to_string();
        assert!(refused.starts_with("line 1 is longer"), "{refused}");
        for line in ["/srv/ex.org/anna", "./ex.org/anna", "ex.org//anna", "../anna", "\u{feff}ex.org/anna"] {
            std::fs::write(&list, format!("ex.org/bert/\n{line}\n")).unwrap();
            let refused = for_each_path(&list, |_| ()).unwrap_err().to_string();
            assert!(refused.starts_with("line 2 is no path below the root"), "{line}: {refused}");
        }
    }

    /// T24, R7: silence about a shard says nothing; only a line of its own says that it is empty.
    #[test]
    fn a_list_says_nothing_of_a_shard_that_it_does_not_name() {
        let folder = tempfile::tempdir().unwrap();
        let list = folder.path().join("list");
        std::fs::write(&list, "s1/ex.org/anna\ns2/\n").unwrap();
        let expected = |shard: &[u8]| expected_below(&list, shard).unwrap().map(|list| list.len());
        assert_eq!([expected(b"s1"), expected(b"s2"), expected(b"s3")], [Some(1), Some(0), None]);
        assert_eq!(expected(b""), Some(2), "a volume that is one shard");
        std::fs::write(&list, "").unwrap();
        assert_eq!([expected(b"s1"), expected(b"")], [None; 2]);
        std::fs::write(&list, ".\n").unwrap();
        assert_eq!(expected(b""), Some(0));
    }
}
