//! Maildir as Dovecot and other mail servers write it: names, uidlist, index, keywords, folders, mailboxes.
//!
//! Evidence: the file names themselves, `dovecot-uidlist`, and `dovecot.index` with its log. Lines of expunged mail linger
//! in the uidlist, so a listed message without a file is lost only when the index still knows its UID; where the index is
//! absent or cannot tell, nothing is claimed. A uidlist that
//! was lost or cut off shows by the index alone: where both are gone, nothing does.

pub(crate) mod ahead;
pub(crate) mod folder;
pub(crate) mod index;
pub(crate) mod keywords;
pub(crate) mod log;
pub(crate) mod mailbox;
pub(crate) mod message;
pub(crate) mod name;
pub(crate) mod uidlist;
