//! What verification saw that is not right. Data, never an error.

use std::fmt;
use std::str::FromStr;

use crate::{Digest, MailboxId};

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Worth knowing; users lose nothing by it. Does not change the verdict.
    Note,
    /// Content, a message or the means to find one is damaged or lost.
    Damage,
    /// It could not be read, so nothing is known about it.
    Unreadable,
}

macro_rules! finding_kinds {
    ($($(#[$doc:meta])* $kind:ident = $bit:literal, $code:literal, $severity:ident;)*) => {
        /// The kinds of finding. The number is stable: it is the bit in [`FindingKinds`] and the value on the wire minus one.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum FindingKind { $($(#[$doc])* $kind = $bit,)* }

        impl FindingKind {
            /// Every kind, by number.
            pub const ALL: &'static [Self] = &[$(Self::$kind,)*];

            /// The word operators see and select by.
            #[must_use]
            pub const fn code(self) -> &'static str {
                match self { $(Self::$kind => $code,)* }
            }

            /// How bad a finding of this kind is.
            #[must_use]
            pub const fn severity(self) -> Severity {
                match self { $(Self::$kind => Severity::$severity,)* }
            }
        }
    };
}

finding_kinds! {
    /// The plain message is not as long as `S=` in its name or the uidlist says, or `Z` in a dbox's metadata.
    SizeMismatch = 0, "size-mismatch", Damage;
    /// With every bare LF counted as CRLF the message is not as long as `W=`, or `V` of a dbox, says: line ends were lost or added.
    VirtualSizeMismatch = 1, "virtual-size-mismatch", Damage;
    /// A compressed message's stream is broken: bad block, checksum, length, or end.
    CompressedStream = 2, "compressed-stream", Damage;
    /// The message is empty.
    EmptyMessage = 3, "empty-message", Damage;
    /// The header section does not parse, or there is none.
    HeaderMalformed = 4, "header-malformed", Damage;
    /// A run of at least 512 NUL bytes.
    NulRun = 5, "nul-run", Damage;
    /// A 4096-byte block of the file, aligned in it, is all zero: the mark of a lost block.
    ZeroBlock = 6, "zero-block", Damage;
    /// A multipart message ends without its closing boundary.
    MimeTruncated = 7, "mime-truncated", Damage;
    /// A message or index file could not be read (EIO, EACCES and the like), or the only index of a folder cannot be told from.
    FileUnreadable = 8, "file-unreadable", Unreadable;
    /// A directory could not be listed.
    DirectoryUnreadable = 9, "directory-unreadable", Unreadable;
    /// `cur`, `new` or `tmp` is missing in a folder, `storage` or `mailboxes` in an mdbox, or the files of a dbox's INBOX.
    DirectoryMissing = 10, "directory-missing", Damage;
    /// A mailbox that was expected is not there.
    MailboxMissing = 11, "mailbox-missing", Damage;
    /// Something stands where a mailbox should be and is none of any known format.
    MailboxUnrecognised = 12, "mailbox-unrecognised", Unreadable;
    /// The uidlist and the index, the index of an sdbox, or the map of an mdbox, know the message, and it is not there; or it was in
    /// the baseline, and nobody asked to remove it.
    MessageMissing = 13, "message-missing", Damage;
    /// `dovecot-uidlist` is missing where an index exists with messages in it or beside it: all UIDs would change.
    UidlistMissing = 14, "uidlist-missing", Damage;
    /// `dovecot-uidlist` does not parse, is a directory, or gives one file two UIDs.
    UidlistMalformed = 15, "uidlist-malformed", Damage;
    /// The uidlist is older than the index or was cut off: messages of the index are not in it.
    UidlistStale = 16, "uidlist-stale", Damage;
    /// `dovecot.index`, its log or `dovecot-keywords` does not parse or is a directory, or they do not fit together: a log
    /// between them is missing.
    IndexMalformed = 17, "index-malformed", Damage;
    /// Two files in one folder carry the same unique name.
    DuplicateName = 18, "duplicate-name", Damage;
    /// A file that is no message of the format stands in a message directory.
    StrayFile = 19, "stray-file", Note;
    /// A symbolic link stands in the store; it was not followed.
    SymbolicLink = 20, "symbolic-link", Damage;
    /// A device, socket or FIFO stands in the store; it was not opened.
    SpecialFile = 21, "special-file", Damage;
    /// A name is not UTF-8.
    NameNotUtf8 = 22, "name-not-utf8", Note;
    /// The volume is empty where mailboxes were expected.
    VolumeEmpty = 23, "volume-empty", Unreadable;
    /// The mounted volume is not the one expected.
    VolumeWrong = 24, "volume-wrong", Unreadable;
    /// Something changed or vanished while it was being read, though the shard is closed.
    ChangedWhileRead = 25, "changed-while-read", Unreadable;
    /// A bound of the verifier was met (name length, depth, entries of one index): what lies beyond was not looked at.
    LimitReached = 26, "limit-reached", Unreadable;
    /// The frame around a dbox message is broken: file header, message header or metadata.
    FrameMalformed = 27, "frame-malformed", Damage;
    /// There is no index where the format keeps UIDs, flags and places of messages in it alone.
    IndexMissing = 28, "index-missing", Damage;
    /// An index is older than the messages: it does not have what others refer to, or what its folder holds.
    IndexStale = 29, "index-stale", Damage;
    /// The map of an mdbox and a message in its file do not fit together.
    MapMismatch = 30, "map-mismatch", Damage;
    /// Messages in a file of an mdbox that its map does not know: what a delivery leaves that was cut short.
    UnmappedMessage = 31, "unmapped-message", Note;
    /// The folders of an mdbox refer to its messages more or less often than its map says: a folder or its index is lost or old.
    ReferenceMismatch = 32, "reference-mismatch", Damage;
    /// A folder's index and the message it refers to have different GUIDs.
    GuidMismatch = 33, "guid-mismatch", Damage;
    /// An attachment that is stored apart from its message is not there.
    AttachmentMissing = 34, "attachment-missing", Damage;
    /// An attachment that is stored apart is not what its name and its message say.
    AttachmentDamaged = 35, "attachment-damaged", Damage;
    /// The message is not the one of the baseline.
    MessageAltered = 36, "message-altered", Damage;
    /// The message is shorter than that of the baseline.
    MessageTruncated = 37, "message-truncated", Damage;
    /// A message of the baseline is not there, and nothing tells whether its owner removed it.
    MessageGone = 38, "message-gone", Unreadable;
    /// A folder of the baseline is not there, and nothing tells whether its owner removed it.
    FolderGone = 39, "folder-gone", Unreadable;
    /// Messages, or a folder as a whole, have other UIDs than in the baseline: clients fetch all of it anew.
    UidChanged = 40, "uid-changed", Damage;
    /// The message of the baseline has another GUID.
    GuidChanged = 41, "guid-changed", Damage;
    /// The baseline of the mailbox, or of the shard, cannot be used.
    BaselineUnreadable = 42, "baseline-unreadable", Unreadable;
}

impl FindingKind {
    /// The kind of this number.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }
}

impl fmt::Display for FindingKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.code())
    }
}

