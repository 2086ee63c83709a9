//! The state directory: the journal, the cell's mailbox key, the directory of mailboxes.
//!
//! The key is made once, with the cell: with another key every mailbox would have another id. So a journal without its key is
//! refused, and a key is never made beside a journal that has begun. The record that founds the cell has the key's digest, by
//! which another key is known at a start, at a restore and whenever the journal is verified.
//!
//! A cell is founded only in a directory that has nothing of a cell. Before anything of the cell is made a mark says that it is
//! being founded, and the first leader takes the mark away: a journal that is gone is then never taken for one not begun yet.

mod error;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rientro_engine::Origin;
use rientro_types::{Digest, Epoch, Incarnation, Record};
use rientro_wire::codec;

pub(crate) use error::ForeignKey;
pub use error::StateDirError;

use crate::driver::Source;
use crate::journal::{self, JournalError, RedbJournal, RedbOptions, Restored, SealedEntry};

const DIR_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;
/// Length of the cell's mailbox key.
const KEY_BYTES: usize = 32;

/// Largest number that a life can be asked to be above: a second in 2105. Tries are counted on from a life's number, and need room.
pub const LIFE_FLOOR_MAX: u32 = 4_270_000_000;

/// A life of the cell that begins with the next leader.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NewLife {
    /// The newest life that was met, where an operator has said so.
    pub above: Option<Incarnation>,
}

/// Where an orchestrator keeps what must survive it.
#[derive(Clone, Debug)]
pub struct StateDir {
    path: PathBuf,
    options: RedbOptions,
    /// Set when the operator says that the journal was restored.
    restored: Option<NewLife>,
}

/// What to restore a journal from.
#[derive(Clone, Debug)]
pub struct Restore {
    /// The backup file.
    pub backup: PathBuf,
    /// The highest epoch that any agent or gate has seen, if it is known to be above the backup's.
    pub epoch_floor: Option<Epoch>,
    /// The newest life that any agent has met, if the next one might not be above it.
    pub life_floor: Option<Incarnation>,
}

/// What a restore made of a state directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestoredState {
    /// The journal.
    pub journal: Restored,
    /// The key of the backup's cell is there already.
    pub has_key: bool,
}

impl StateDir {
    /// The directory at `path`, which is made when it is missing.
    ///
    /// # Errors
    /// [`StateDirError::Io`] when it can be neither found nor made.
    pub fn open(path: &Path, options: RedbOptions, restored: Option<NewLife>) -> Result<Self, StateDirError> {
        let made = fs::DirBuilder::new().recursive(true).mode(DIR_MODE).create(path);
        made.map_err(|source| StateDirError::Io { what: "make", path: path.to_owned(), source })?;
        Ok(Self { path: path.to_owned(), options, restored })
    }

    /// The journal.
    #[must_use]
    pub fn journal(&self) -> PathBuf {
        self.path.join("journal.redb")
    }

    /// The directory of mailboxes.
    #[must_use]
    pub fn directory(&self) -> PathBuf {
        self.path.join("directory.redb")
    }

    fn marker(&self) -> PathBuf {
        self.path.join("restored")
    }

