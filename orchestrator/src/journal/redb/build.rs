//! Journals made from nothing and from a backup. Either appears whole, under its name, or not at all.

use std::fs;
use std::path::{Path, PathBuf};

use ::redb::{Builder, Database, WriteTransaction};
use rientro_types::{Digest, Epoch, Seq};

use super::RedbOptions;
use super::errors::{corrupt, file_backend, opening};
use super::store::Store;
use super::tables::{BASE, CHUNKS, ENTRIES, FACTS, FENCE, FORMAT, FORMAT_KNOWN, SNAPSHOT, base_to_stored};
use crate::journal::archive::{Archive, Page};
use crate::journal::backup::{Part, scan};
use crate::journal::{BackupContent, JournalError, Restored, SealedEntry, files};

/// Makes an empty journal at `path`.
pub(super) fn create(path: &Path, options: RedbOptions) -> Result<Store, JournalError> {
    let site = Site::clear(path)?;
    let draft = Draft::begin(&site, Epoch::from_raw(0), (Seq::from_raw(1), Digest::ZERO))?;
    drop(draft);
    files::publish(&site.file, path)?;
    Store::open(path, options)
}

/// Makes a journal at `target` with the content of `backup`.
pub(super) fn restore(
    backup: &Path,
    target: &Path,
    epoch_floor: Option<Epoch>,
) -> Result<Restored, JournalError> {
    let site = Site::clear(target)?;
    let content = scan(backup, |_| Ok(()))?;
    let fence = epoch_floor.map_or(content.fence, |floor| floor.max(content.fence));
    let mut draft = Draft::begin(&site, fence, (content.first, content.first_chain))?;
    scan(backup, |part| draft.take(part, &content))?;
    draft.flush(content.first)?;
    drop(draft);
    if site.archive.folder().is_dir() {
        files::publish(site.archive.folder(), Archive::beside(target).folder())?;
    }
    files::publish(&site.file, target)?;
    Ok(Restored { content, fence })
}

/// Where a journal is put together before it gets its name.
struct Site {
    file: PathBuf,
    archive: Archive,
}

impl Site {
    /// Refuses a target that exists and removes what a killed process left beside it.
    fn clear(target: &Path) -> Result<Self, JournalError> {
        files::refuse_existing(target)?;
        files::refuse_existing(Archive::beside(target).folder())?;
        let file = files::sibling(target, ".unfinished");
        files::remove_leftover(&file)?;
        let archive = Archive::beside(&file);
        match fs::remove_dir_all(archive.folder()) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                Err(JournalError::io("remove", archive.folder(), e))
            }
            _ => Ok(Self { file, archive }),
        }
    }
}

/// A journal file being filled.
struct Draft<'s> {
    site: &'s Site,
    database: Database,
    /// Entries not yet written: live ones for the file, older ones for the archive.
    page: Page,
}

impl<'s> Draft<'s> {
    fn begin(site: &'s Site, fence: Epoch, base: (Seq, Digest)) -> Result<Self, JournalError> {
        let file = files::create(&site.file)?;
        let backend = file_backend(&site.file, file)?;
        let database =
            Builder::new().create_with_backend(backend).map_err(|e| opening(&site.file, e.into()))?;
        let draft = Self { site, database, page: Page::of_one_file() };
        draft.write(|txn| {
            txn.open_table(ENTRIES)?;
            txn.open_table(CHUNKS)?;
            let mut facts = txn.open_table(FACTS)?;
            facts.insert(FORMAT, FORMAT_KNOWN.to_le_bytes().as_slice())?;
            facts.insert(FENCE, fence.raw().to_le_bytes().as_slice())?;
            facts.insert(BASE, base_to_stored(base.0, base.1).as_slice())?;
            Ok(())
        })?;
        Ok(draft)
    }

    fn take(&mut self, part: Part, content: &BackupContent) -> Result<(), JournalError> {
        match part {
            Part::Snapshot(head) => self.write(|txn| {
                txn.open_table(FACTS)?.insert(SNAPSHOT, head.to_stored().as_slice())?;
                Ok(())
            }),
            Part::Chunk { of, index, digest, bytes } => self.write(|txn| {
                let stored = [digest.raw().as_slice(), &bytes].concat();
                txn.open_table(CHUNKS)?.insert((of, index), stored.as_slice())?;
                Ok(())
            }),
            Part::Entry(entry) => self.take_entry(entry, content.first),
        }
    }

    fn take_entry(&mut self, entry: SealedEntry, first: Seq) -> Result<(), JournalError> {
        if entry.seq() == first {
            self.flush(first)?;
        }
        match self.page.push(entry) {
            Ok(true) => Ok(()),
            Ok(false) => self.flush(first),
            Err(what) => Err(corrupt(&self.site.file, what)),
        }
    }

    /// Writes the gathered entries: those before `first` to the archive, the others to the file.
    fn flush(&mut self, first: Seq) -> Result<(), JournalError> {
        let entries = std::mem::replace(&mut self.page, Page::of_one_file()).entries;
        if entries.first().is_some_and(|e| e.seq() < first) {
            return self.site.archive.store(&entries);
        }
        self.write(|txn| {
            let mut table = txn.open_table(ENTRIES)?;
            for entry in &entries {
                table.insert(entry.seq().raw(), entry.to_stored().as_slice())?;
            }
            Ok(())
        })
    }

    fn write(
        &self,
        work: impl FnOnce(&WriteTransaction) -> Result<(), ::redb::Error>,
    ) -> Result<(), JournalError> {
        let commit = || {
            let txn = self.database.begin_write()?;
            work(&txn)?;
            txn.commit()?;
            Ok(())
        };
        commit().map_err(|e| opening(&self.site.file, e))
    }
}
