//! Faults of a whole folder, always in INBOX of a mailbox that has no other fault, and those of a whole volume.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rientro_types::FindingKind::{
    DirectoryMissing, IndexMalformed, MessageMissing, StrayFile, UidlistMalformed, UidlistMissing,
    UidlistStale,
};
use rientro_types::{FindingKind, FindingKinds};

use super::FolderFault::{
    self, CurLost, EmptiedWithUidlist, IndexLogZeroed, IndexLost, IndexOld, Stray, UidlistLost,
    UidlistTruncated, UidlistZeroed,
};
use super::{Damage, Fault, kinds, stem};
use crate::store::{INDEX, Mailbox, UIDLIST, names, remove_index};

/// Lines taken from the end of a uidlist to make it one step old.
const STEP_LINES: usize = 3;
/// A file people and restore tools leave behind.
const STRAY: &str = "cur/restore-notes.txt";
const INDEX_LOG: &str = "dovecot.index.log";

/// Makes the fault in the first mailbox where it fits, and takes that mailbox out of the list.
pub(super) fn apply_somewhere(fault: FolderFault, mailboxes: &mut Vec<Mailbox>) -> Result<Vec<Damage>> {
    for at in 0..mailboxes.len() {
        let made = apply(fault, &mailboxes[at]);
        let made =
            made.with_context(|| format!("make fault {fault:?} in {}", mailboxes[at].folder().display()))?;
        if !made.is_empty() {
            mailboxes.remove(at);
            return Ok(made);
        }
    }
    Ok(Vec::new())
}

fn apply(fault: FolderFault, mailbox: &Mailbox) -> Result<Vec<Damage>> {
    let folder = mailbox.folder();
    let (uidlist, log) = (folder.join(UIDLIST), folder.join(INDEX_LOG));
    // Without a uidlist, an index and enough messages none of these faults shows what it would show in a mailbox in use.
    if !uidlist.exists() || !log.exists() || names(&folder.join("cur"))?.len() <= STEP_LINES {
        return Ok(Vec::new());
    }
    let mut damages = Vec::new();
    let expected: &[FindingKind] = match fault {
        CurLost => {
            damages = lose_cur(mailbox)?;
            &[DirectoryMissing]
        }
        UidlistLost => {
            fs::remove_file(&uidlist)?;
            &[UidlistMissing]
        }
        UidlistZeroed => {
            zero(&uidlist)?;
            &[UidlistMalformed]
        }
        FolderFault::UidlistStale => {
            fs::write(&uidlist, older(&fs::read_to_string(&uidlist)?))?;
            &[UidlistStale]
        }
        UidlistTruncated => {
            let text = fs::read_to_string(&uidlist)?;
            let Some(at) = middle(&text, &present(mailbox)?) else { return Ok(Vec::new()) };
            fs::write(&uidlist, &text[..at])?;
            &[UidlistStale]
        }
        EmptiedWithUidlist => {
            for message in mailbox.messages(Path::new(""))? {
                fs::remove_file(folder.join(message))?;
            }
            fs::remove_file(&uidlist)?;
            &[UidlistMissing]
        }
        IndexLost => {
            remove_index(&folder)?;
            &[]
        }
        IndexOld => {
            if !mailbox.earlier().exists() {
                return Ok(Vec::new());
            }
            put_old_index_back(mailbox)?
        }
        IndexLogZeroed => {
            zero(&log)?;
            &[IndexMalformed]
        }
        Stray => {
            fs::write(folder.join(STRAY), b"left by a restore\n")?;
            return Ok(vec![damage(fault, mailbox, PathBuf::from(STRAY), &[StrayFile])]);
        }
    };
    damages.push(damage(fault, mailbox, PathBuf::new(), expected));
    Ok(damages)
}

fn damage(fault: FolderFault, mailbox: &Mailbox, path: PathBuf, expected: &[FindingKind]) -> Damage {
    Damage {
        fault: Fault::Folder(fault),
        mailbox: mailbox.clone(),
        path,
        expected: kinds(expected),
        allowed: FindingKinds::NONE,
    }
}

/// Removes `cur`. Each message in it that the uidlist knows is a loss of its own.
fn lose_cur(mailbox: &Mailbox) -> Result<Vec<Damage>> {
    let folder = mailbox.folder();
    let uidlist = fs::read_to_string(folder.join(UIDLIST))?;
    let lost = names(&folder.join("cur"))?.into_iter().map(|name| Path::new("cur").join(name));
    let listed = lost.filter(|path| stem(path).is_some_and(|stem| uidlist.contains(&format!(" :{stem}\n"))));
    let damages = listed.map(|path| damage(CurLost, mailbox, path, &[MessageMissing])).collect();
    fs::remove_dir_all(folder.join("cur"))?;
    Ok(damages)
}

