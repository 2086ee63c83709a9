//! One encoding of findings, so that everyone who holds them in order computes the same digest.

use rientro_types::{Digest, Finding};

/// Digest over findings in order: kind (1 byte), then mailbox, path and detail, each as length (4 bytes, little-endian) and
/// bytes.
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
