//! Layouts that cover what was found, and nothing else.
//!
//! A layout without variables names one mailbox exactly, so each mailbox becomes a shard. Where there are too many for that, or a name cannot
//! stand in a layout, a variable covers a folder: only if it matches no more than the mailboxes that were found there.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::path::Path;

use super::left_out::{LeftOut, leave_out};
use super::{AGENTS, Below, SHARDS_PER_AGENT_MAX, Shard, is_hidden, joined, path_of};

/// Letters of a shard's name that come from a path; a number may follow.
const NAME_CHARS_MAX: usize = 40;

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
pub(super) fn cover(
    root: &Path,
    found: Vec<Below>,
    left_out: &mut BTreeMap<LeftOut, usize>,
) -> (Vec<Shard>, usize) {
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
pub(super) fn name(layout: &str, taken: &mut BTreeSet<String>) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "._@".contains(c) { c } else { '-' };
    let text: String = layout.replace("{user}", "all").chars().map(plain).collect();
    let text = text.trim_start_matches(|c: char| !c.is_ascii_alphanumeric());
    let stem: String = if text.is_empty() { "mail" } else { text }.chars().take(NAME_CHARS_MAX).collect();
    let numbered = (1..).map(|no| if no == 1 { stem.clone() } else { format!("{stem}-{no}") });
    let free = numbered.into_iter().find(|name| !taken.contains(name)).expect("numbers do not end");
    taken.insert(free.clone());
    free
}
