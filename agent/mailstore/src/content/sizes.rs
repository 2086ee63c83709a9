//! Sizes that stand beside a message: in its name, in a list, in its metadata.

/// How long a message is said to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sizes {
    /// Bytes of the plain message: `S=` of a Maildir, `Z` of a dbox.
    pub(crate) plain_bytes: Option<u64>,
    /// Bytes with every bare LF counted as CRLF: `W=` of a Maildir, `V` of a dbox.
    pub(crate) virtual_bytes: Option<u64>,
}

impl Sizes {
    /// Takes what `other` knows and this does not.
    pub(crate) fn or(self, other: Self) -> Self {
        Self {
            plain_bytes: self.plain_bytes.or(other.plain_bytes),
            virtual_bytes: self.virtual_bytes.or(other.virtual_bytes),
        }
    }

    /// Whether any size is known.
    pub(crate) fn any(self) -> bool {
        self.plain_bytes.is_some() || self.virtual_bytes.is_some()
    }
}
