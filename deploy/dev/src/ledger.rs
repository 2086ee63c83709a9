//! What was delivered where, by content: the judge of whether a store still holds everything.
//!
//! A message is known by the BLAKE3 of its bytes with LF line ends, as it was handed over. LMTP puts trace fields before it, which are taken off
//! before a stored message is compared.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::store::{Mailbox, read_plain};
use crate::wire::with_crlf;

/// Trace fields LMTP puts before a message: Return-Path, Delivered-To and Received.
const TRACE_FIELDS: usize = 3;

/// How a message was handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Way {
    /// Delivered, so that trace fields stand before it.
    Lmtp,
    /// Appended as it is.
    Append,
}

/// One message as it was handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Content {
    way: Way,
    digest: [u8; 32],
}

impl Content {
    /// The content of a message that is handed over in this way.
    #[must_use]
    pub fn of(message: &[u8], way: Way) -> Self {
        Self { way, digest: *blake3::hash(&with_lf(message)).as_bytes() }
    }

    /// Whether the stored message has this content.
    #[must_use]
    pub fn is(&self, stored: &[u8]) -> bool {
        let message = match self.way {
            Way::Lmtp => without_trace(stored),
            Way::Append => stored,
        };
        *blake3::hash(message).as_bytes() == self.digest
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
    /// A message without an entry, or one that cannot be read.
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
    /// When a directory cannot be listed.
    pub fn differences(&self) -> Result<Vec<Difference>> {
        let mut differences = Vec::new();
        for ((mailbox, folder), contents) in &self.0 {
            let mut left = contents.clone();
            for message in mailbox.messages(folder)? {
                let path = mailbox.folder().join(message);
                let plain = read_plain(&path).ok();
                let at = plain.and_then(|plain| left.iter().position(|content| content.is(&plain)));
                match at {
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

/// The message behind the trace fields; a line that begins with white space continues a field.
fn without_trace(stored: &[u8]) -> &[u8] {
    let (mut fields, mut start) = (0, 0);
    for line in stored.split_inclusive(|byte| *byte == b'\n') {
        let continued = line.starts_with(b"\t") || line.starts_with(b" ");
        if fields == TRACE_FIELDS && !continued {
            break;
        }
        fields += usize::from(!continued);
        start += line.len();
    }
    &stored[start..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delivered_message_is_known_behind_its_trace() {
        let stored =
            b"Return-Path: <a>\nDelivered-To: b\nReceived: by here\n\twith LMTP\nSubject: x\n\nhello\n";
        assert!(Content::of(b"Subject: x\r\n\r\nhello\r\n", Way::Lmtp).is(stored));
        assert!(!Content::of(b"Subject: x\r\n\r\nhallo\r\n", Way::Lmtp).is(stored));
        assert!(!Content::of(b"Subject: x\r\n\r\nhello\r\n", Way::Append).is(stored));
    }
}
