//! The corpus is real and complete: delivered over LMTP and IMAP, every message accounted for.

use rientro_dev::corpus::{Corpus, Shape};
use rientro_dev::store;

#[test]
fn what_was_handed_over_is_stored() {
    let folder = tempfile::tempdir().unwrap();
    let shape = Shape { mailboxes: 12, messages_per_mailbox: 12, ..Shape::default() };
    let corpus = Corpus::deliver(folder.path(), &shape).unwrap();
    assert_eq!(corpus.handed_over, 12 * 12);
    assert!(corpus.ledger.messages() > 100, "{} messages", corpus.ledger.messages());
    assert_eq!(corpus.ledger.differences().unwrap(), []);
    assert_eq!(store::mailboxes(&corpus.roots).unwrap().len(), 12);
}
