//! Reads a whole journal, archive included, and follows the chain.
//!
//! Damage is a result, not an error: an error means that the check could not run.

use rientro_types::{Digest, Seq};

use super::backup::read_anywhere;
use super::{Head, Journal, JournalError, SealedEntry, SnapshotHead, SnapshotReader, archive};

/// What a check of a journal found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Where the journal ended when the check began.
    pub head: Head,
    /// Entries found intact, from the first one on.
    pub entries: u64,
    /// How many of them are in the archive.
    pub archived: u64,
    /// Records in them.
    pub records: u64,
    /// The snapshot, found intact and linked to the chain.
    pub snapshot: Option<SnapshotHead>,
    /// The first thing that is not right.
    pub broken: Option<Break>,
}

/// Where a chain breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Break {
    /// The first record that cannot be trusted.
    pub seq: Seq,
    /// What is wrong there.
    pub what: String,
}

/// Checks every entry up to the head at the beginning, and the snapshot. `inspect` looks into each entry's payload, and
/// says what is wrong with it.
///
/// # Errors
/// Storage errors.
pub async fn verify<J: Journal>(
    journal: &J,
    inspect: impl FnMut(&SealedEntry) -> Result<(), String> + Send,
) -> Result<Verified, JournalError> {
    let head = journal.head().await?;
    let snapshot = journal.snapshot().await?;
    let mut walk = Walk {
        inspect,
        last: None,
        snapshot,
        found: Verified { head, entries: 0, archived: 0, records: 0, snapshot: None, broken: None },
    };
    while walk.end().0 < head.seq_next && walk.found.broken.is_none() {
        match read_anywhere(journal, walk.end().0).await {
            Ok(page) => walk.page(page),
            Err(e) => walk.found.broken = Some(as_break(e)?),
        }
    }
    let mut found = walk.finish();
    if let (None, Some(snapshot)) = (&found.broken, snapshot) {
        check_snapshot(journal, snapshot, &mut found).await?;
    }
    Ok(found)
}

struct Walk<F> {
    inspect: F,
    last: Option<SealedEntry>,
    snapshot: Option<SnapshotHead>,
    found: Verified,
}

impl<F: FnMut(&SealedEntry) -> Result<(), String>> Walk<F> {
    fn end(&self) -> (Seq, Digest) {
        self.last.as_ref().map_or((Seq::from_raw(1), Digest::ZERO), |e| (e.seq_next(), e.digest()))
    }

    fn page(&mut self, page: Vec<SealedEntry>) {
        for entry in page {
            if entry.seq() >= self.found.head.seq_next {
                return;
            }
            if let Err(what) = self.entry(&entry) {
                self.found.broken = Some(Break { seq: entry.seq(), what });
                return;
            }
            self.last = Some(entry);
        }
    }

    fn entry(&mut self, entry: &SealedEntry) -> Result<(), String> {
        match &self.last {
            Some(last) => archive::follows(last, entry)?,
            None if (entry.seq(), entry.previous()) != self.end() => {
                return Err("the first entry is not the first of a journal".to_owned());
            }
            None => {}
        }
        (self.inspect)(entry)?;
        self.found.entries += 1;
        self.found.archived += u64::from(entry.seq() < self.found.head.first);
        self.found.records = entry.seq_next().raw() - 1;
        if let Some(snapshot) = self.snapshot
            && snapshot.point.seq_next == entry.seq_next()
            && snapshot.point.chain == entry.digest()
        {
            self.found.snapshot = Some(snapshot);
        }
        Ok(())
    }

    fn finish(self) -> Verified {
        let (seq, chain) = self.end();
        let mut found = self.found;
        if found.broken.is_none() && (seq, chain) != (found.head.seq_next, found.head.chain) {
            let what = "the last entry is not the one the journal ends with".to_owned();
            found.broken = Some(Break { seq, what });
        }
        found
    }
}

/// Damage becomes a finding; anything else stays an error.
fn as_break(error: JournalError) -> Result<Break, JournalError> {
    if let JournalError::Broken { seq, what, path } = error {
        return Ok(Break { seq, what: format!("{what} ({})", path.display()) });
    }
    Err(error)
}

async fn check_snapshot<J: Journal>(
    journal: &J,
    snapshot: SnapshotHead,
    found: &mut Verified,
) -> Result<(), JournalError> {
    if found.snapshot.is_none() && snapshot.point.seq_next <= found.head.seq_next {
        let what = "the snapshot does not stand for an entry of this journal".to_owned();
        found.broken = Some(Break { seq: snapshot.point.seq_next, what });
        return Ok(());
    }
    let mut reader = SnapshotReader::new(snapshot);
    loop {
        match reader.next(journal).await {
            Ok(Some(_)) => {}
            // Another snapshot took its place: this one has no reader left.
            Ok(None) | Err(JournalError::SnapshotReplaced) => return Ok(()),
            Err(e) => {
                found.snapshot = None;
                found.broken = Some(as_break(e)?);
                return Ok(());
            }
        }
    }
}
