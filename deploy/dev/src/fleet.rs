//! A fleet of plain Maildir shards, made in seconds without a mail server: what the demo brings back.
//!
//! Names, sizes in names, flags, folders and uidlists are as Dovecot writes them; there are no indexes, as after a restore of files alone. Lines
//! of bodies all have one length, so that sizes with either line end follow from the number of lines.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use anyhow::{Context, Result, anyhow};

use crate::damage::{self, Broken, MessageFault};
use crate::rng::Rng;
use crate::samples::{base64_lines, put};
use crate::store;

/// Length of a body's line with its end: that of base64 as mail programs break it.
const LINE_BYTES: usize = 77;
/// Lines of text or base64 that bodies are cut from.
const POOL_LINES: usize = 16 * 1024;
/// Delivery time of the first message: 2020-09-13, far enough back that no name lies in the future.
const FIRST_DELIVERY: u64 = 1_600_000_000;
/// Folders of a mailbox as they are on disk, and the share of mail in each, in tenths.
const FOLDERS: [(&str, usize); 3] = [("", 7), (".Archive", 2), (".Sent", 1)];
/// Faults that show without an index and leave the rest of a mailbox alone.
const FAULTS: [MessageFault; 6] = [
    MessageFault::BlockZeroed,
    MessageFault::FirstBlockZeroed,
    MessageFault::Truncated,
    MessageFault::Emptied,
    MessageFault::Swapped,
    MessageFault::Duplicated,
];

/// How large a fleet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Nodes; each has a root folder `node<n>`.
    pub nodes: usize,
    /// Shards, spread evenly over the nodes.
    pub shards: usize,
    /// Mailboxes of each shard.
    pub mailboxes_per_shard: usize,
    /// Messages of the whole fleet, about.
    pub messages: usize,
    /// Shards in which something is broken.
    pub damaged_shards: usize,
    /// Decides everything.
    pub seed: u64,
}

impl Default for Shape {
    /// 24 shards on 3 nodes with some 20,000 messages, 280 MB; something is broken in 3 shards.
    fn default() -> Self {
        Self { nodes: 3, shards: 24, mailboxes_per_shard: 12, messages: 20_000, damaged_shards: 3, seed: 1 }
    }
}

impl Shape {
    /// Root folder of each node.
    #[must_use]
    pub fn roots(&self, folder: &Path) -> Vec<PathBuf> {
        (1..=self.nodes).map(|node| folder.join(format!("node{node}"))).collect()
    }
}

/// Makes the fleet and breaks what is to be broken.
///
/// # Errors
/// When a file cannot be written.
pub fn make(folder: &Path, shape: &Shape) -> Result<Broken> {
    let pool = Pool::new(shape.seed);
    let roots = shape.roots(folder);
    let written: Vec<Result<()>> = thread::scope(|scope| {
        let pool = &pool;
        let nodes: Vec<_> = roots
            .iter()
            .enumerate()
            .map(|(node, root)| scope.spawn(move || fill_node(root, node, shape, pool)))
            .collect();
        nodes
            .into_iter()
            .map(|node| node.join().unwrap_or_else(|_| Err(anyhow!("a writer panicked"))))
            .collect()
    });
    written.into_iter().collect::<Result<()>>()?;
    break_some(&roots, shape)
}

/// Breaks messages in so many shards, chosen by the seed: one message for each fault and shard, about.
fn break_some(roots: &[PathBuf], shape: &Shape) -> Result<Broken> {
    let mut rng = Rng::new(shape.seed ^ 0xdead);
    let mut shards: Vec<usize> = (0..shape.shards).collect();
    damage::shuffle(&mut rng, &mut shards);
    shards.truncate(shape.damaged_shards);
    let chosen: Vec<String> = shards.into_iter().map(shard_name).collect();
    let mut mailboxes = store::mailboxes(roots)?;
    mailboxes.retain(|mailbox| chosen.contains(&mailbox.shard));
    damage::break_stores(&mailboxes, &[], &FAULTS, shape.damaged_shards, shape.seed)
}

fn shard_name(number: usize) -> String {
    format!("shard{:03}", number + 1)
}

fn fill_node(root: &Path, node: usize, shape: &Shape, pool: &Pool) -> Result<()> {
    for number in (node..shape.shards).step_by(shape.nodes) {
        // A stream of its own for each shard: a fleet with more shards begins with the same ones.
        let mut rng = Rng::new(shape.seed.wrapping_add(number as u64 * 0x0001_0001));
        let shard = root.join(shard_name(number));
        for user in 0..shape.mailboxes_per_shard {
            let domain = if user % 3 == 0 { "example.test" } else { "mail.example.test" };
            let mailbox = shard.join(domain).join(format!("u{number:03}x{user:03}"));
            // Between none and twice the average.
            let average = shape.messages / (shape.shards * shape.mailboxes_per_shard).max(1);
            let messages = rng.within(0, 2 * average);
            fill_mailbox(&mailbox, messages, &mut rng, pool)
                .with_context(|| format!("fill {}", mailbox.display()))?;
        }
    }
    Ok(())
}

