//! The mail that is read.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::store::dbox::{Mdbox, framed};

/// Messages of each file of an mdbox: about as many short ones as Dovecot puts into 2 MiB.
const MESSAGES_EACH: usize = 8_192;

/// An mdbox with its share of distinct messages, of about 300 bytes with their frame, in each mailbox.
pub(super) fn make_mdbox(root: &Path, mailboxes: u32, messages: u32) {
    let (next, each) = (AtomicU32::new(0), messages / mailboxes);
    let message = |mailbox: u32, number: u32| {
        let text = format!(
            "From: a@example.org\nSubject: {mailbox} {number}\n\nthe quick brown fox jumps over the lazy dog\n"
        );
        framed(number, text.as_bytes())
    };
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(mailbox) =
                    Some(next.fetch_add(1, Ordering::Relaxed)).filter(|at| *at < mailboxes)
                {
                    let messages: Vec<_> = (1..=each).map(|number| message(mailbox, number)).collect();
                    let path = root.join(format!("{:02x}/u{mailbox:06}/Maildir", mailbox % 256));
                    Mdbox::holding(&path, &messages, MESSAGES_EACH);
                }
            });
        }
    });
}

/// Maildirs with messages of 1 to 128 KiB (12 KiB in the middle), delivered across mailboxes as a live server does.
pub(super) fn make(root: &Path, mailboxes: usize, messages: usize) {
    let place = |number: usize| root.join(format!("{:02x}/u{number:06}/Maildir", number % 256));
    for number in 0..mailboxes {
        for part in ["cur", "new", "tmp"] {
            fs::create_dir_all(place(number).join(part)).unwrap();
        }
    }
    let mut lists = vec![String::new(); mailboxes];
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    for number in 0..messages {
        random = random.wrapping_mul(0xd134_2543_de82_ef95).wrapping_add(1);
        let to = usize::try_from(random >> 33).unwrap() % mailboxes;
        let lines = (12 << (random >> 20 & 7)) + usize::try_from(random >> 40 & 15).unwrap();
        let mut text = format!("From: a{number}@example.org\nSubject: {random:x}\n\n");
        for line in 0..lines {
            text.push_str(&format!(
                "{line} {random:016x} the quick brown fox jumps over the lazy dog, twice\n"
            ));
        }
        let ends = text.bytes().filter(|b| *b == b'\n').count();
        let stem = format!(
            "{}.M{number:06}P1.host,S={},W={}",
            1_700_000_000 + number,
            text.len(),
            text.len() + ends
        );
        fs::write(place(to).join(format!("cur/{stem}:2,S")), text).unwrap();
        lists[to].push_str(&format!("{} :{stem}\n", number + 1));
    }
    for (number, list) in lists.iter().enumerate() {
        let text = format!("3 V1700000000 N{} G0123456789abcdef0123456789abcdef\n{list}", messages + 1);
        fs::write(place(number).join("dovecot-uidlist"), text).unwrap();
    }
}