/// A text names no kind of finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not a kind of finding")]
pub struct FindingKindError;

impl FromStr for FindingKind {
    type Err = FindingKindError;
    fn from_str(text: &str) -> Result<Self, FindingKindError> {
        Self::ALL.iter().copied().find(|kind| kind.code() == text).ok_or(FindingKindError)
    }
}

/// A set of kinds of finding: what operators select shards by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FindingKinds(u64);

impl FindingKinds {
    /// The empty set.
    pub const NONE: Self = Self(0);

    /// The set in its bit form; `None` when a bit stands for no known kind.
    #[must_use]
    pub fn from_bits(bits: u64) -> Option<Self> {
        (bits >> FindingKind::ALL.len() == 0).then_some(Self(bits))
    }

    /// The bit form, bit n standing for the kind of number n.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// Adds a kind.
    pub fn insert(&mut self, kind: FindingKind) {
        self.0 |= 1 << kind as u8;
    }

    /// Whether the kind is in the set.
    #[must_use]
    pub const fn contains(self, kind: FindingKind) -> bool {
        self.0 & 1 << kind as u8 != 0
    }

    /// The kinds that are in this set and not in the other.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Kinds in either set.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The kinds in the set, by number.
    pub fn iter(self) -> impl Iterator<Item = FindingKind> {
        FindingKind::ALL.iter().copied().filter(move |kind| self.contains(*kind))
    }
}

