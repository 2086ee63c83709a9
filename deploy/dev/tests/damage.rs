//! Every kind of damage can be made in a real store, and only what the list of damage names is changed by it.

use std::collections::BTreeSet;
use std::path::Path;

use rientro_dev::corpus::{Corpus, Shape};
use rientro_dev::damage::{self, FolderFault, MessageFault};
use rientro_dev::ledger::Difference;

#[test]
fn every_fault_is_made_and_listed() {
    let folder = tempfile::tempdir().unwrap();
    let shape = Shape { mailboxes: 40, messages_per_mailbox: 24, ..Shape::default() };
    let corpus = Corpus::deliver(folder.path(), &shape).unwrap();
    let broken = damage::break_stores(&corpus.mailboxes, FolderFault::ALL, MessageFault::ALL, 2, 5).unwrap();

    let short: Vec<_> = damage::cannot_be_made().iter().map(|fault| (*fault, 0)).collect();
    assert_eq!(broken.short, short);

    let places: BTreeSet<_> = broken.damages.iter().map(|damage| (&damage.mailbox, &damage.path)).collect();
    assert_eq!(places.len(), broken.damages.len(), "one place was hit twice");
    for difference in corpus.ledger.differences().unwrap() {
        let path = match difference {
            Difference::Missing(path, _) | Difference::Unexpected(path) => path,
        };
        let explained = broken.damages.iter().any(|damage| {
            let place = damage.mailbox.folder().join(&damage.path);
            unique_name(&place) == unique_name(&path) || place.ancestors().nth(2) == Some(path.as_path())
        });
        assert!(explained, "{} differs and no damage says so", path.display());
    }
}

fn unique_name(path: &Path) -> Option<&str> {
    path.file_name()?.to_str()?.split(':').next()
}
