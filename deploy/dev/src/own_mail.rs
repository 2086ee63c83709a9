//! One's own mail as a fleet: what a demo can bring back of it, and what it must leave out.
//!
//! It decides which Maildirs below a folder become shards, and says of everything else why not. It only lists folders: nothing below the folder
//! is opened, written or followed out of it. Each shard is a layout below one root, so that mailboxes may stand at any depth and agents can
//! share them: a layout without variables covers exactly one mailbox, one with a variable covers a folder in which nothing else stands.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::cell::{NodeSpec, RootSpec, Sharding};

/// Agents that share the mail, if there is a shard for each.
const AGENTS: usize = 3;
/// Shards of one agent: its settings take 1,024 roots.
const SHARDS_PER_AGENT_MAX: usize = 1_000;
/// Deepest folder in which a mailbox is looked for.
pub const DEPTH_MAX: usize = 4;
/// Folders looked at: one listing each, well under a minute on a cold disk.
const FOLDERS_MAX: usize = 100_000;
/// Letters of a shard's name that come from a path; a number may follow.
const NAME_CHARS_MAX: usize = 40;

/// Path below the root, name by name.
type Below = Vec<OsString>;

/// Why something was left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LeftOut {
    /// Folders that may not be listed.
    Unlistable,
    /// Folders below the deepest that is looked at.
    TooDeep,
    /// Folders that were found and not looked at, there being too many.
    TooMany,
    /// Links to folders; following them could lead out of the mail.
    Links,
    /// Mailboxes whose names no layout can hold, beside folders that are no mailboxes.
    Names,
    /// Mailboxes beyond the shards that agents take.
    Shards,
}

impl LeftOut {
    /// What was left out and why, as a sentence about so many.
    #[must_use]
    pub fn told(self, count: usize) -> String {
        let shards_max = AGENTS * SHARDS_PER_AGENT_MAX;
        let (what, why) = match self {
            Self::Unlistable => (counted(count, "folder", "folders"), "may not be listed".to_owned()),
            Self::TooDeep => (
                counted(count, "folder", "folders"),
                format!("more than {DEPTH_MAX} levels down; name a deeper folder"),
            ),
            Self::TooMany => (
                counted(count, "folder", "folders"),
                format!("{FOLDERS_MAX} others were looked at before; name a deeper folder"),
            ),
            Self::Links => (
                counted(count, "symbolic link to a folder", "symbolic links to folders"),
                "links are not followed".to_owned(),
            ),
            Self::Names => (
                counted(count, "mailbox", "mailboxes"),
                "a name on the path is not UTF-8 or has one of % { }, and beside stands what is no mailbox"
                    .to_owned(),
            ),
            Self::Shards => (
                counted(count, "mailbox", "mailboxes"),
                format!("{AGENTS} agents take {shards_max} shards; name a deeper folder"),
            ),
        };
        format!("{what}: {why}")
    }
}

/// A number with its word.
fn counted(count: usize, one: &str, more: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { more })
}

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
        leave_out(&mut self.left_out, why, count);
    }
}

