//! Breaks Maildir stores on purpose, one named fault at a time, and says what a verifier must make of each.
//!
//! The faults are those of failing arrays and of restores gone wrong: lost blocks, torn and swapped files, lost directories, old or lost
//! uidlists. For each it is decided here, from the store alone and before any verifier runs, whether it can be found without a baseline and as
//! what. A fault that would change nothing (a block that is zero already, a file shorter than a block) or that the circumstances undo (taking
//! read rights from root) is not made. Decided by the seed; only messages with a single link are chosen, so that no other mailbox is hit.

mod folder;
mod message;

pub use folder::{empty_volume, swap_volumes};

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::Result;
use rientro_types::{Finding, FindingKind, FindingKinds};

use crate::damage::message::Message;
use crate::judge::place_of;
use crate::rng::Rng;
use crate::store::Mailbox;

/// Size of the blocks that file systems lose.
pub const BLOCK_BYTES: usize = 4096;

macro_rules! faults {
    ($(#[$enum_doc:meta])* $name:ident { $($(#[$doc:meta])* $fault:ident,)* }) => {
        $(#[$enum_doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$doc])* $fault,)* }

        impl $name {
            /// Every fault of this kind.
            pub const ALL: &'static [Self] = &[$(Self::$fault,)*];
        }
    };
}

faults! {
    /// A fault of one message.
    MessageFault {
        /// A block inside a plain message is zero.
        BlockZeroed,
        /// The first block of a plain message is zero.
        FirstBlockZeroed,
        /// The end of a plain message is cut off.
        Truncated,
        /// A message has no bytes left.
        Emptied,
        /// Two messages of a folder stand under each other's name.
        Swapped,
        /// One bit in the text of a plain message is another.
        BitFlipped,
        /// A message's file is gone.
        Lost,
        /// A message's file may not be read.
        Unreadable,
        /// A symbolic link stands in a message's place.
        Symlink,
        /// A FIFO stands in a message's place.
        Fifo,
        /// A message stands twice in its folder, with different flags.
        Duplicated,
        /// One bit of a compressed message is another.
        GzipBitFlipped,
        /// The end of a compressed message is cut off.
        GzipTruncated,
        /// A block inside a compressed message is zero.
        GzipBlockZeroed,
        /// The first block of a compressed message is zero, so it no longer looks compressed.
        GzipFirstBlockZeroed,
    }
}

faults! {
    /// A fault of a whole folder.
    FolderFault {
        /// `cur` is gone with all messages in it.
        CurLost,
        /// `dovecot-uidlist` is gone.
        UidlistLost,
        /// `dovecot-uidlist` is all zero.
        UidlistZeroed,
        /// `dovecot-uidlist` is one step older than the messages.
        UidlistStale,
        /// The end of `dovecot-uidlist` is cut off, in the middle of a line.
        UidlistTruncated,
        /// The files of all messages are gone, and `dovecot-uidlist` with them.
        EmptiedWithUidlist,
        /// The index and its log are gone; Dovecot makes them anew and nothing is lost.
        IndexLost,
        /// The index's log is all zero.
        IndexLogZeroed,
        /// The index and its log are those of an earlier time. Dovecot makes them anew; a verifier cannot tell what was removed since from what was
        /// lost.
        IndexOld,
        /// A file that is no message stands among the messages.
        Stray,
    }
}

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// Of one message.
    Message(MessageFault),
    /// Of a whole folder.
    Folder(FolderFault),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Message(fault) => write!(f, "{fault:?}"),
            Self::Folder(fault) => write!(f, "{fault:?}"),
        }
    }
}

/// One thing that was broken.
#[derive(Clone, Debug)]
pub struct Damage {
    /// What was done.
    pub fault: Fault,
    /// Where.
    pub mailbox: Mailbox,
    /// The message as a path inside the Maildir; the folder's path for faults of a folder (empty for INBOX).
    pub path: PathBuf,
    /// A verifier must report at least one of these; empty when nothing can be seen without a baseline.
    pub expected: FindingKinds,
    /// It may report these as well: they are true consequences.
    pub allowed: FindingKinds,
}

impl Damage {
    /// Whether a verifier without a baseline must find it.
    #[must_use]
    pub fn findable(&self) -> bool {
        self.expected != FindingKinds::NONE
    }

    /// Whether the finding is about this damage.
    #[must_use]
    pub fn explains(&self, mailbox: &Path, finding: &Finding) -> bool {
        let kind = finding.kind;
        self.is_at(mailbox, finding) && (self.expected.contains(kind) || self.allowed.contains(kind))
    }

