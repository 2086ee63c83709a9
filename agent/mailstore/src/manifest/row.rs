//! One message as a manifest lists it, in bytes whose order is the order of the list.

use rientro_types::Digest;

/// Bytes of a row, and of the part of it that rows are sorted by.
pub(super) const ROW_BYTES: usize = 96;
pub(super) const KEY_BYTES: usize = 64;

/// A row in bytes.
pub(super) type RawRow = [u8; ROW_BYTES];

/// A message in a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    /// The folder's name, hashed.
    pub(crate) folder: FolderId,
    /// The mail's GUID as Dovecot's indexes have it.
    pub(crate) guid: [u8; 16],
    /// BLAKE3 of the plain message, line ends LF.
    pub(crate) identity: Digest,
    /// Bytes of that.
    pub(crate) plain_bytes: u64,
    /// Where its file stands among the files of the section.
    pub(crate) file_at: u64,
    /// Where it stands in the file.
    pub(crate) offset: u64,
    /// Its UID; 0 when it has none yet.
    pub(crate) uid: u32,
    /// Damage was noted about it.
    pub(crate) marked: bool,
}

/// A folder by its name: the first 16 bytes of BLAKE3 over it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FolderId(pub(crate) [u8; 16]);

impl FolderId {
    /// The id of a folder whose name has `/` between its levels.
    pub(crate) fn of(name: &[u8]) -> Self {
        let mut id = [0; 16];
        id.copy_from_slice(&blake3::hash(name).as_bytes()[..16]);
        Self(id)
    }
}

/// What rows are sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Folder, GUID, identity: the order of a manifest.
    Place,
    /// Identity, folder, GUID: the same content side by side, wherever it stands.
    Content,
}

impl Order {
    /// Where folder, GUID and identity stand in a row of this order.
    const fn places(self) -> (usize, usize, usize) {
        match self {
            Self::Place => (0, 16, 32),
            Self::Content => (32, 48, 0),
        }
    }

    /// The bytes of a row in this order.
    pub(super) fn encode(self, row: &Row) -> RawRow {
        let (folder, guid, identity) = self.places();
        let mut raw = [0; ROW_BYTES];
        raw[folder..folder + 16].copy_from_slice(&row.folder.0);
        raw[guid..guid + 16].copy_from_slice(&row.guid);
        raw[identity..identity + 32].copy_from_slice(row.identity.raw());
        raw[64..72].copy_from_slice(&row.plain_bytes.to_le_bytes());
        raw[72..80].copy_from_slice(&row.file_at.to_le_bytes());
        raw[80..88].copy_from_slice(&row.offset.to_le_bytes());
        raw[88..92].copy_from_slice(&row.uid.to_le_bytes());
        raw[92] = u8::from(row.marked);
        raw
    }

    /// The row that these bytes are in this order.
    pub(super) fn decode(self, raw: &RawRow) -> Row {
        let (folder, guid, identity) = self.places();
        Row {
            folder: FolderId(array(raw, folder)),
            guid: array(raw, guid),
            identity: Digest::from_raw(array(raw, identity)),
            plain_bytes: u64::from_le_bytes(array(raw, 64)),
            file_at: u64::from_le_bytes(array(raw, 72)),
            offset: u64::from_le_bytes(array(raw, 80)),
            uid: u32::from_le_bytes(array(raw, 88)),
            marked: raw[92] != 0,
        }
    }
}

fn array<const N: usize>(raw: &RawRow, at: usize) -> [u8; N] {
    let mut part = [0; N];
    part.copy_from_slice(&raw[at..at + N]);
    part
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_the_same_in_both_orders() {
        let row = Row {
            folder: FolderId::of(b"INBOX"),
            guid: [7; 16],
            identity: Digest::of(b"mail"),
            plain_bytes: 4,
            file_at: u64::MAX,
            offset: 9,
            uid: 3,
            marked: true,
        };
        for order in [Order::Place, Order::Content] {
            assert_eq!(order.decode(&order.encode(&row)), row);
        }
        assert_eq!(Order::Content.encode(&row)[..32], *row.identity.raw());
        assert_eq!(Order::Place.encode(&row)[..16], row.folder.0);
    }
}
