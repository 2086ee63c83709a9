//! Real mailboxes: real messages delivered into a private Dovecot and lived in, spread over the roots of three nodes.
//!
//! Two thirds of the messages come over LMTP, the rest by IMAP APPEND; then messages are flagged, moved, copied and expunged. Some mailboxes are
//! compressed from the beginning, some only after half of their mail, and some were never looked into, so that all their mail is in `new/`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::dovecot::{Dovecot, Format, Packing, Storage, User};
use crate::imap::Imap;
use crate::ledger::{Content, Ledger, Way};
use crate::lmtp::Lmtp;
use crate::rng::Rng;
use crate::samples::Samples;
use crate::store::Mailbox;

/// Folders made besides INBOX.
const FOLDERS: [&str; 2] = ["Archive", "Sent"];
/// Flags and keywords set on messages, as mail programs do.
const FLAGS: [&str; 6] =
    ["\\Seen", "\\Seen \\Answered", "\\Flagged", "\\Seen $Forwarded", "$Label1 NonJunk", "\\Draft"];

/// Directory of a node's root in which some mailboxes of a dbox store their attachments: its name fits no mailbox.
pub const ATTACHMENTS: &str = ".attachments";

/// How large a corpus is.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Nodes; each has a root folder of its own.
    pub nodes: usize,
    /// Shards of each node.
    pub shards_per_node: usize,
    /// Mailboxes, spread evenly over the shards.
    pub mailboxes: usize,
    /// Messages handed over to each mailbox.
    pub messages_per_mailbox: usize,
    /// Format of the mailboxes.
    pub format: Format,
    /// Decides everything.
    pub seed: u64,
}

impl Default for Shape {
    /// 2,160 messages into 60 mailboxes of 12 shards on 3 nodes.
    fn default() -> Self {
        let format = Format::Maildir;
        Self { nodes: 3, shards_per_node: 4, mailboxes: 60, messages_per_mailbox: 36, format, seed: 1 }
    }
}

/// A delivered corpus: a store at rest, no server running.
#[derive(Clone, Debug)]
pub struct Corpus {
    /// Root folder of each node.
    pub roots: Vec<PathBuf>,
    /// The mailboxes.
    pub mailboxes: Vec<Mailbox>,
    /// Messages handed over, those expunged later included.
    pub handed_over: usize,
    /// What must be in the store, by the names that a Maildir's folders have.
    pub ledger: Ledger,
}

/// What a mailbox goes through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    /// Plain, in use.
    Plain,
    /// Compressed from the beginning.
    Compressed(Packing),
    /// Plain at first, compressed later.
    CompressedLater,
    /// Plain, mail delivered and never looked at.
    Untouched,
}

struct Account {
    mailbox: Mailbox,
    address: String,
    format: Format,
    life: Life,
    attachments: Option<PathBuf>,
}

impl Corpus {
    /// Makes the roots under the folder, delivers a corpus of this shape and stops the server.
    ///
    /// # Errors
    /// When Dovecot or the samples cannot be brought, or Dovecot refuses something.
    pub fn deliver(folder: &Path, shape: &Shape) -> Result<Self> {
        let accounts: Vec<Account> =
            (0..shape.mailboxes).map(|number| account(folder, shape, number)).collect();
        let samples = Samples::load()?;
        let dovecot = Dovecot::start(&accounts.iter().flat_map(Account::users).collect::<Vec<_>>())?;
        let mut delivery = Delivery {
            dovecot: &dovecot,
            lmtp: dovecot.lmtp()?,
            samples,
            rng: Rng::new(shape.seed),
            serial: 0,
        };
        let mut ledger = Ledger::default();
        for account in &accounts {
            let folders = delivery.live(account, shape.messages_per_mailbox);
            let folders = folders.with_context(|| format!("fill the mailbox of {}", account.address))?;
            for (name, contents) in folders {
                ledger.set(&account.mailbox, &name, contents);
            }
        }
        let handed_over = delivery.serial as usize;
        drop(delivery);
        dovecot.stop()?;
        let roots = (1..=shape.nodes).map(|node| node_root(folder, node)).collect();
        let mailboxes = accounts.into_iter().map(|account| account.mailbox).collect();
        Ok(Self { roots, mailboxes, handed_over, ledger })
    }
}

fn node_root(folder: &Path, node: usize) -> PathBuf {
    folder.join(format!("node{node}"))
}

/// Mailboxes go round the nodes, and round the shards of each.
fn account(folder: &Path, shape: &Shape, number: usize) -> Account {
    let (node, round) = (number % shape.nodes + 1, number / shape.nodes);
    let shard = format!("n{node}s{:02}", round % shape.shards_per_node + 1);
    let (domain, user) = (format!("d{}.example.test", number % 4 + 1), format!("user{:03}", number + 1));
    let life = match number % 10 {
        2 => Life::Compressed(Packing::Gzip),
        7 if shape.format == Format::Maildir => Life::Compressed(Packing::Gzip),
        7 => Life::Compressed(Packing::Zstd),
        4 => Life::CompressedLater,
        9 => Life::Untouched,
        _ => Life::Plain,
    };
    let mailbox = Mailbox { root: node_root(folder, node), shard, path: Path::new(&domain).join(&user) };
    // One of them has compressed messages.
    let apart = shape.format != Format::Maildir && matches!(number, 5 | 6 | 12);
    let attachments = apart.then(|| mailbox.root.join(ATTACHMENTS));
    Account { mailbox, address: format!("{user}@{domain}"), format: shape.format, life, attachments }
}