    /// Whether the finding is about what was damaged, whatever it says of it. Findings name a message with or without its flags, so names
    /// are compared up to their colon.
    #[must_use]
    pub fn is_at(&self, mailbox: &Path, finding: &Finding) -> bool {
        let path = place_of(finding);
        let same_place =
            if self.is_of_message() { stem(path) == stem(&self.path) } else { path.starts_with(&self.path) };
        mailbox == self.mailbox.path && same_place
    }

    /// Whether it is about one message: its path ends in a name inside `cur` or `new`.
    fn is_of_message(&self) -> bool {
        let parent = self.path.parent().and_then(Path::file_name);
        parent.is_some_and(|name| name == "cur" || name == "new")
    }
}

/// What was broken, and what could not be.
#[derive(Clone, Debug, Default)]
pub struct Broken {
    /// Everything that was done.
    pub damages: Vec<Damage>,
    /// Faults for which no place was found as often as asked for, with the times they were made.
    pub short: Vec<(Fault, usize)>,
}

impl Broken {
    /// Faults that were not made even once, but for those that cannot be made here.
    #[must_use]
    pub fn never_made(&self) -> Vec<Fault> {
        let never = self.short.iter().filter(|(fault, made)| *made == 0 && !cannot_be_made().contains(fault));
        never.map(|(fault, _)| *fault).collect()
    }

    fn add(&mut self, fault: Fault, made: usize, wanted: usize, damages: Vec<Damage>) {
        if made < wanted {
            self.short.push((fault, made));
        }
        self.damages.extend(damages);
    }
}

/// Faults that cannot be made here: root reads whatever it likes.
#[must_use]
pub fn cannot_be_made() -> &'static [Fault] {
    if rustix::process::geteuid().is_root() { &[Fault::Message(MessageFault::Unreadable)] } else { &[] }
}

/// Makes each of these faults: those of messages so many times, those of folders once, each in a mailbox of its own.
///
/// # Errors
/// When a store cannot be read or written; it may be half broken then.
pub fn break_stores(
    mailboxes: &[Mailbox],
    of_folders: &[FolderFault],
    of_messages: &[MessageFault],
    times: usize,
    seed: u64,
) -> Result<Broken> {
    let mut rng = Rng::new(seed);
    let mut mailboxes = mailboxes.to_vec();
    mailboxes.sort();
    shuffle(&mut rng, &mut mailboxes);
    let mut broken = Broken::default();
    for fault in of_folders {
        let damages = folder::apply_somewhere(*fault, &mut mailboxes)?;
        broken.add(Fault::Folder(*fault), usize::from(!damages.is_empty()), 1, damages);
    }
    let mut messages = message::candidates(&mailboxes)?;
    shuffle(&mut rng, &mut messages);
    let mut unused: BTreeSet<usize> = (0..messages.len()).collect();
    for fault in of_messages {
        let (made, damages) = break_messages(*fault, times, &messages, &mut unused, &mut rng)?;
        broken.add(Fault::Message(*fault), made, times, damages);
    }
    Ok(broken)
}

/// Makes one fault in unused messages, in their order; how often it was made, and what that damaged.
fn break_messages(
    fault: MessageFault,
    times: usize,
    messages: &[Message],
    unused: &mut BTreeSet<usize>,
    rng: &mut Rng,
) -> Result<(usize, Vec<Damage>)> {
    let (mut made, mut damages) = (0, Vec::new());
    for at in unused.clone() {
        if made == times {
            break;
        }
        if !unused.contains(&at) {
            continue;
        }
        let message = &messages[at];
        let mut others = unused.iter().copied().filter(|other| *other > at);
        let partner = if fault == MessageFault::Swapped {
            others.find(|other| message.swappable(&messages[*other]))
        } else {
            None
        };
        let done = message.apply(fault, partner.map(|other| &messages[other]), rng)?;
        if !done.is_empty() {
            unused.remove(&at);
            partner.map(|other| unused.remove(&other));
            damages.extend(done);
            made += 1;
        }
    }
    Ok((made, damages))
}

/// The set of these kinds.
fn kinds(kinds: &[FindingKind]) -> FindingKinds {
    let mut set = FindingKinds::NONE;
    for kind in kinds {
        set.insert(*kind);
    }
    set
}

/// A message's name up to its flags.
fn stem(path: &Path) -> Option<&str> {
    path.file_name()?.to_str()?.split(':').next()
}

pub(crate) fn shuffle<T>(rng: &mut Rng, items: &mut [T]) {
    for at in (1..items.len()).rev() {
        items.swap(at, rng.below(at + 1));
    }
}