    /// What a restore has marked; its content is the newest life that was met, if that was said.
    fn marked(&self) -> Result<Option<NewLife>, JournalError> {
        let path = self.marker();
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(JournalError::Io { what: "read", path, source }),
        };
        if text.trim().is_empty() {
            return Ok(Some(NewLife::default()));
        }
        life_floor(text.trim()).map(|life| Some(NewLife { above: Some(life) })).map_err(|problem| {
            let source = io::Error::new(io::ErrorKind::InvalidData, problem);
            JournalError::Io { what: "read", path, source }
        })
    }

    /// Is there from before anything of a new cell is made until its first leader has led.
    fn founding(&self) -> PathBuf {
        self.path.join("founding")
    }

    /// Marks an empty directory as one where a cell is being founded; the first thing to be done at a start.
    ///
    /// # Errors
    /// [`StateDirError`] when there is something of a cell and no journal, or the mark cannot be written.
    pub fn prepare(&self) -> Result<(), StateDirError> {
        let journal = self.journal();
        if is_there(&journal)? || is_there(&self.founding())? {
            return Ok(());
        }
        for beside in [self.key_path(), self.directory(), self.marker()] {
            if is_there(&beside)? {
                return Err(StateDirError::JournalMissing { journal, beside });
            }
        }
        self.write_whole("founding", b"")
    }

    /// The file of the cell's mailbox key.
    pub(crate) fn key_path(&self) -> PathBuf {
        self.path.join("mailbox.key")
    }

    /// The key of the cell's mailbox ids; made here when there is no journal yet.
    ///
    /// # Errors
    /// [`StateDirError`] when it is missing beside a journal, damaged, or cannot be read or made.
    pub fn mailbox_key(&self) -> Result<[u8; KEY_BYTES], StateDirError> {
        self.read_key()?.map_or_else(|| self.make_key(), Ok)
    }

    /// Compares the key in the directory, if there is one, with what the journal of a cell says of it. True when there is one.
    ///
    /// # Errors
    /// [`StateDirError::ForeignKey`] when it is another one; [`StateDirError`] when it is damaged or cannot be read.
    pub(crate) fn check_key(&self, founded_with: Digest) -> Result<bool, StateDirError> {
        let Some(key) = self.read_key()? else { return Ok(false) };
        if Digest::of_mailbox_key(&key) == founded_with {
            return Ok(true);
        }
        Err(ForeignKey { path: self.key_path() }.into())
    }

    fn read_key(&self) -> Result<Option<[u8; KEY_BYTES]>, StateDirError> {
        let path = self.key_path();
        let unreadable = |why: String| StateDirError::KeyUnreadable { path: path.clone(), why };
        // Nothing but a file is opened: a pipe would be waited for without end.
        let meta = match fs::metadata(&path) {
            Ok(meta) => meta,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unreadable(error.to_string())),
        };
        if !meta.is_file() {
            let what = if meta.is_dir() { "it is a directory" } else { "it is no regular file" };
            return Err(unreadable(what.to_owned()));
        }
        let mut key = [0; KEY_BYTES];
        if meta.len() != KEY_BYTES as u64 {
            return Err(StateDirError::KeyDamaged { path, bytes: meta.len() });
        }
        let read = File::open(&path).and_then(|mut file| file.read_exact(&mut key));
        read.map(|()| Some(key)).map_err(|error| unreadable(error.to_string()))
    }

    fn make_key(&self) -> Result<[u8; KEY_BYTES], StateDirError> {
        let path = self.key_path();
        if self.journal().exists() {
            return Err(StateDirError::KeyMissing { path });
        }
        let key = random();
        self.write_whole("mailbox.key", &key)?;
        Ok(key)
    }

    /// Makes the journal from a backup. The next leader begins a new life of the cell.
    ///
    /// # Errors
    /// [`StateDirError`] when there is a journal already, the key in the directory is not the one of the backup's cell, the backup
    /// is damaged, or something cannot be written. Nothing is restored then.
    pub async fn restore(&self, restore: &Restore) -> Result<RestoredState, StateDirError> {
        let target = self.journal();
        if target.exists() {
            return Err(JournalError::Exists { path: target }.into());
        }
        self.require_unused()?;
        let first = match journal::first_entry(&restore.backup).await {
            Err(JournalError::Missing { path }) => return Err(StateDirError::BackupMissing { path }),
            first => first?,
        };
        // A backup whose first entry founds nothing is damaged, which restoring it tells.
        let founded_with = first.as_ref().and_then(founding_key);
        let has_key = founded_with.map_or(Ok(false), |founded_with| self.check_key(founded_with))?;
        // First, so that no crash leaves a restored journal that is taken for one that was always there.
        let floor = restore.life_floor.map(|life| life.to_string()).unwrap_or_default();
        self.write_whole("restored", floor.as_bytes())?;
        let restored = RedbJournal::restore(&restore.backup, &target, restore.epoch_floor).await;
        if restored.is_err() && !target.exists() {
            // Nothing was restored: a journal that is put here later is not taken for one that was.
            let path = self.marker();
            fs::remove_file(&path).map_err(|source| StateDirError::Io { what: "remove", path, source })?;
        }
        Ok(RestoredState { journal: restored?, has_key })
    }

    /// Whoever leads from the directory has the directory of mailboxes locked, also when its journal was moved away.
    fn require_unused(&self) -> Result<(), StateDirError> {
        let path = self.directory();
        let opened = match OpenOptions::new().read(true).write(true).open(&path) {
            Ok(opened) => opened,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(source) => return Err(StateDirError::Io { what: "open", path, source }),
        };
        match rustix::fs::flock(&opened, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(()),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(StateDirError::InUse { path }),
            Err(error) => Err(StateDirError::Io { what: "lock", path, source: error.into() }),
        }
    }

    /// Writes a file that is there whole or not at all.
    fn write_whole(&self, name: &str, content: &[u8]) -> Result<(), StateDirError> {
        let (unfinished, path) = (self.path.join(format!("{name}.unfinished")), self.path.join(name));
        let write = || {
            let mut file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(FILE_MODE)
                .open(&unfinished)?;
            file.write_all(content)?;
            file.sync_all()?;
            fs::rename(&unfinished, &path)?;
            File::open(&self.path)?.sync_all()
        };
        write().map_err(|source| StateDirError::Io { what: "write", path: path.clone(), source })
    }
}

