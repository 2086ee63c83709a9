//! Volumes with Maildirs on them, as a mail server leaves them.

use std::fs;
use std::path::{Path, PathBuf};

use rientro_mailstore::volume::enrol;
use rientro_types::VolumeId;

/// A directory that is an enrolled volume.
pub(crate) struct Volume {
    pub(crate) path: PathBuf,
    pub(crate) id: VolumeId,
}

impl Volume {
    /// Makes the directory and enrols it under a marker made from the number.
    pub(crate) fn enrolled(path: &Path, number: u8) -> Self {
        fs::create_dir_all(path).unwrap();
        let id = enrol(path, &format!("6f1c9a52-0b1d-4c61-9d0a-3f1b2c4d5e{number:02x}")).unwrap();
        Self { path: path.to_owned(), id }
    }

    /// A mailbox with so many messages of about 2 KiB.
    pub(crate) fn mailbox(&self, path: &str, messages: usize) -> PathBuf {
        self.mailbox_of(path, messages, 32)
    }

    /// A mailbox with so many messages of so many lines, of about 50 bytes each.
    pub(crate) fn mailbox_of(&self, path: &str, messages: usize, lines: usize) -> PathBuf {
        let mailbox = self.path.join(path);
        for place in ["cur", "new", "tmp"] {
            fs::create_dir_all(mailbox.join(place)).unwrap();
        }
        for number in 0..messages {
            let text = text(number, lines);
            fs::write(mailbox.join("cur").join(name(number, &text)), text).unwrap();
        }
        mailbox
    }

    /// A shard of some mailboxes.
    pub(crate) fn shard(&self, name: &str, mailboxes: usize, messages: usize) {
        for number in 0..mailboxes {
            self.mailbox(&format!("{name}/ex.org/user{number:03}"), messages);
        }
    }
}

/// Cuts the end off a message, so that its size is not the one in its name.
pub(crate) fn damage(mailbox: &Path) {
    let file = fs::read_dir(mailbox.join("cur")).unwrap().next().unwrap().unwrap().path();
    let text = fs::read(&file).unwrap();
    fs::write(&file, &text[..text.len() - 10]).unwrap();
}

fn name(number: usize, text: &str) -> String {
    let lines = text.lines().count();
    format!("17000000{:02}.M{number:06}P77.mx,S={},W={}:2,S", number % 100, text.len(), text.len() + lines)
}

fn text(number: usize, lines: usize) -> String {
    let mut text = format!("Return-Path: <a@ex.org>\nSubject: number {number}\n\n");
    for line in 0..lines {
        text.push_str(&format!("line {line} of message {number}, which is long enough to be text\n"));
    }
    text
}
