//! One message as a manifest lists it, in bytes whose order is the order of the list.

use rientro_types::Digest;

/// Bytes of a row.
pub(super) const ROW_BYTES: usize = 96;

/// Bytes of folder, GUID and identity, which stand first in the order of a manifest: they say which message it is.
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
    /// Another row has the same message of the same file, to which folders refer more than once.
    pub(crate) again: bool,
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
    /// Folder, GUID, identity, UID: the order of a manifest.
    Place,
    /// Identity, folder, UID: the same content side by side, wherever it stands.
    Content,
    /// File, position in it: the rows of one message side by side, whichever folders refer to it.
    Message,
}

/// Where in a row its parts stand. Numbers are big-endian, so that bytes are in the order of what they say.
struct Places {
    folder: usize,
    guid: usize,
    identity: usize,
    uid: usize,
    file_at: usize,
    offset: usize,
}

/// Where the size of the plain message and the flags stand in every order; three bytes behind are zero.
const PLAIN_BYTES: usize = 84;
const FLAGS: usize = 92;

const MARKED: u8 = 1;
const AGAIN: u8 = 2;

impl Order {
    const fn places(self) -> Places {
        match self {
            Self::Place => Places { folder: 0, guid: 16, identity: 32, uid: 64, file_at: 68, offset: 76 },
            Self::Content => Places { identity: 0, folder: 32, uid: 48, guid: 52, file_at: 68, offset: 76 },
            Self::Message => Places { file_at: 0, offset: 8, folder: 16, guid: 32, identity: 48, uid: 80 },
        }
    }

    /// The bytes of a row in this order.
    pub(super) fn encode(self, row: &Row) -> RawRow {
        let Places { folder, guid, identity, uid, file_at, offset } = self.places();
        let mut raw = [0; ROW_BYTES];
        raw[folder..folder + 16].copy_from_slice(&row.folder.0);
        raw[guid..guid + 16].copy_from_slice(&row.guid);
        raw[identity..identity + 32].copy_from_slice(row.identity.raw());
        raw[uid..uid + 4].copy_from_slice(&row.uid.to_be_bytes());
        raw[file_at..file_at + 8].copy_from_slice(&row.file_at.to_be_bytes());
        raw[offset..offset + 8].copy_from_slice(&row.offset.to_be_bytes());
        raw[PLAIN_BYTES..FLAGS].copy_from_slice(&row.plain_bytes.to_be_bytes());
        let flag = |is_set: bool, flag: u8| if is_set { flag } else { 0 };
        raw[FLAGS] = flag(row.marked, MARKED) | flag(row.again, AGAIN);
        raw
    }

    /// The row that these bytes are in this order.
    pub(super) fn decode(self, raw: &RawRow) -> Row {
        let Places { folder, guid, identity, uid, file_at, offset } = self.places();
        Row {
            folder: FolderId(array(raw, folder)),
            guid: array(raw, guid),
            identity: Digest::from_raw(array(raw, identity)),
            plain_bytes: u64::from_be_bytes(array(raw, PLAIN_BYTES)),
            file_at: u64::from_be_bytes(array(raw, file_at)),
            offset: u64::from_be_bytes(array(raw, offset)),
            uid: u32::from_be_bytes(array(raw, uid)),
            marked: raw[FLAGS] & MARKED != 0,
            again: raw[FLAGS] & AGAIN != 0,
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

    fn row() -> Row {
        Row {
            folder: FolderId::of(b"INBOX"),
            guid: [7; 16],
            identity: Digest::of(b"mail"),
            plain_bytes: 4,
            file_at: 258,
            offset: 9,
            uid: 259,
            marked: true,
            again: false,
        }
    }

    #[test]
    fn rows_are_the_same_in_all_orders() {
        for order in [Order::Place, Order::Content, Order::Message] {
            for row in [row(), Row { marked: false, again: true, file_at: u64::MAX, ..row() }] {
                assert_eq!(order.decode(&order.encode(&row)), row);
            }
        }
    }

    #[test]
    fn rows_sort_by_what_their_order_names() {
        let [place, content, message] =
            [Order::Place, Order::Content, Order::Message].map(|order| order.encode(&row()));
        let Row { folder, guid, identity, .. } = row();
        let (identity, uid) = (&identity.raw()[..], &[0, 0, 1, 3][..]);
        assert_eq!(place[..68], [&folder.0, &guid, identity, uid].concat());
        assert_eq!(content[..52], [identity, &folder.0, uid].concat());
        assert_eq!(message[..16], [0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 0, 0, 0, 9]);
    }
}