impl Source for StateDir {
    type Journal = RedbJournal;

    async fn open(&self) -> Result<RedbJournal, JournalError> {
        let path = self.journal();
        match RedbJournal::open(&path, self.options).await {
            Err(JournalError::Missing { .. }) if self.founding().exists() => {
                RedbJournal::create(&path, self.options).await
            }
            opened => opened,
        }
    }

    fn restored(&self) -> Result<Option<NewLife>, JournalError> {
        Ok(match (self.restored, self.marked()?) {
            (Some(said), Some(marked)) => Some(NewLife { above: said.above.max(marked.above) }),
            (said, marked) => said.or(marked),
        })
    }

    fn led(&mut self, _origin: Origin) -> Result<(), JournalError> {
        self.restored = None;
        for mark in [self.marker(), self.founding()] {
            match fs::remove_file(&mark) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(JournalError::Io { what: "remove", path: mark, source: error });
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Reads the number of the newest life that was met.
///
/// # Errors
/// What is wrong with it, and what to do, in words for people.
pub fn life_floor(text: &str) -> Result<Incarnation, String> {
    match text.parse() {
        Ok(life) if life <= LIFE_FLOOR_MAX => Ok(Incarnation::from_raw(life)),
        Ok(_) => Err(format!(
            "no life can begin above one with a number above {LIFE_FLOOR_MAX}; make the agent anew that says it has met one: move \
             its state directory away"
        )),
        Err(_) => Err("give the number of a life, as `rientro cell show` tells it".to_owned()),
    }
}

/// What the entry that founds a cell says of its mailbox key.
fn founding_key(entry: &SealedEntry) -> Option<Digest> {
    let entry = codec::decode_entry(entry.payload()).ok()?;
    entry.decisions.iter().find_map(|decision| {
        if let Record::CellFounded { mailbox_key, .. } = decision.record { Some(mailbox_key) } else { None }
    })
}

fn is_there(path: &Path) -> Result<bool, StateDirError> {
    let looked = path.try_exists();
    looked.map_err(|source| StateDirError::Io { what: "look at", path: path.to_owned(), source })
}

/// Random bytes from the operating system.
///
/// # Panics
/// When the operating system has none, which no kernel that this runs on can answer after it has started.
#[allow(
    clippy::disallowed_methods,
    reason = "the one place where chance comes in; all else is given what it drew"
)]
pub(crate) fn random() -> [u8; KEY_BYTES] {
    let mut bytes = [0; KEY_BYTES];
    let filled = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
    assert_eq!(filled, Ok(KEY_BYTES), "a short request for random bytes is answered whole (getrandom(2))");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_key_is_made_once_and_is_private() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::open(folder.path(), RedbOptions::default(), None).unwrap();
        let key = state.mailbox_key().unwrap();
        assert_eq!(state.mailbox_key().unwrap(), key);
        assert_eq!(fs::metadata(state.key_path()).unwrap().permissions().mode() & 0o777, FILE_MODE);
    }

