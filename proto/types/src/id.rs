//! Names and numbers that identify things.
//!
//! A *name* is what an operator types: 1 to 47 bytes of `a-z A-Z 0-9 . _ - : @ +`, starting with a letter or digit. It is
//! kept inline, so ids are `Copy` and a map key needs no allocation. A *counter* only moves through `next()`.

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;

/// Longest name, in bytes.
pub const NAME_BYTES_MAX: usize = 47;

/// Why a text is not a name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The text has no characters.
    #[error("is empty; a name has 1 to {NAME_BYTES_MAX} characters")]
    Empty,
    /// The text is longer than [`NAME_BYTES_MAX`].
    #[error("has {bytes} bytes; a name has at most {NAME_BYTES_MAX}")]
    TooLong {
        /// Length of the refused text.
        bytes: usize,
    },
    /// A character is outside the allowed set, or may not stand first.
    #[error(
        "has {found:?} at position {at}; a name uses letters, digits and . _ - : @ + and starts with a letter or digit"
    )]
    Character {
        /// The refused character.
        found: char,
        /// Byte position in the text.
        at: usize,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Name {
    // Unused bytes are zero, and no name contains NUL: comparing the array is comparing the text.
    bytes: [u8; NAME_BYTES_MAX],
    len: u8,
}

impl Name {
    fn parse(text: &str) -> Result<Self, NameError> {
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        if text.len() > NAME_BYTES_MAX {
            return Err(NameError::TooLong { bytes: text.len() });
        }
        let allowed = |at: usize, c: char| c.is_ascii_alphanumeric() || (at > 0 && "._-:@+".contains(c));
        if let Some((at, found)) = text.char_indices().find(|&(at, c)| !allowed(at, c)) {
            return Err(NameError::Character { found, at });
        }
        let mut bytes = [0; NAME_BYTES_MAX];
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        #[allow(clippy::cast_possible_truncation, reason = "checked against NAME_BYTES_MAX above")]
        Ok(Self { bytes, len: text.len() as u8 })
    }

    fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..usize::from(self.len)]).unwrap_or_default()
    }
}

macro_rules! name_ids {
    ($($(#[$doc:meta])* $id:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $id(Name);

        impl $id {
            /// Reads a name.
            ///
            /// # Errors
            /// [`NameError`] when the text is empty, too long or has a character outside the allowed set.
            pub fn new(text: &str) -> Result<Self, NameError> {
                Name::parse(text).map(Self)
            }

            /// The name as the operator types it.
            #[must_use]
            pub fn as_str(&self) -> &str {
                self.0.as_str()
            }
        }

        impl FromStr for $id {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl fmt::Display for $id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl fmt::Debug for $id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($id), "({})"), self.as_str())
            }
        }
    )*};
}

name_ids! {
    /// One orchestrator group with its journal and nodes.
    CellId;
    /// A storage server that runs an agent.
    NodeId;
    /// The unit that opens and closes: a directory tree of mailboxes. Does not contain its node.
    ShardId;
    /// One run of a plan over a set of shards; taken from the plan's name.
    CampaignId;
    /// What a volume says of itself: `fs:<filesystem UUID>` or `marker:<enrolled UUID>`.
    VolumeId;
    /// Name of a node label, such as `rack` or `array`: a failure domain's dimension.
    LabelKey;
    /// Value of a node label, such as `r12`.
    LabelValue;
}

