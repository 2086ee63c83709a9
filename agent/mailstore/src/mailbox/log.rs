//! `dovecot.mailbox.log`: which folders of a mailbox were removed through the mail server.
//!
//! A record has 24 bytes: what was done (1: a folder was removed), 3 bytes of nothing, the folder's GUID, and the time. The log
//! turns over to `.2` at 4 KiB, so that what was done long ago is in neither. Nothing else than "removed" is taken from it.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::os::fd::BorrowedFd;

use crate::fsys::{self, Kind};

/// Bytes of a record.
const RECORD_BYTES: usize = 24;

/// What a record of a removed folder begins with.
const REMOVED: u8 = 1;

/// Most bytes of a log that are read: far more than Dovecot lets it grow to.
const LOG_BYTES_MAX: u64 = 1 << 20;

/// GUIDs of folders that were removed, by the logs in the mailbox's own directory. What cannot be read says nothing.
pub(super) fn removed_folders(dir: BorrowedFd<'_>) -> BTreeSet<[u8; 16]> {
    let mut removed = BTreeSet::new();
    for name in [c"dovecot.mailbox.log.2", c"dovecot.mailbox.log"] {
        let opened = fsys::open_file(dir, name).ok().filter(|(_, meta)| meta.kind == Kind::File);
        let mut bytes = Vec::new();
        let read = opened.map(|(file, _)| File::from(file).take(LOG_BYTES_MAX).read_to_end(&mut bytes));
        if matches!(read, Some(Ok(_))) {
            removed.extend(removed_in(&bytes));
        }
    }
    removed
}

fn removed_in(log: &[u8]) -> impl Iterator<Item = [u8; 16]> {
    log.as_chunks::<RECORD_BYTES>().0.iter().filter(|record| record[0] == REMOVED).map(|record| {
        let mut guid = [0; 16];
        guid.copy_from_slice(&record[4..20]);
        guid
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn removals_are_told_from_other_changes() {
        let record = |kind: u8, guid: u8| [&[kind, 0, 0, 0][..], &[guid; 16], &[0x65, 0, 0, 0]].concat();
        let log = [record(1, 7), record(3, 8), record(4, 9), record(1, 10), vec![1; 9]].concat();
        assert_eq!(removed_in(&log).collect::<Vec<_>>(), [[7; 16], [10; 16]]);
    }
}
