//! One's own mail as a fleet: what a demo can bring back of it, and what it must leave out.
//!
//! It decides which Maildirs below a folder become shards, and says of everything else why not. It only lists folders: nothing below the folder
//! is opened, written or followed out of it. Each shard is a layout below one root, so that mailboxes may stand at any depth and agents can
//! share them: a layout without variables covers exactly one mailbox, one with a variable covers a folder in which nothing else stands.

mod cover;
mod left_out;

use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::cell::{NodeSpec, RootSpec, Sharding};
use cover::cover;
pub use left_out::LeftOut;
use left_out::counted;

/// Agents that share the mail, if there is a shard for each.
const AGENTS: usize = 3;
/// Shards of one agent: its settings take 1,024 roots.
const SHARDS_PER_AGENT_MAX: usize = 1_000;
/// Deepest folder in which a mailbox is looked for.
pub const DEPTH_MAX: usize = 4;
/// Folders looked at: one listing each, well under a minute on a cold disk.
const FOLDERS_MAX: usize = 100_000;
/// Path below the root, name by name.
type Below = Vec<OsString>;

/// One shard of one's own mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shard {
    /// Its name, made from the path.
    pub name: String,
    /// Path from the root to its mailboxes.
    pub layout: String,
}

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct OwnMail {
    /// Folder that layouts begin at.
    pub root: PathBuf,
    /// The shards.
    pub shards: Vec<Shard>,
    /// Mailboxes in them.
    pub mailboxes: usize,
    /// What is not in them.
    pub left_out: BTreeMap<LeftOut, usize>,
}

/// Looks for Maildirs in a folder and below; the folder may be one itself.
///
/// # Errors
/// When the folder is not there, or its path cannot stand in a settings file.
pub fn look(folder: &Path) -> Result<OwnMail> {
    let folder = folder.canonicalize().with_context(|| format!("find {}", folder.display()))?;
    let (root, first) = start(folder)?;
    ensure!(root.to_str().is_some(), "the path {} is not UTF-8; settings cannot hold it", root.display());
    let mut search = Search { root: &root, found: Vec::new(), left_out: BTreeMap::new() };
    search.run(first);
    let Search { found, mut left_out, .. } = search;
    let (shards, mailboxes) = cover(&root, found, &mut left_out);
    Ok(OwnMail { root, shards, mailboxes, left_out })
}

/// Where layouts begin and where the search does. A Maildir is named from the folder above it, as a layout names mailboxes.
fn start(folder: PathBuf) -> Result<(PathBuf, Below)> {
    if !is_maildir(&folder) {
        return Ok((folder, Below::new()));
    }
    let (above, name) =
        folder.parent().zip(folder.file_name()).context("a whole file system is no Maildir")?;
    Ok((above.to_owned(), vec![name.to_owned()]))
}

fn is_maildir(folder: &Path) -> bool {
    ["cur", "new", "tmp"].iter().all(|part| folder.join(part).is_dir())
}

struct Search<'r> {
    root: &'r Path,
    found: Vec<Below>,
    left_out: BTreeMap<LeftOut, usize>,
}

impl Search<'_> {
    /// Nearest folders first, so that a bound cuts off the deepest.
    fn run(&mut self, first: Below) {
        let depth_max = first.len() + DEPTH_MAX;
        let mut queue = VecDeque::from([first]);
        for _ in 0..FOLDERS_MAX {
            let Some(below) = queue.pop_front() else { return };
            let folders = self.folders_in(&below);
            if below.len() < depth_max {
                queue.extend(folders);
            } else {
                self.leave_out(LeftOut::TooDeep, folders.len());
            }
        }
        self.leave_out(LeftOut::TooMany, queue.len());
    }

    /// Notes the folder if it is a mailbox; gives the folders in it that may hold others.
    fn folders_in(&mut self, below: &Below) -> Vec<Below> {
        let folder = path_of(self.root, below);
        let Ok(entries) = fs::read_dir(&folder) else {
            self.leave_out(LeftOut::Unlistable, 1);
            return Vec::new();
        };
        let maildir = !below.is_empty() && is_maildir(&folder);
        if maildir {
            self.found.push(below.clone());
        }
        let mut folders = Vec::new();
        for entry in entries.flatten().filter(|entry| !(maildir && belongs_to_maildir(&entry.file_name()))) {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => folders.push(joined(below, entry.file_name())),
                Ok(kind) if kind.is_symlink() && entry.path().is_dir() => self.leave_out(LeftOut::Links, 1),
                Ok(_) => {}
                Err(_) => self.leave_out(LeftOut::Unlistable, 1),
            }
        }
        folders.sort();
        folders
    }

    fn leave_out(&mut self, why: LeftOut, count: usize) {
        left_out::leave_out(&mut self.left_out, why, count);
    }
}

