//! The model journal: entries in a hash chain, a snapshot in place of a trimmed prefix, and answers that get lost.

use rientro_engine::Engine;
use rientro_types::{CellTime, Decision, Digest, Entry, Epoch, Seq, SnapshotRecord};

/// A journal on a disk that survives every crash.
#[derive(Clone, Debug, Default)]
pub struct Journal {
    /// Every entry ever made durable, trimmed ones included: the monitor reads them all.
    entries: Vec<Entry>,
    /// How many entries the snapshot stands for, and the snapshot.
    snapshot: Option<(usize, Vec<SnapshotRecord>)>,
    /// How many entries were trimmed.
    trimmed: usize,
    head: Option<Digest>,
}

/// Digest of an entry as it stands in the chain.
#[must_use]
pub fn digest(entry: &Entry) -> Digest {
    // The text form names every field; a real journal hashes its own bytes.
    let Entry { seq, epoch, at, previous, decisions } = entry;
    previous.chained(format!("{seq}|{epoch}|{at:?}|{decisions:?}").as_bytes())
}

impl Journal {
    /// Number of the next record.
    #[must_use]
    pub fn seq_next(&self) -> Seq {
        self.entries.last().map_or(Seq::from_raw(1), Entry::seq_next)
    }

    /// The next entry with these decisions.
    #[must_use]
    pub fn entry(&self, epoch: Epoch, at: CellTime, decisions: Vec<Decision>) -> Entry {
        Entry { seq: self.seq_next(), epoch, at, previous: self.head.unwrap_or(Digest::ZERO), decisions }
    }

    /// Makes an entry durable.
    pub fn append(&mut self, entry: Entry) {
        self.head = Some(digest(&entry));
        self.entries.push(entry);
    }

    /// Every entry.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Whether nothing was ever written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Puts a snapshot of the first `entries` entries in their place.
    pub fn trim(&mut self, entries: usize, snapshot: Vec<SnapshotRecord>) {
        self.trimmed = entries;
        self.snapshot = Some((entries, snapshot));
    }

    /// Goes back to an older backup.
    pub fn truncate(&mut self, entries: usize) {
        self.entries.truncate(entries.max(1));
        self.head = self.entries.last().map(digest);
        if self.snapshot.as_ref().is_some_and(|(at, _)| *at > self.entries.len()) {
            self.snapshot = None;
            self.trimmed = 0;
        }
    }

    /// Rebuilds an engine as a starting leader does: from the snapshot if there is one, then from the entries after it.
    ///
    /// # Errors
    /// What did not fit.
    pub fn rebuild(&self, mut engine: Engine) -> Result<Engine, String> {
        let mut first = 0;
        if let Some((at, snapshot)) = &self.snapshot {
            for record in snapshot {
                engine.restore(record.clone()).map_err(|e| e.to_string())?;
            }
            first = *at;
        }
        replay(engine, &self.entries[first..])
    }

    /// Rebuilds an engine from the first entry on, whatever was trimmed.
    ///
    /// # Errors
    /// What did not fit.
    pub fn rebuild_whole(&self, engine: Engine) -> Result<Engine, String> {
        replay(engine, &self.entries)
    }

    /// Whether every entry names the digest of the one before it, and continues its numbers.
    #[must_use]
    pub fn broken_at(&self) -> Option<Seq> {
        let mut previous = Digest::ZERO;
        let mut next = Seq::from_raw(1);
        for entry in &self.entries {
            if entry.previous != previous || entry.seq != next {
                return Some(entry.seq);
            }
            previous = digest(entry);
            next = entry.seq_next();
        }
        None
    }
}

fn replay(mut engine: Engine, entries: &[Entry]) -> Result<Engine, String> {
    for entry in entries {
        engine.replay(entry).map_err(|e| e.to_string())?;
    }
    Ok(engine)
}
