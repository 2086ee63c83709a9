//! Builds sdbox and mdbox mailboxes the way Dovecot leaves them.

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{log_header, message};

/// A message as it stands in a dbox file: header, body, metadata.
pub(crate) fn framed(number: u32, text: &[u8]) -> Vec<u8> {
    let lines = text.iter().filter(|b| **b == b'\n').count();
    let mut bytes = format!("\x01\x02N          {:016X}\n", text.len()).into_bytes();
    bytes.extend(text);
    bytes.extend(b"\n\x01\x03\n");
    bytes.extend(format!("R6b02634d\nV{:x}\nG{}\n\n", text.len() + lines, hex(&guid(number))).bytes());
    bytes
}

pub(crate) const FILE_HEADER: &[u8] = b"2 M1e C6b02634d\n";

/// Path of the attachment: it begins with the SHA-1 of a thousand `x`.
pub(crate) const ATTACHMENT: &str =
    "c3/ef/c3efa690fa3fdd2e2526853eed670538ea127638-000102030405060708090a0b0c0d0e0f";

/// The GUID of a message.
pub(crate) fn guid(number: u32) -> [u8; 16] {
    let mut guid = [0x5a; 16];
    guid[12..].copy_from_slice(&number.to_be_bytes());
    guid
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// An extension of an index: its name and what it says of each message.
pub(crate) struct Column<'a> {
    pub(crate) name: &'a str,
    pub(crate) cells: Vec<Vec<u8>>,
}

/// An index with these UIDs and extensions, written from log 1 to its first record.
pub(crate) fn index(uids: &[u32], next: u32, columns: &[Column<'_>]) -> Vec<u8> {
    let mut bytes = super::index(&[], next);
    let mut offset = 8;
    for Column { name, cells } in columns {
        let size = cells.first().map_or(0, Vec::len);
        bytes.extend([0; 8]);
        let sizes = [offset, size, 1, name.len()].map(|value| u16::try_from(value).unwrap().to_le_bytes());
        bytes.extend(sizes.concat());
        bytes.extend(name.bytes());
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        offset += size;
    }
    let record = offset.next_multiple_of(4);
    for (at, value) in [(4, bytes.len()), (8, record), (32, uids.len())] {
        bytes[at..at + 4].copy_from_slice(&u32::try_from(value).unwrap().to_le_bytes());
    }
    for (row, uid) in uids.iter().enumerate() {
        let start = bytes.len();
        bytes.extend(uid.to_le_bytes());
        bytes.extend([8, 0, 0, 0]);
        columns.iter().for_each(|column| bytes.extend(&column.cells[row]));
        bytes.resize(start + record, 0);
    }
    bytes
}

fn write_index(folder: &Path, name: &str, bytes: &[u8]) {
    fs::write(folder.join(name), bytes).unwrap();
    fs::write(folder.join(format!("{name}.log")), log_header(1, 0)).unwrap();
}

/// An sdbox with three messages in INBOX.
pub(crate) struct Sdbox(pub(crate) PathBuf);

impl Sdbox {
    pub(crate) fn new(path: &Path) -> Self {
        let files = path.join("mailboxes/INBOX/dbox-Mails");
        fs::create_dir_all(&files).unwrap();
        write_index(&files, "dovecot.index", &index(&[1, 2, 3], 4, &[]));
        let sdbox = Self(path.to_owned());
        (1..=3).for_each(|number| sdbox.add(number));
        sdbox
    }

    /// Adds the file of a message that the index does not know.
    pub(crate) fn add(&self, number: u32) {
        let bytes = [FILE_HEADER, &framed(number, &message(number))].concat();
        fs::write(self.at(&format!("u.{number}")), bytes).unwrap();
    }

    /// Removes the index and its log.
    pub(crate) fn lose_index(&self) {
        fs::remove_file(self.at("dovecot.index")).unwrap();
        fs::remove_file(self.at("dovecot.index.log")).unwrap();
    }

    /// A path in the directory of INBOX's files.
    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.0.join("mailboxes/INBOX/dbox-Mails").join(name)
    }
}

/// An mdbox of two files with two messages each; INBOX has all, Archive a copy of the first.
pub(crate) struct Mdbox(pub(crate) PathBuf);

impl Mdbox {
    pub(crate) fn new(path: &Path) -> Self {
        Self::holding(path, &[1, 2, 3, 4].map(|number| framed(number, &message(number))), 2)
    }