/// One thing that is not right.
///
/// Paths are bytes as the file system has them: they need not be UTF-8 and are untrusted. `detail` holds numbers and format
/// terms, never content of a message.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Finding {
    /// What.
    pub kind: FindingKind,
    /// Path of the mailbox inside the shard; empty when the finding is about the shard itself.
    pub mailbox: Vec<u8>,
    /// Path inside the mailbox; empty when the finding is about the mailbox itself.
    pub path: Vec<u8>,
    /// The numbers behind it, such as `S=812, 790 bytes found`; at most [`DETAIL_BYTES_MAX`] bytes.
    pub detail: String,
}

/// Longest [`Finding::detail`], in bytes.
pub const DETAIL_BYTES_MAX: usize = 256;
/// Longest path in a finding and longest address of a mailbox, in bytes: Linux's `PATH_MAX`, as an address is taken from a path.
pub const PATH_BYTES_MAX: usize = 4_096;

/// A finding on its way to whoever asked, with the mailbox it is about.
///
/// Unless addresses were asked for, [`Finding::mailbox`] is empty and `address` absent: the id alone says which mailbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocatedFinding {
    /// Its mailbox; absent when the finding is about the shard itself.
    pub mailbox_id: Option<MailboxId>,
    /// The mailbox's address as the layout gives it, in bytes that need not be UTF-8.
    pub address: Option<Vec<u8>>,
    /// What was seen.
    pub finding: Finding,
}

impl LocatedFinding {
    /// Takes away what says whose mailbox it is: the id alone stays. Where there is none, the path begins at the shard and
    /// leads through mailboxes.
    #[must_use]
    pub fn without_address(self) -> Self {
        let Self { mailbox_id, address: _, mut finding } = self;
        finding.mailbox = Vec::new();
        if mailbox_id.is_none() {
            finding.path = Vec::new();
        }
        Self { mailbox_id, address: None, finding }
    }
}

/// Digest over findings in order: kind (1 byte), then mailbox, path and detail, each as length (4 bytes, little-endian) and
/// bytes. Everyone who holds the same findings in the same order has the same digest.
#[derive(Clone, Debug, Default)]
pub struct FindingsHasher(blake3::Hasher);

impl FindingsHasher {
    /// Adds the next finding.
    pub fn add(&mut self, finding: &Finding) {
        let Finding { kind, mailbox, path, detail } = finding;
        self.0.update(&[*kind as u8]);
        for part in [&mailbox[..], path, detail.as_bytes()] {
            let length = u32::try_from(part.len()).unwrap_or(u32::MAX);
            self.0.update(&length.to_le_bytes()).update(part);
        }
    }

    /// The digest of all findings added.
    #[must_use]
    pub fn finish(&self) -> Digest {
        Digest::from_raw(*self.0.finalize().as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// T25: without a request for addresses, nothing that tells one is handed on; taking it away twice takes no more.
    #[test]
    fn what_tells_an_address_is_taken_away() {
        let finding = Finding {
            kind: FindingKind::SizeMismatch,
            mailbox: b"example.org/anna".to_vec(),
            path: b"cur/1".to_vec(),
            detail: "S=8, 7 bytes found".to_owned(),
        };
        let mailbox_id = Some(MailboxId::from_raw([1; 16]));
        let of_mailbox = LocatedFinding { mailbox_id, address: Some(b"anna@example.org".to_vec()), finding };
        let mut of_shard = of_mailbox.clone();
        of_shard.mailbox_id = None;
        of_shard.finding.path = b"example.org/anna".to_vec();
        for (located, path) in [(of_mailbox, &b"cur/1"[..]), (of_shard, b"")] {
            let bare = located.without_address();
            assert_eq!(
                (&bare.address, &bare.finding.mailbox[..], &bare.finding.path[..]),
                (&None, &b""[..], path)
            );
            assert_eq!(bare.clone().without_address(), bare);
        }
    }

    #[test]
    fn numbers_are_positions_and_codes_are_unique() {
        for (at, kind) in FindingKind::ALL.iter().enumerate() {
            assert_eq!(*kind as usize, at);
            assert_eq!(kind.code().parse(), Ok(*kind));
        }
        assert!(FindingKind::ALL.len() < 64);
        assert_eq!(FindingKinds::from_bits(1 << FindingKind::ALL.len()), None);
    }
}
