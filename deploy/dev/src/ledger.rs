//! What was delivered where, by content: the judge of whether a store still holds everything.
//!
//! A message is known by its length and BLAKE3 with LF line ends, as it was handed over. Delivery puts trace headers before it, so a stored
//! message matches an entry when it *ends* in the entry's bytes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::store::{Mailbox, read_plain};
use crate::wire::with_crlf;

/// One message as it was handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Content {
    /// Length with LF line ends.
    pub bytes: usize,
    /// BLAKE3 with LF line ends.
    pub digest: [u8; 32],
}

impl Content {
    /// The content of a message as a server stores it.
    #[must_use]
    pub fn of(message: &[u8]) -> Self {
        let plain = with_lf(message);
        Self { bytes: plain.len(), digest: *blake3::hash(&plain).as_bytes() }
    }

    /// Whether the stored message ends in this content.
    #[must_use]
    pub fn ends(&self, stored: &[u8]) -> bool {
        let tail = stored.len().checked_sub(self.bytes).map(|start| &stored[start..]);
        tail.is_some_and(|tail| *blake3::hash(tail).as_bytes() == self.digest)
    }
}

/// Every message that must be there, by mailbox and folder (a path inside the Maildir; the empty path is INBOX).
#[derive(Clone, Debug, Default)]
pub struct Ledger(BTreeMap<(Mailbox, PathBuf), Vec<Content>>);

/// Where ledger and store differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// An entry without a message.
    Missing(PathBuf, Content),
    /// A message without an entry.
    Unexpected(PathBuf),
}

impl Ledger {
    /// Notes the messages of a folder.
    pub fn set(&mut self, mailbox: &Mailbox, folder: &Path, contents: Vec<Content>) {
        self.0.insert((mailbox.clone(), folder.to_owned()), contents);
    }

    /// Messages noted.
    #[must_use]
    pub fn messages(&self) -> usize {
        self.0.values().map(Vec::len).sum()
    }

    /// Compares every noted folder with what is stored.
    ///
    /// # Errors
    /// When a store cannot be read.
    pub fn differences(&self) -> Result<Vec<Difference>> {
        let mut differences = Vec::new();
        for ((mailbox, folder), contents) in &self.0 {
            let mut left = contents.clone();
            for message in mailbox.messages(folder)? {
                let path = mailbox.folder().join(message);
                let plain = read_plain(&path)?;
                match left.iter().position(|content| content.ends(&plain)) {
                    Some(at) => drop(left.swap_remove(at)),
                    None => differences.push(Difference::Unexpected(path)),
                }
            }
            let place = mailbox.folder().join(folder);
            differences.extend(left.into_iter().map(|content| Difference::Missing(place.clone(), content)));
        }
        Ok(differences)
    }
}

fn with_lf(message: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(message.len());
    let message = with_crlf(message);
    for line in message.split_inclusive(|byte| *byte == b'\n') {
        match line.strip_suffix(b"\r\n") {
            Some(text) => {
                plain.extend_from_slice(text);
                plain.push(b'\n');
            }
            None => plain.extend_from_slice(line),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_message_is_known_by_its_end() {
        let content = Content::of(b"Subject: x\r\n\r\nhello\r\n");
        assert!(content.ends(b"Received: by here\nSubject: x\n\nhello\n"));
        assert!(!content.ends(b"Received: by here\nSubject: x\n\nhallo\n"));
        assert!(!content.ends(b"hello\n"));
    }
}