    #[test]
    fn a_journal_without_its_key_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::open(folder.path(), RedbOptions::default(), None).unwrap();
        fs::write(state.journal(), b"begun").unwrap();
        assert!(matches!(state.mailbox_key(), Err(StateDirError::KeyMissing { .. })));
        fs::write(state.key_path(), b"short").unwrap();
        assert!(matches!(state.mailbox_key(), Err(StateDirError::KeyDamaged { bytes: 5, .. })));
    }

    /// A start that is killed before the journal is made can be tried again; a directory that has lost its journal is refused.
    #[tokio::test]
    async fn a_cell_is_founded_only_where_nothing_is() {
        let folder = tempfile::tempdir().unwrap();
        let mut state = StateDir::open(folder.path(), RedbOptions::default(), None).unwrap();
        for _killed in 0..2 {
            state.prepare().unwrap();
            state.mailbox_key().unwrap();
        }
        drop(Source::open(&state).await.unwrap());
        state.led(Origin::Continued).unwrap();
        state.prepare().unwrap();
        fs::remove_file(state.journal()).unwrap();
        assert!(matches!(Source::open(&state).await, Err(JournalError::Missing { .. })));
        assert!(matches!(state.prepare(), Err(StateDirError::JournalMissing { .. })));
    }

    fn as_founded(key: [u8; KEY_BYTES]) -> Digest {
        Digest::of_mailbox_key(&key)
    }

    /// Another key of the right length is known by its digest, which is not the key and no hash of it that others make.
    #[test]
    fn a_key_is_known_again() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::open(folder.path(), RedbOptions::default(), None).unwrap();
        assert!(!state.check_key(Digest::ZERO).unwrap(), "there is none to compare");
        let key = state.mailbox_key().unwrap();
        assert!(state.check_key(as_founded(key)).unwrap());
        assert_ne!(as_founded(key), Digest::of(&key));
        fs::write(state.key_path(), [9; KEY_BYTES]).unwrap();
        let refused = state.check_key(as_founded(key)).unwrap_err();
        assert!(matches!(refused, StateDirError::ForeignKey(_)), "{refused}");
        fs::write(state.key_path(), b"short").unwrap();
        let damaged = state.check_key(as_founded(key)).unwrap_err();
        assert!(matches!(damaged, StateDirError::KeyDamaged { bytes: 5, .. }));
        fs::remove_file(state.key_path()).unwrap();
        fs::create_dir(state.key_path()).unwrap();
        let covered = state.check_key(as_founded(key)).unwrap_err();
        assert!(covered.advice().what.ends_with("cannot be read as a mailbox key: it is a directory"));
        for error in [refused, damaged, covered] {
            let next = error.advice().next.unwrap();
            assert!(
                next.contains("a backup holds none"),
                "no advice names a place where there is no key: {next}"
            );
        }
    }

    /// T29: nothing is restored beside an orchestrator that runs, wherever its journal was moved to.
    #[tokio::test]
    async fn nothing_is_restored_where_an_orchestrator_runs() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::open(folder.path(), RedbOptions::default(), None).unwrap();
        let backup = folder.path().join("backup");
        let running = crate::directory::Directory::open(state.directory(), 0).await.unwrap();
        let refused =
            state.restore(&Restore { backup: backup.clone(), epoch_floor: None, life_floor: None }).await;
        assert!(matches!(refused, Err(StateDirError::InUse { .. })), "{refused:?}");
        drop(running);
        let missing = state.restore(&Restore { backup, epoch_floor: None, life_floor: None }).await;
        assert!(matches!(missing, Err(StateDirError::BackupMissing { .. })), "{missing:?}");
    }

    /// T29: a restore that fails leaves nothing that would make a journal put there later a restored one.
    #[tokio::test]
    async fn a_failed_restore_leaves_no_mark() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::open(folder.path(), RedbOptions::default(), None).unwrap();
        let backup = folder.path().join("damaged");
        let missing =
            state.restore(&Restore { backup: backup.clone(), epoch_floor: None, life_floor: None }).await;
        assert!(matches!(missing, Err(StateDirError::BackupMissing { .. })));
        fs::write(&backup, b"no backup").unwrap();
        assert!(state.restore(&Restore { backup, epoch_floor: None, life_floor: None }).await.is_err());
        assert_eq!(Source::restored(&state).unwrap(), None);
    }

    /// T29: what an operator says of lives that were met counts until a leader has led; of two words the greater one.
    #[test]
    fn a_floor_of_lives_is_kept_until_a_leader_has_led() {
        let folder = tempfile::tempdir().unwrap();
        let above = |life| Some(NewLife { above: Some(Incarnation::from_raw(life)) });
        let mut state = StateDir::open(folder.path(), RedbOptions::default(), None).unwrap();
        let mut said = StateDir::open(folder.path(), RedbOptions::default(), above(80)).unwrap();
        state.write_whole("restored", b"").unwrap();
        assert_eq!(state.restored().unwrap(), Some(NewLife::default()));
        state.write_whole("restored", b"70").unwrap();
        assert_eq!((state.restored().unwrap(), said.restored().unwrap()), (above(70), above(80)));
        state.write_whole("restored", b"90").unwrap();
        assert_eq!(said.restored().unwrap(), above(90));
        state.write_whole("restored", b"9x").unwrap();
        assert!(matches!(state.restored(), Err(JournalError::Io { .. })));
        said.led(Origin::Continued).unwrap();
        state.led(Origin::Continued).unwrap();
        assert_eq!((state.restored().unwrap(), said.restored().unwrap()), (None, None));
        for refused in ["", "x", "-1", "4270000001", "99999999999"] {
            life_floor(refused).unwrap_err();
        }
    }
}