    /// The same with these messages, so many in each file.
    pub(crate) fn holding(path: &Path, messages: &[Vec<u8>], each: usize) -> Self {
        let storage = path.join("storage");
        fs::create_dir_all(&storage).unwrap();
        let mut cells = Vec::new();
        for (file, pair) in (1..=u32::MAX).zip(messages.chunks(each)) {
            let mut bytes = FILE_HEADER.to_vec();
            for framed in pair {
                let place = [file, u32::try_from(bytes.len()).unwrap(), u32::try_from(framed.len()).unwrap()];
                cells.push(place.map(u32::to_le_bytes).concat());
                bytes.extend(framed);
            }
            fs::write(storage.join(format!("m.{file}")), bytes).unwrap();
        }
        let count = u32::try_from(messages.len()).unwrap();
        let uids: Vec<u32> = (1..=count).collect();
        let references =
            uids.iter().map(|uid| u16::from(*uid == 1).saturating_add(1).to_le_bytes().to_vec()).collect();
        let columns = [Column { name: "map", cells }, Column { name: "ref", cells: references }];
        write_index(&storage, "dovecot.map.index", &index(&uids, count + 1, &columns));
        let mdbox = Self(path.to_owned());
        mdbox.folder("INBOX", &uids);
        mdbox.folder("Archive", &[1]);
        mdbox
    }

    /// An mdbox whose only message has an attachment of 1,000 bytes that is stored apart, at [`ATTACHMENT`] below `attachments`.
    pub(crate) fn with_attachment(path: &Path, attachments: &Path) -> Self {
        let file = attachments.join(ATTACHMENT);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, [b'x'; 1_000]).unwrap();
        let lines: Vec<String> = [b'x'; 1_000].chunks(57).map(|line| STANDARD.encode(line)).collect();
        let (before, encoded, after) = ("Subject: with one\n\nsee\n", lines.join("\n"), "\nend\n");
        let body = [before, after].concat();
        let plain = [before, &encoded, after].concat();
        let virtual_bytes = plain.len() + plain.matches('\n').count();
        let mut bytes = format!("\x01\x02N          {:016X}\n{body}\n\x01\x03\n", body.len()).into_bytes();
        let reference = format!("{} {} B76 {ATTACHMENT}", before.len(), encoded.len());
        let metadata =
            format!("R1\nV{virtual_bytes:x}\nZ{:x}\nG{}\nX{reference}\n\n", plain.len(), hex(&guid(1)));
        bytes.extend(metadata.bytes());
        Self::holding(path, &[bytes], 1)
    }

    /// Writes a folder that refers to these messages of the map.
    pub(crate) fn folder(&self, name: &str, messages: &[u32]) {
        self.folder_with(name, messages, guid);
    }

    /// The same with these GUIDs in its index.
    pub(crate) fn folder_with(&self, name: &str, messages: &[u32], guid: impl Fn(u32) -> [u8; 16]) {
        let files = self.0.join("mailboxes").join(name).join("dbox-Mails");
        fs::create_dir_all(&files).unwrap();
        let uids: Vec<u32> = (1..).take(messages.len()).collect();
        let columns = [
            Column { name: "mdbox", cells: messages.iter().map(|uid| uid.to_le_bytes().to_vec()).collect() },
            Column { name: "guid", cells: messages.iter().map(|uid| guid(*uid).to_vec()).collect() },
        ];
        let next = u32::try_from(messages.len()).unwrap() + 1;
        write_index(&files, "dovecot.index", &index(&uids, next, &columns));
    }

    /// Adds a message to the last file that the map does not know.
    pub(crate) fn append(&self, number: u32) {
        self.rewrite_last(|bytes| bytes.extend(framed(number, &message(number))));
    }

    /// Makes the metadata of the last message longer than the map has it.
    pub(crate) fn lengthen_last(&self) {
        self.rewrite_last(|bytes| {
            bytes.pop();
            bytes.extend(b"Psome-uidl\n\n");
        });
    }

    /// Gives the last message another GUID.
    pub(crate) fn rename_last(&self) {
        self.rewrite_last(|bytes| {
            let at = memchr::memmem::rfind(bytes, b"\nG5a").unwrap();
            bytes[at + 2..at + 4].copy_from_slice(b"ff");
        });
    }

    /// Gives every message another GUID of 32 characters.
    pub(crate) fn rename(&self, text: impl Fn(u32) -> String) {
        for (file, messages) in [("m.1", [1, 2]), ("m.2", [3, 4])] {
            self.rewrite(file, |bytes| {
                for number in messages {
                    let at = memchr::memmem::find(bytes, hex(&guid(number)).as_bytes()).unwrap();
                    bytes[at..at + 32].copy_from_slice(text(number).as_bytes());
                }
            });
        }
    }

    fn rewrite_last(&self, change: impl FnOnce(&mut Vec<u8>)) {
        self.rewrite("m.2", change);
    }

    fn rewrite(&self, file: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = fs::read(self.at(file)).unwrap();
        change(&mut bytes);
        fs::write(self.at(file), bytes).unwrap();
    }

    /// A path in the storage.
    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.0.join("storage").join(name)
    }
}
