//! Finds out where mailboxes stand below a path, when that can be said without guessing.
//!
//! A directory with at least two of `cur`, `new` and `tmp` is taken for a Maildir, one with `mailboxes` in it that holds no
//! mailboxes, or with an mdbox's `storage`, for a dbox. The path is a mailbox, or all mailboxes found below it stand equally deep: then each level is a
//! variable, but for a last one of the same usual name everywhere, such as `Maildir`. Anything else is for the operator to say: a wrong layout would pass over mailboxes in silence. A directory that cannot be listed is said
//! and passed over here; the verification counts it.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use rientro_mailstore::Layout;

/// Levels that are looked at below the path.
const DEPTH_MAX: usize = 5;
/// Directories that are looked at; a tree with more says where its mailboxes are long before.
const DIRECTORIES_MAX: usize = 20_000;
/// Directories that cannot be listed are named up to so many.
const UNREADABLE_SAID_MAX: usize = 5;
/// Id of the one shard that the path is taken for.
pub(super) const SHARD: &str = "offline";
/// Names that mailboxes have inside their users' homes.
const USUAL_NAMES: [&str; 4] = ["Maildir", "mdbox", "sdbox", "mail"];
/// Directory of a dbox's folders.
const FOLDERS: &str = "mailboxes";
/// Variables of the levels above a mailbox, the nearest last.
const VARIABLES: [&str; DEPTH_MAX] = ["{group}", "{part}", "{shard}", "{domain}", "{user}"];

/// A path, and where mailboxes stand below it.
#[derive(Debug)]
pub(super) struct Found {
    /// Where the layout begins.
    pub(super) root: PathBuf,
    /// The layout.
    pub(super) layout: Layout,
    /// The layout as an operator writes it, or the name of the one mailbox, fit to be printed.
    pub(super) text: String,
}

/// The layout that was given, or the one that can be seen.
pub(super) fn layout(path: &Path, given: Option<&str>) -> Result<Found> {
    let path = path.canonicalize().with_context(|| format!("find {}", path.display()))?;
    match given {
        Some(text) => found(path, text.to_owned()),
        None if is_mailbox(&path) => one_mailbox(&path),
        None => tree(path),
    }
}

fn found(root: PathBuf, text: String) -> Result<Found> {
    Ok(Found { layout: Layout::whole(&text, SHARD)?, root, text })
}

fn one_mailbox(path: &Path) -> Result<Found> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        bail!("{} has no name, so that it is no mailbox of its own", path.display());
    };
    let layout = Layout::one_mailbox(name, SHARD)?;
    Ok(Found { layout, root: parent.to_owned(), text: super::report::shown(name.as_bytes()) })
}

fn tree(path: PathBuf) -> Result<Found> {
    let mut seen = Seen::default();
    seen.look(&path, &mut Vec::new()).with_context(|| format!("list {}", path.display()))?;
    seen.say_unreadable();
    let Some(first) = seen.mailboxes.first() else {
        bail!(
            "no mailbox stands within {DEPTH_MAX} levels below {}; say where mailboxes are, such as --layout '{{domain}}/{{user}}/Maildir'",
            path.display()
        );
    };
    let depth = first.len();
    if let Some(other) = seen.mailboxes.iter().find(|other| other.len() != depth) {
        bail!(
            "mailboxes stand at different depths below {} ({} and {}); say which are meant, such as --layout '{}'",
            path.display(),
            shown(first),
            shown(other),
            template(first, &seen.mailboxes),
        );
    }
    let text = template(first, &seen.mailboxes);
    found(path, text)
}

/// A layout of the depth of `first`.
fn template(first: &[OsString], all: &[Vec<OsString>]) -> String {
    let everywhere = |name: &&str| all.iter().all(|names| names.last().is_some_and(|last| last == *name));
    let named = USUAL_NAMES.into_iter().find(everywhere).filter(|_| first.len() > 1);
    let variables = first.len() - usize::from(named.is_some());
    let mut parts = VARIABLES[DEPTH_MAX - variables..].to_vec();
    parts.extend(named);
    parts.join("/")
}

fn shown(names: &[OsString]) -> String {
    names.iter().collect::<PathBuf>().display().to_string()
}

#[derive(Debug, Default)]
struct Seen {
    mailboxes: Vec<Vec<OsString>>,
    directories: usize,
    /// Directories that could not be listed, and why; no more than were looked at.
    unreadable: Vec<(PathBuf, io::Error)>,
}

