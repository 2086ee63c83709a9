//! What is left out of one's own mail, and why, in words.

use std::collections::BTreeMap;

use super::{AGENTS, DEPTH_MAX, FOLDERS_MAX, SHARDS_PER_AGENT_MAX};

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
                "a name on the path is not UTF-8, or has a control character or one of % { }, and beside stands what is no mailbox"
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
pub(super) fn counted(count: usize, one: &str, more: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { more })
}

/// Counts something that is left out.
pub(super) fn leave_out(left_out: &mut BTreeMap<LeftOut, usize>, why: LeftOut, count: usize) {
    if count > 0 {
        *left_out.entry(why).or_default() += count;
    }
}