impl Account {
    /// The logins of this mailbox: a second one that compresses for a mailbox that was compressed later.
    fn users(&self) -> Vec<User> {
        let user = |address: String, packing| {
            let storage = Storage {
                format: self.format,
                packing,
                attachments: self.attachments.clone(),
                alternative: None,
            };
            User { address, mail: self.mailbox.folder(), storage }
        };
        match self.life {
            Life::Plain | Life::Untouched => vec![user(self.address.clone(), Packing::Plain)],
            Life::Compressed(packing) => vec![user(self.address.clone(), packing)],
            Life::CompressedLater => {
                vec![user(self.address.clone(), Packing::Plain), user(self.later_address(), Packing::Gzip)]
            }
        }
    }

    /// The login used after delivery.
    fn later_address(&self) -> String {
        match self.life {
            Life::CompressedLater => format!("gz.{}", self.address),
            Life::Plain | Life::Compressed(_) | Life::Untouched => self.address.clone(),
        }
    }
}

struct Delivery<'a> {
    dovecot: &'a Dovecot,
    lmtp: Lmtp,
    samples: Samples,
    rng: Rng,
    serial: u32,
}

/// Contents of INBOX and of [`FOLDERS`], in the order of their UIDs.
type Contents = [Vec<Content>; 3];

impl Delivery<'_> {
    /// Takes a mailbox through its life and returns what its folders hold at the end.
    fn live(&mut self, account: &Account, messages: usize) -> Result<Vec<(PathBuf, Vec<Content>)>> {
        let mut contents = Contents::default();
        let appended = if account.life == Life::Untouched { 0 } else { messages / 3 };
        for _ in 0..messages - appended {
            contents[0].push(self.hand_over(&account.address)?);
        }
        if account.life == Life::Untouched {
            return Ok(vec![(PathBuf::new(), contents.into_iter().next().unwrap_or_default())]);
        }
        let mut imap = self.dovecot.imap(&account.later_address())?;
        self.append(&mut imap, appended, &mut contents)?;
        account.mailbox.keep_index()?;
        self.use_mailbox(&mut imap, &mut contents)?;
        imap.logout()?;
        let names = [PathBuf::new()].into_iter().chain(FOLDERS.map(|name| PathBuf::from(format!(".{name}"))));
        Ok(names.zip(contents).collect())
    }

    fn hand_over(&mut self, address: &str) -> Result<Content> {
        let mut message = self.next_message();
        if !message.ends_with(b"\n") {
            message.push(b'\n');
        }
        self.lmtp.deliver("sender@example.test", address, &message)?;
        Ok(Content::of(&message, Way::Lmtp))
    }

    fn append(&mut self, imap: &mut Imap, messages: usize, contents: &mut Contents) -> Result<()> {
        for folder in FOLDERS {
            imap.create(folder)?;
        }
        for number in 0..messages {
            let message = self.next_message();
            let to = number % 3;
            let name = if to == 0 { "INBOX" } else { FOLDERS[to - 1] };
            let date = format!("{:02}-Mar-2021 10:{:02}:00 +0000", number % 28 + 1, number % 60);
            imap.append(name, self.any_flags(), &date, &message)?;
            contents[to].push(Content::of(&message, Way::Append));
        }
        Ok(())
    }

    fn any_flags(&mut self) -> &'static str {
        FLAGS[self.rng.below(FLAGS.len())]
    }

    fn next_message(&mut self) -> Vec<u8> {
        self.serial += 1;
        self.samples.message(&mut self.rng, self.serial)
    }

    /// Flags half of INBOX, moves, copies and expunges some of it.
    fn use_mailbox(&mut self, imap: &mut Imap, contents: &mut Contents) -> Result<()> {
        imap.select("INBOX")?;
        let mut kept = Vec::new();
        for (uid, content) in imap.uids()?.into_iter().zip(std::mem::take(&mut contents[0])) {
            if self.rng.one_in(2) {
                imap.flag(uid, self.any_flags())?;
            }
            match self.rng.below(8) {
                0 => {
                    imap.move_to(uid, FOLDERS[0])?;
                    contents[1].push(content);
                }
                1 => imap.expunge(uid)?,
                2 => {
                    imap.copy_to(uid, FOLDERS[0])?;
                    contents[1].push(content);
                    kept.push(content);
                }
                _ => kept.push(content),
            }
        }
        contents[0] = kept;
        Ok(())
    }
}
