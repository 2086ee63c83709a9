//! Faults of a whole folder, always in INBOX of a mailbox that has no other fault, and those of a whole volume.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rientro_types::FindingKind::{
    DirectoryMissing, IndexMalformed, MessageMissing, StrayFile, UidlistMalformed, UidlistMissing,
    UidlistStale,
};
use rientro_types::{FindingKind, FindingKinds};

use super::FolderFault::{self, CurLost, IndexLogZeroed, IndexLost, Stray, UidlistLost, UidlistZeroed};
use super::{Damage, Fault, kinds, stem};
use crate::store::{Mailbox, names};

/// Lines taken from the end of a uidlist to make it one step old.
const STEP_LINES: usize = 3;
const UIDLIST: &str = "dovecot-uidlist";
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
        IndexLost => {
            for name in names(&folder)?.iter().filter(|name| name.starts_with("dovecot.index")) {
                fs::remove_file(folder.join(name))?;
            }
            &[]
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
}