/// Names of the messages that are there, up to their flags.
fn present(mailbox: &Mailbox) -> Result<BTreeSet<String>> {
    let messages = mailbox.messages(Path::new(""))?;
    Ok(messages.iter().filter_map(|path| stem(path)).map(str::to_owned).collect())
}

/// The name at the end of a line of a uidlist.
fn listed(line: &str) -> Option<&str> {
    line.split_once(" :").map(|(_, name)| name)
}

/// The middle of the line of a message in the middle of those that are there: some of them have no line if it ends here.
fn middle(uidlist: &str, present: &BTreeSet<String>) -> Option<usize> {
    let mut at = 0;
    let mut middles = Vec::new();
    for line in uidlist.split_inclusive('\n') {
        if listed(line.trim_end()).is_some_and(|name| present.contains(name)) {
            middles.push(at + line.len() / 2);
        }
        at += line.len();
    }
    middles.get(middles.len() / 2).copied()
}

/// Puts the index of an earlier time in the place of the present one. What was removed since is in that index, and in the
/// uidlist or not, as lines of what was removed linger.
fn put_old_index_back(mailbox: &Mailbox) -> Result<&'static [FindingKind]> {
    let (folder, earlier) = (mailbox.folder(), mailbox.earlier());
    let (uidlist, present) = (fs::read_to_string(earlier.join(UIDLIST))?, present(mailbox)?);
    remove_index(&folder)?;
    for name in names(&earlier)?.iter().filter(|name| name.starts_with(INDEX)) {
        fs::copy(earlier.join(name), folder.join(name))?;
    }
    let removed = uidlist.lines().filter_map(listed).any(|name| !present.contains(name));
    Ok(if removed { &[MessageMissing, UidlistStale] } else { &[] })
}

fn zero(path: &Path) -> Result<()> {
    let bytes = fs::read(path)?.len();
    Ok(fs::write(path, vec![0; bytes])?)
}

/// The uidlist as it was before its last lines: those lines gone, and the next UID in its header no higher than the first of them.
fn older(uidlist: &str) -> String {
    let mut lines: Vec<&str> = uidlist.lines().collect();
    let dropped = lines.split_off(lines.len().saturating_sub(STEP_LINES).max(1));
    let first: u64 = dropped.iter().find_map(|line| line.split(' ').next()?.parse().ok()).unwrap_or(u64::MAX);
    let header: Vec<String> = lines[0].split(' ').map(|field| with_next_uid_below(field, first)).collect();
    let rest = lines[1..].iter().map(|line| (*line).to_owned());
    [header.join(" ")].into_iter().chain(rest).map(|line| line + "\n").collect()
}

fn with_next_uid_below(field: &str, first: u64) -> String {
    match field.strip_prefix('N').and_then(|next| next.parse::<u64>().ok()) {
        Some(next) => format!("N{}", next.min(first)),
        None => field.to_owned(),
    }
}

/// Empties a folder, as one on which a volume should be mounted and is not.
///
/// # Errors
/// When the folder cannot be emptied.
pub fn empty_volume(folder: &Path) -> Result<()> {
    fs::remove_dir_all(folder).with_context(|| format!("empty {}", folder.display()))?;
    fs::create_dir(folder).with_context(|| format!("make {} again", folder.display()))
}

/// Exchanges two folders, as when volumes are mounted in each other's place.
///
/// # Errors
/// When the folders cannot be renamed.
pub fn swap_volumes(one: &Path, other: &Path) -> Result<()> {
    let aside = one.with_extension("aside");
    for (from, to) in [(one, aside.as_path()), (other, one), (aside.as_path(), other)] {
        fs::rename(from, to).with_context(|| format!("rename {} to {}", from.display(), to.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_uidlist_forgets_its_last_lines() {
        let list = "3 V5 N9 Gab\n1 :a\n5 :b\n6 :c\n8 :d\n";
        assert_eq!(older(list), "3 V5 N5 Gab\n1 :a\n");
    }

    #[test]
    fn a_truncated_uidlist_ends_inside_the_line_of_a_message_that_is_there() {
        let list = "3 V5 N9 Gab\n1 :a\n5 :b\n6 :c\n8 :d\n";
        let present = ["b", "d"].map(str::to_owned).into_iter().collect();
        assert_eq!(middle(list, &present).map(|at| &list[..at]), Some("3 V5 N9 Gab\n1 :a\n5 :b\n6 :c\n8 "));
        assert_eq!(middle(list, &BTreeSet::new()), None);
    }
}