macro_rules! counters {
    ($($(#[$doc:meta])* $id:ident($int:ty);)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $id($int);

        impl $id {
            /// The value as read from disk or wire.
            #[must_use]
            pub const fn from_raw(raw: $int) -> Self {
                Self(raw)
            }

            /// The bare number.
            #[must_use]
            pub const fn raw(self) -> $int {
                self.0
            }

            /// The one after this; stays at the largest value.
            #[must_use]
            pub const fn next(self) -> Self {
                Self(self.0.saturating_add(1))
            }
        }

        impl fmt::Display for $id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    )*};
}

counters! {
    /// Life of a cell: 1, and after each restore of its journal from a backup the second of that, counted from 1970.
    Incarnation(u32);
    /// Leadership term.
    Epoch(u64);
    /// Number of one journal record; the first record is 1.
    Seq(u64);
    /// Number of a try of a task on one shard; counts over the shard's whole life, so that none is ever used twice.
    AttemptNo(u32);
    /// Position of a wave in its campaign; 0 is the canary.
    WaveNo(u32);
    /// Revision of a plan within its campaign.
    Revision(u32);
    /// Version of a shard's placement.
    PlacementNo(u32);
}

/// Life of an agent's state directory: a random number drawn when the directory is made. A reimaged node has another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeIncarnation(u64);

impl NodeIncarnation {
    /// Wraps the number drawn by the agent.
    #[must_use]
    pub const fn from_raw(raw: u64) -> Self {
        Self(raw)
    }

    /// The bare number.
    #[must_use]
    pub const fn raw(self) -> u64 {
        self.0
    }
}

impl fmt::Display for NodeIncarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// One run of an agent's process: a random number other than 0, drawn when it starts. Two runs at once under one
/// [`NodeIncarnation`] have one state directory and a copy of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BootId(NonZeroU64);

impl BootId {
    /// Wraps the number drawn by the agent; none when it is 0, which says nothing.
    #[must_use]
    pub const fn from_raw(raw: u64) -> Option<Self> {
        match NonZeroU64::new(raw) {
            Some(raw) => Some(Self(raw)),
            None => None,
        }
    }

    /// The bare number.
    #[must_use]
    pub const fn raw(self) -> u64 {
        self.0.get()
    }
}

/// One customer's mailbox: a keyed BLAKE3 hash of its address, cut to 16 bytes. Without the cell's key it tells nothing
/// about the address; with it, the address finds its mailbox again on any node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MailboxId([u8; 16]);

impl MailboxId {
    /// The id of `address` (any form the provider uses; compared in ASCII lower case) under the cell's key.
    #[must_use]
    pub fn of_address(key: &[u8; 32], address: &[u8]) -> Self {
        let hash = blake3::keyed_hash(key, &address.to_ascii_lowercase());
        let mut id = [0; 16];
        id.copy_from_slice(&hash.as_bytes()[..16]);
        Self(id)
    }

    /// The id as read from disk or wire.
    #[must_use]
    pub const fn from_raw(raw: [u8; 16]) -> Self {
        Self(raw)
    }

    /// The bare bytes.
    #[must_use]
    pub const fn raw(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for MailboxId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("mb-")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for MailboxId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text is not `mb-` and 32 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not a mailbox id; one is written mb- and 32 hexadecimal digits")]
pub struct MailboxIdError;

impl FromStr for MailboxId {
    type Err = MailboxIdError;
    fn from_str(text: &str) -> Result<Self, MailboxIdError> {
        let hex = text.strip_prefix("mb-").ok_or(MailboxIdError)?;
        crate::digest::decode_hex(hex).map(Self).ok_or(MailboxIdError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_keeps_its_text_and_order() {
        let a = ShardId::new("vol-2").unwrap();
        let b = ShardId::new("vol-21").unwrap();
        assert_eq!(a.to_string(), "vol-2");
        assert!(a < b && b < ShardId::new("vol-3").unwrap());
        assert_eq!(format!("{a:>7}|"), "  vol-2|");
    }

    #[test]
    fn bad_names_say_why() {
        assert_eq!(ShardId::new(""), Err(NameError::Empty));
        assert_eq!(ShardId::new(&"x".repeat(48)), Err(NameError::TooLong { bytes: 48 }));
        assert_eq!(ShardId::new("a/b"), Err(NameError::Character { found: '/', at: 1 }));
        assert_eq!(ShardId::new("-a"), Err(NameError::Character { found: '-', at: 0 }));
        assert_eq!(ShardId::new("é"), Err(NameError::Character { found: 'é', at: 0 }));
    }

    #[test]
    fn a_mailbox_id_needs_the_key_and_survives_text() {
        let id = MailboxId::of_address(&[7; 32], b"Mario@Libero.example");
        assert_eq!(id, MailboxId::of_address(&[7; 32], b"mario@libero.example"));
        assert_ne!(id, MailboxId::of_address(&[8; 32], b"mario@libero.example"));
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!("mb-12".parse::<MailboxId>(), Err(MailboxIdError));
    }
}