fn fill_mailbox(mailbox: &Path, messages: usize, rng: &mut Rng, pool: &Pool) -> Result<()> {
    for (name, tenths) in FOLDERS {
        let folder = mailbox.join(name);
        for part in ["cur", "new", "tmp"] {
            fs::create_dir_all(folder.join(part))?;
        }
        let mut uids = String::new();
        let in_folder = messages * tenths / 10;
        for uid in 1..=in_folder {
            let stem = write_message(&folder, rng, pool)?;
            uids.push_str(&format!("{uid} :{stem}\n"));
        }
        let guid = format!("{:016x}{:016x}", rng.bits(), rng.bits());
        let header = format!("3 V{} N{} G{guid}\n", FIRST_DELIVERY, in_folder + 1);
        fs::write(folder.join("dovecot-uidlist"), header + &uids)?;
    }
    Ok(())
}

/// Writes one message and returns its name up to the flags.
fn write_message(folder: &Path, rng: &mut Rng, pool: &Pool) -> Result<String> {
    let bytes = if rng.one_in(4) { rng.size(8_000, 120_000) } else { rng.size(600, 16_000) };
    let message = pool.message(rng, bytes.div_ceil(LINE_BYTES));
    let line_ends = message.line_ends;
    let seconds = FIRST_DELIVERY + rng.below(50_000_000) as u64;
    let (plain, with_crlf) = (message.text.len(), message.text.len() + line_ends);
    let stem = format!(
        "{seconds}.M{}P{}.dev,S={plain},W={with_crlf}",
        rng.below(1_000_000),
        rng.within(300, 32_000)
    );
    let path = if rng.one_in(6) {
        folder.join("new").join(&stem)
    } else {
        folder.join("cur").join(format!("{stem}:2,{}", *rng.pick(&["S", "S", "S", "RS", "FS", ""])))
    };
    fs::write(&path, &message.text).with_context(|| format!("write {}", path.display()))?;
    Ok(stem)
}

/// Text and base64 that bodies are cut from.
struct Pool {
    text: Vec<u8>,
    base64: Vec<u8>,
}

struct Message {
    text: Vec<u8>,
    line_ends: usize,
}

impl Pool {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed ^ 0x9001);
        let bytes: Vec<u8> = (0..POOL_LINES * 57 / 8 + 1).flat_map(|_| rng.bits().to_le_bytes()).collect();
        let mut base64 = Vec::with_capacity(POOL_LINES * LINE_BYTES);
        base64_lines(&mut base64, &bytes[..POOL_LINES * 57]);
        let text = (0..POOL_LINES).flat_map(|_| text_line(&mut rng)).collect();
        Self { text, base64 }
    }

    fn message(&self, rng: &mut Rng, lines: usize) -> Message {
        let number = rng.bits();
        let mut text = Vec::with_capacity(lines * LINE_BYTES + 512);
        put(&mut text, format_args!("From: sender{} <s{number:x}@example.test>\n", number % 977));
        put(&mut text, format_args!("To: someone@example.test\nSubject: Message {number:x}\n"));
        put(&mut text, format_args!("Message-ID: <{number:x}@dev.example.test>\nMIME-Version: 1.0\n"));
        let (kind, source) = if lines > 100 {
            ("application/octet-stream\nContent-Transfer-Encoding: base64", &self.base64)
        } else {
            ("text/plain; charset=utf-8", &self.text)
        };
        put(&mut text, format_args!("Content-Type: {kind}\n\n"));
        let line_ends = text.iter().filter(|byte| **byte == b'\n').count() + lines;
        let first = rng.below(POOL_LINES - lines.min(POOL_LINES - 1)) * LINE_BYTES;
        text.extend_from_slice(&source[first..first + lines * LINE_BYTES]);
        Message { text, line_ends }
    }
}

/// One line of words, as long as every other.
fn text_line(rng: &mut Rng) -> Vec<u8> {
    const WORDS: [&str; 12] = [
        "the", "report", "is", "attached", "please", "reply", "before", "friday", "grazie", "mille",
        "invoice", "order",
    ];
    let mut line = Vec::with_capacity(LINE_BYTES + 16);
    while line.len() < LINE_BYTES {
        line.extend_from_slice(rng.pick(&WORDS).as_bytes());
        line.push(b' ');
    }
    line.truncate(LINE_BYTES - 1);
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::read_plain;

    #[test]
    fn sizes_in_names_are_true_and_damage_is_where_it_says() {
        let folder = tempfile::tempdir().unwrap();
        let shape =
            Shape { shards: 6, mailboxes_per_shard: 4, messages: 600, damaged_shards: 2, ..Shape::default() };
        let broken = make(folder.path(), &shape).unwrap();
        assert_eq!(broken.short, []);
        let (mut messages, mut wrong) = (0, 0);
        for mailbox in store::mailboxes(&shape.roots(folder.path())).unwrap() {
            for path in mailbox.folders().unwrap().iter().flat_map(|name| mailbox.messages(name).unwrap()) {
                messages += 1;
                let plain = read_plain(&mailbox.folder().join(&path)).unwrap();
                let line_ends = plain.iter().filter(|byte| **byte == b'\n').count();
                let sizes = format!(",S={},W={}", plain.len(), plain.len() + line_ends);
                let true_name = path.to_str().unwrap().split(':').next().unwrap().ends_with(&sizes);
                let damaged =
                    broken.damages.iter().any(|damage| damage.mailbox == mailbox && damage.path == path);
                assert!(true_name || damaged, "{}", path.display());
                wrong += usize::from(!true_name);
            }
        }
        assert!(messages > 300, "{messages} messages");
        // Two shards times truncated, emptied and swapped (two files); zeroed blocks lose line ends too.
        assert!(wrong >= 8, "{wrong} messages differ from their names");
    }
}