fn leave_out(left_out: &mut BTreeMap<LeftOut, usize>, why: LeftOut, count: usize) {
    if count > 0 {
        *left_out.entry(why).or_default() += count;
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

/// Mailboxes that one layout may cover: those in a folder, or those of one name in each folder of a folder.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Group {
    folder: Below,
    leaf: Option<OsString>,
}

impl Group {
    /// The layout with a variable.
    fn layout(&self) -> Option<String> {
        let variable = (!self.folder.is_empty()).then(|| literal(&self.folder)).map_or_else(
            || Some("{user}".to_owned()),
            |folder| folder.map(|folder| format!("{folder}/{{user}}")),
        )?;
        match &self.leaf {
            None => Some(variable),
            Some(leaf) => Some(format!("{variable}/{}", literal(std::slice::from_ref(leaf))?)),
        }
    }

    /// Whether that layout would match these mailboxes and nothing else.
    fn is_exactly(&self, root: &Path, members: &[Below]) -> bool {
        let Ok(entries) = fs::read_dir(path_of(root, &self.folder)) else { return false };
        let names = entries.flatten().map(|entry| entry.file_name()).filter(|name| !is_hidden(name));
        let matched: BTreeSet<Below> = names
            .map(|name| {
                self.leaf.iter().cloned().fold(joined(&self.folder, name), |path, leaf| joined(&path, leaf))
            })
            .filter(|path| fs::symlink_metadata(path_of(root, path)).is_ok())
            .collect();
        matched.iter().eq(members)
    }
}

/// A path as a layout without variables, if a layout can hold it.
fn literal(below: &[OsString]) -> Option<String> {
    let names: Option<Vec<&str>> = below.iter().map(|name| name.to_str()).collect();
    let names = names.filter(|names| !names.is_empty())?;
    let plain = |name: &&str| !name.contains(|c: char| c.is_control() || "%{}".contains(c));
    names.iter().all(plain).then(|| names.join("/"))
}

/// Groups of mailboxes, each sorted.
fn groups(mut found: Vec<Below>) -> BTreeMap<Group, Vec<Below>> {
    found.sort();
    let mut in_folder: BTreeMap<Below, usize> = BTreeMap::new();
    for path in &found {
        *in_folder.entry(path[..path.len() - 1].to_vec()).or_default() += 1;
    }
    let mut groups: BTreeMap<Group, Vec<Below>> = BTreeMap::new();
    for path in found {
        let (name, folder) = path.split_last().expect("a mailbox has a name below the root");
        let alone = folder.len() > 1 && in_folder[folder] == 1;
        let group = if alone {
            Group { folder: folder[..folder.len() - 1].to_vec(), leaf: Some(name.clone()) }
        } else {
            Group { folder: folder.to_vec(), leaf: None }
        };
        groups.entry(group).or_default().push(path);
    }
    groups
}

/// Makes a shard of every mailbox, or of every group where there are too many or names need a variable. Gives the shards and
/// the number of mailboxes in them.
fn cover(root: &Path, found: Vec<Below>, left_out: &mut BTreeMap<LeftOut, usize>) -> (Vec<Shard>, usize) {
    let shards_max = AGENTS * SHARDS_PER_AGENT_MAX;
    let many = found.len() > shards_max;
    let mut layouts: Vec<(String, usize)> = Vec::new();
    for (group, members) in groups(found) {
        let alone: Vec<String> = members.iter().filter_map(|path| literal(path)).collect();
        let together = (many || alone.len() < members.len()) && group.is_exactly(root, &members);
        match group.layout().filter(|_| together) {
            Some(layout) => layouts.push((layout, members.len())),
            None => {
                leave_out(left_out, LeftOut::Names, members.len() - alone.len());
                layouts.extend(alone.into_iter().map(|layout| (layout, 1)));
            }
        }
    }
    let beyond = layouts.split_off(shards_max.min(layouts.len()));
    leave_out(left_out, LeftOut::Shards, beyond.iter().map(|(_, mailboxes)| mailboxes).sum());
    let mailboxes = layouts.iter().map(|(_, mailboxes)| mailboxes).sum();
    let mut taken = BTreeSet::new();
    let named = |(layout, _): (String, usize)| Shard { name: name(&layout, &mut taken), layout };
    (layouts.into_iter().map(named).collect(), mailboxes)
}

/// A name for a shard that no other one has.
fn name(layout: &str, taken: &mut BTreeSet<String>) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "._@".contains(c) { c } else { '-' };
    let text: String = layout.replace("{user}", "all").chars().map(plain).collect();
    let text = text.trim_start_matches(|c: char| !c.is_ascii_alphanumeric());
    let stem: String = if text.is_empty() { "mail" } else { text }.chars().take(NAME_CHARS_MAX).collect();
    let numbered = (1..).map(|no| if no == 1 { stem.clone() } else { format!("{stem}-{no}") });
    let free = numbered.into_iter().find(|name| !taken.contains(name)).expect("numbers do not end");
    taken.insert(free.clone());
    free
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
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStringExt as _;
    use std::os::unix::fs::symlink;

    fn maildir(root: &Path, path: impl AsRef<Path>) {
        for part in ["cur", "new", "tmp"] {
            fs::create_dir_all(root.join(path.as_ref()).join(part)).unwrap();
        }
    }

    fn layouts(mail: &OwnMail) -> Vec<&str> {
        mail.shards.iter().map(|shard| shard.layout.as_str()).collect()
    }

    fn alien() -> OsString {
        OsString::from_vec(b"ann\xe9".to_vec())
    }

    #[test]
    fn mailboxes_of_any_depth_are_covered_one_by_one() {
        let root = tempfile::tempdir().unwrap();
        for path in ["anna", "ex.org/bert/Maildir", ".hidden/carl", "anna/old", "anna/.Sent", "a/b/c/d"] {
            maildir(root.path(), path);
        }
        fs::create_dir_all(root.path().join("ex.org/no mail/here")).unwrap();
        let mail = look(root.path()).unwrap();
        assert_eq!(layouts(&mail), ["anna", ".hidden/carl", "a/b/c/d", "anna/old", "ex.org/bert/Maildir"]);
        assert_eq!((mail.mailboxes, mail.left_out.len()), (5, 0));
        let nodes = mail.nodes();
        assert_eq!(nodes.iter().map(|node| node.roots.len()).collect::<Vec<_>>(), [2, 2, 1]);
        let again = OwnMail::recall(root.path(), &mail.to_text()).unwrap();
        assert_eq!((again.root, again.shards), (mail.root, mail.shards));
    }

    #[test]
    fn a_maildir_itself_is_one_mailbox() {
        let root = tempfile::tempdir().unwrap();
        maildir(root.path(), ".maildir");
        let mail = look(&root.path().join(".maildir")).unwrap();
        assert_eq!((mail.root.clone(), mail.mailboxes), (root.path().canonicalize().unwrap(), 1));
        assert_eq!(mail.shards, [Shard { name: "maildir".to_owned(), layout: ".maildir".to_owned() }]);
        assert_eq!(mail.nodes().len(), 1);
    }

    #[test]
    fn what_is_left_out_is_counted_by_reason() {
        let root = tempfile::tempdir().unwrap();
        maildir(root.path(), "anna");
        maildir(root.path(), "mixed/b%rt");
        maildir(root.path(), "a/b/c/d/e/deep");
        fs::create_dir(root.path().join("mixed/other")).unwrap();
        symlink("anna", root.path().join("alias")).unwrap();
        let mail = look(root.path()).unwrap();
        assert_eq!(layouts(&mail), ["anna"]);
        let left_out = [(LeftOut::TooDeep, 1), (LeftOut::Links, 1), (LeftOut::Names, 1)];
        assert_eq!(mail.left_out, BTreeMap::from(left_out));
        assert_eq!(mail.to_string().lines().count(), 4, "{mail}");
    }

    /// A variable matches any name, so a folder of nothing but mailboxes is covered whole.
    #[test]
    fn names_that_no_layout_holds_are_covered_by_a_variable() {
        let root = tempfile::tempdir().unwrap();
        maildir(root.path(), Path::new("flat").join(alien()));
        maildir(root.path(), "flat/bert");
        maildir(root.path(), Path::new("nested").join(alien()).join("Maildir"));
        maildir(root.path(), "nested/bert/Maildir");
        fs::create_dir_all(root.path().join("nested/other/notes")).unwrap();
        let mail = look(root.path()).unwrap();
        assert_eq!(layouts(&mail), ["flat/{user}", "nested/{user}/Maildir"]);
        assert_eq!((mail.mailboxes, mail.left_out.len()), (4, 0));
        assert_eq!(mail.shards[0].name, "flat-all");
    }

    #[test]
    fn more_mailboxes_than_shards_are_covered_by_folder() {
        let found: Vec<Below> = (0..=AGENTS * SHARDS_PER_AGENT_MAX)
            .map(|no| ["ex.org".to_owned(), format!("u{no}")].map(OsString::from).to_vec())
            .collect();
        let root = tempfile::tempdir().unwrap();
        for path in &found {
            fs::create_dir_all(path_of(root.path(), path)).unwrap();
        }
        let mut left_out = BTreeMap::new();
        let (shards, mailboxes) = cover(root.path(), found.clone(), &mut left_out);
        assert_eq!((shards.len(), mailboxes, left_out.len()), (1, found.len(), 0));
        assert_eq!(shards[0].layout, "ex.org/{user}");
        fs::create_dir(root.path().join("ex.org/other")).unwrap();
        let (shards, _) = cover(root.path(), found, &mut left_out);
        assert_eq!(shards.len(), AGENTS * SHARDS_PER_AGENT_MAX);
        assert_eq!(left_out, BTreeMap::from([(LeftOut::Shards, 1)]));
    }

    #[test]
    fn names_of_shards_differ() {
        let mut taken = BTreeSet::new();
        let names: Vec<String> =
            ["a/b", "a-b", "è", &"x".repeat(90)].iter().map(|l| name(l, &mut taken)).collect();
        assert_eq!(names[..3], ["a-b", "a-b-2", "mail"]);
        assert!(names.iter().all(|name| rientro_types::ShardId::new(name).is_ok()));
    }
}