impl Seen {
    /// Looks at what stands in a directory that is no mailbox itself.
    fn look(&mut self, path: &Path, names: &mut Vec<OsString>) -> io::Result<()> {
        let mut entries = fs::read_dir(path)?.collect::<Result<Vec<_>, _>>()?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let name = entry.file_name();
            let hidden = name.as_bytes().starts_with(b".") || name == "lost+found";
            if hidden || !is_directory(&entry) || self.directories >= DIRECTORIES_MAX {
                continue;
            }
            self.directories += 1;
            names.push(name);
            if is_mailbox(&entry.path()) {
                self.mailboxes.push(names.clone());
            } else if names.len() < DEPTH_MAX
                && let Err(error) = self.look(&entry.path(), names)
            {
                self.unreadable.push((entry.path(), error));
            }
            names.pop();
        }
        Ok(())
    }

    fn say_unreadable(&self) {
        for (path, error) in self.unreadable.iter().take(UNREADABLE_SAID_MAX) {
            super::say(&format!(
                "rientro-agent: cannot list {}: {error}; where mailboxes stand is seen from the others",
                path.display()
            ));
        }
        let more = self.unreadable.len().saturating_sub(UNREADABLE_SAID_MAX);
        if more > 0 {
            super::say(&format!("rientro-agent: {more} more directories cannot be listed"));
        }
    }
}

fn is_mailbox(path: &Path) -> bool {
    is_maildir(path) || has_map(path) || is_dbox(path)
}

fn is_maildir(path: &Path) -> bool {
    ["cur", "new", "tmp"].iter().filter(|place| path.join(place).is_dir()).count() >= 2
}

fn has_map(path: &Path) -> bool {
    path.join("storage/dovecot.map.index.log").is_file()
}

/// Whether the directory `mailboxes` in it is that of a dbox's folders: another one of this name holds mailboxes.
fn is_dbox(path: &Path) -> bool {
    let folders = path.join(FOLDERS);
    folders.is_dir() && first_mark(&folders, 0, &mut 0) != Some(Mark::Mailbox)
}

/// What a directory is told by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    /// It is a folder of a dbox.
    Folder,
    /// It is a mailbox.
    Mailbox,
}

/// The first mark that is met below a directory; `looked` counts what was looked at.
fn first_mark(path: &Path, depth: usize, looked: &mut usize) -> Option<Mark> {
    let mut inside: Vec<PathBuf> =
        fs::read_dir(path).ok()?.flatten().filter(is_directory).map(|e| e.path()).collect();
    inside.sort();
    let marked = |path: &PathBuf| {
        if path.join("dbox-Mails").is_dir() {
            Some(Mark::Folder)
        } else {
            (is_maildir(path) || has_map(path) || path.join(FOLDERS).is_dir()).then_some(Mark::Mailbox)
        }
    };
    *looked += inside.len();
    if let Some(mark) = inside.iter().find_map(marked) {
        return Some(mark);
    }
    let further = depth + 1 < DEPTH_MAX && *looked < DIRECTORIES_MAX;
    if further { inside.iter().find_map(|path| first_mark(path, depth + 1, looked)) } else { None }
}

fn is_directory(entry: &fs::DirEntry) -> bool {
    entry.file_type().is_ok_and(|kind| kind.is_dir())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(paths: &[&str], at: &str) -> Result<String> {
        let dir = tempfile::tempdir().unwrap();
        for path in paths {
            fs::create_dir_all(dir.path().join(path).join("cur")).unwrap();
            fs::create_dir_all(dir.path().join(path).join("new")).unwrap();
        }
        layout(&dir.path().join(at), None).map(|found| found.text)
    }

    #[test]
    fn what_is_plain_is_seen() {
        assert_eq!(text(&["anna"], "anna").unwrap(), "anna");
        assert_eq!(text(&["anna", "bert"], "").unwrap(), "{user}");
        assert_eq!(text(&["ex.org/anna", "b.org/carl"], "").unwrap(), "{domain}/{user}");
        assert_eq!(text(&["s1/ex.org/anna/Maildir"], "").unwrap(), "{shard}/{domain}/{user}/Maildir");
        assert_eq!(text(&["anna/Maildir", "anna/Maildir/.Sent"], "").unwrap(), "{user}/Maildir");
        assert_eq!(text(&["mailboxes/anna", "mailboxes/bert"], "").unwrap(), "{domain}/{user}");
        assert_eq!(
            text(&["mailboxes/ex.org/anna/Maildir"], "").unwrap(),
            "{shard}/{domain}/{user}/Maildir",
            "a directory that is called as a dbox's"
        );
        let dbox = tempfile::tempdir().unwrap();
        for user in ["anna", "bert"] {
            fs::create_dir_all(dbox.path().join(user).join("mdbox/mailboxes/INBOX")).unwrap();
        }
        assert_eq!(layout(dbox.path(), None).unwrap().text, "{user}/mdbox");
        assert_eq!(layout(&dbox.path().join("anna/mdbox"), None).unwrap().text, "mdbox");
        // A folder may be called as a Maildir's directories are, or as that of folders.
        for folder in ["INBOX/dbox-Mails", "cur/new", "cur/cur", "mailboxes/dbox-Mails"] {
            fs::create_dir_all(dbox.path().join("anna/mdbox/mailboxes").join(folder)).unwrap();
        }
        assert_eq!(layout(&dbox.path().join("anna/mdbox"), None).unwrap().text, "mdbox");
    }

    #[test]
    fn what_is_not_is_for_the_operator() {
        assert!(text(&["ex.org/anna", "carl"], "").unwrap_err().to_string().contains("different depths"));
        assert!(text(&[], "").unwrap_err().to_string().contains("no mailbox stands"));
        assert!(text(&[], "absent").is_err());
    }
}
