//! BLAKE3 digests.

use std::fmt;
use std::str::FromStr;

/// A BLAKE3 digest of 32 bytes, written as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest before the first entry of a chain.
    pub const ZERO: Self = Self([0; 32]);

    /// Hashes one run of bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }

    /// The digest by which a cell knows the key of its mailbox ids again. It tells nothing about the key, and is no id of anything
    /// under it: it has a domain of its own.
    #[must_use]
    pub fn of_mailbox_key(key: &[u8; 32]) -> Self {
        Self(blake3::derive_key("rientro 2026 digest of a cell's mailbox key", key))
    }

    /// Hashes `bytes` together with the digest of what came before: one link of a chain.
    #[must_use]
    pub fn chained(self, bytes: &[u8]) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.0).update(bytes);
        Self(*hasher.finalize().as_bytes())
    }

    /// The digest as read from disk or wire.
    #[must_use]
    pub const fn from_raw(raw: [u8; 32]) -> Self {
        Self(raw)
    }

    /// The bare bytes.
    #[must_use]
    pub const fn raw(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text is not 64 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not a digest; one is written as 64 hexadecimal digits")]
pub struct DigestError;

impl FromStr for Digest {
    type Err = DigestError;
    fn from_str(text: &str) -> Result<Self, DigestError> {
        decode_hex(text).map(Self).ok_or(DigestError)
    }
}

pub(crate) fn decode_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let text = text.as_bytes();
    if text.len() != 2 * N {
        return None;
    }
    let nibble = |c: u8| char::from(c).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let mut out = [0; N];
    for (byte, pair) in out.iter_mut().zip(text.chunks_exact(2)) {
        *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_back() {
        let digest = Digest::of(b"x");
        assert_eq!(digest.to_string().parse(), Ok(digest));
        assert_eq!("zz".parse::<Digest>(), Err(DigestError));
    }

    #[test]
    fn a_chain_depends_on_what_came_before() {
        assert_ne!(Digest::ZERO.chained(b"a"), Digest::of(b"a"));
        assert_ne!(Digest::ZERO.chained(b"a").chained(b"b"), Digest::ZERO.chained(b"b").chained(b"a"));
    }
}