/// Message directories, and the folders of a mailbox, which are verified with it.
fn belongs_to_maildir(name: &OsString) -> bool {
    name == "cur" || name == "new" || name == "tmp" || is_hidden(name)
}

/// No variable of a layout matches such a name.
fn is_hidden(name: &OsString) -> bool {
    name.as_encoded_bytes().starts_with(b".") || name == "lost+found"
}

fn joined(below: &Below, name: OsString) -> Below {
    below.iter().cloned().chain([name]).collect()
}

fn path_of(root: &Path, below: &[OsString]) -> PathBuf {
    below.iter().fold(root.to_owned(), |path, name| path.join(name))
}

impl OwnMail {
    /// Agents for the shards: three that share them, or one where there are fewer shards.
    #[must_use]
    pub fn nodes(&self) -> Vec<NodeSpec> {
        let agents = if self.shards.len() < AGENTS { 1 } else { AGENTS };
        let root = |shard: &Shard| RootSpec {
            path: self.root.clone(),
            layout: shard.layout.clone(),
            sharding: Sharding::Volume(shard.name.clone()),
        };
        let node = |agent| NodeSpec {
            name: format!("store-{}", agent + 1),
            roots: self.shards.iter().skip(agent).step_by(agents).map(root).collect(),
            volume: "fs",
            labels: Vec::new(),
        };
        (0..agents).map(node).collect()
    }

    /// The shards as text that [`OwnMail::recall`] reads: a later run is about the same ones, whatever came in between.
    #[must_use]
    pub fn to_text(&self) -> String {
        let Self { root: _, shards, mailboxes, left_out: _ } = self;
        let lines: String =
            shards.iter().map(|Shard { name, layout }| format!("{name}\t{layout}\n")).collect();
        format!("{mailboxes}\n{lines}")
    }

    /// What an earlier run found below the same folder.
    ///
    /// # Errors
    /// When the text is none of [`OwnMail::to_text`], or the folder is gone.
    pub fn recall(folder: &Path, text: &str) -> Result<Self> {
        let folder = folder.canonicalize().with_context(|| format!("find {}", folder.display()))?;
        let (root, _) = start(folder)?;
        let (count, lines) = text.split_once('\n').context("the list of shards is empty")?;
        let shard = |line: &str| {
            let (name, layout) = line.split_once('\t').context("a line of the list of shards is none")?;
            Ok(Shard { name: name.to_owned(), layout: layout.to_owned() })
        };
        let shards = lines.lines().map(shard).collect::<Result<_>>()?;
        let mailboxes = count.parse().context("the list of shards has no count of mailboxes")?;
        Ok(Self { root, shards, mailboxes, left_out: BTreeMap::new() })
    }
}

impl fmt::Display for OwnMail {
    /// What is brought back and what is not, a line each.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mailboxes = counted(self.mailboxes, "mailbox", "mailboxes");
        let shards = counted(self.shards.len(), "shard", "shards");
        let agents = counted(self.nodes().len(), "agent", "agents");
        write!(f, "{mailboxes} in {}: {shards} on {agents}", self.root.display())?;
        self.left_out.iter().try_for_each(|(why, count)| write!(f, "\nleft out: {}", why.told(*count)))
    }
}

#[cfg(test)]
mod tests;
