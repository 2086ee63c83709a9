//! The roll of a shard's mailboxes: those that are there, those that should be, and what stands in their place.

use std::os::fd::{AsFd, OwnedFd};

use rientro_types::{Finding, FindingKind};
use rustix::io::Errno;

use super::notes::finding;
use crate::fsys::Kind;
use crate::layout::Layout;
use crate::layout::walk::{Step, Walk, is_below, path_order};

/// The mailboxes a shard must have, by their paths inside it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    paths: Vec<Vec<u8>>,
}

impl FromIterator<Vec<u8>> for Expected {
    /// Paths in any order; duplicates count once.
    fn from_iter<I: IntoIterator<Item = Vec<u8>>>(paths: I) -> Self {
        let mut paths: Vec<_> = paths.into_iter().collect();
        paths.sort_unstable_by(|a, b| path_order(a, b));
        paths.dedup();
        Self { paths }
    }
}

impl Expected {
    /// Whether this mailbox is expected.
    #[must_use]
    pub fn contains(&self, path: &[u8]) -> bool {
        self.paths.binary_search_by(|expected| path_order(expected, path)).is_ok()
    }

    /// How many mailboxes are expected.
    #[must_use]
    pub fn len(&self) -> usize {
        self.paths.len()
    }

    /// Whether the shard is expected to be empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.paths.is_empty()
    }
}

/// One call of the roll.
#[derive(Debug)]
pub(crate) enum Call {
    /// A mailbox to look into.
    Mailbox(Vec<u8>),
    /// Something about the shard or an absent mailbox, which keeps so many mailboxes from being looked into.
    Aside(Finding, u64),
}

/// Calls the roll in path order.
pub(crate) struct Roll<'t> {
    /// Components of a mailbox's path.
    depth: usize,
    walk: std::iter::Peekable<Walk<'t>>,
    expected: &'t [Vec<u8>],
    seen: bool,
    /// Whether the expected mailboxes are named one by one when they are missing.
    named: bool,
    /// Expected mailboxes below the directory that comes next and cannot be listed.
    hidden: u64,
}

impl<'t> Roll<'t> {
    /// Opens the shard at `path` below `root`.
    pub(crate) fn open(
        root: &OwnedFd,
        path: &[u8],
        layout: &'t Layout,
        expected: Option<&'t Expected>,
    ) -> Result<(Self, OwnedFd), Errno> {
        let shard = crate::fsys::open_path(root.as_fd(), path)?;
        let depth = layout.below_shard().len();
        let walk = Walk::new(shard.as_fd(), layout.below_shard(), layout.attachments_below(path))?.peekable();
        let expected = expected.map_or(&[][..], |e| &e.paths);
        Ok((Self { depth, walk, expected, seen: false, named: false, hidden: 0 }, shard))
    }

    /// The next call. A shard without any mailbox is one finding, not one for each that should be there.
    pub(crate) fn next(&mut self) -> Option<Call> {
        if !std::mem::replace(&mut self.seen, true) {
            self.named = self.walk.peek().is_some();
            if !self.named && !self.expected.is_empty() {
                let detail = format!("no mailbox, {} expected", self.expected.len());
                let empty = finding(FindingKind::VolumeEmpty, b"", Vec::new(), detail);
                return Some(Call::Aside(empty, self.expected.len() as u64));
            }
        }
        if let Some(missing) = self.missing_before_next() {
            let missing = finding(FindingKind::MailboxMissing, missing, Vec::new(), String::new());
            return Some(Call::Aside(missing, 1));
        }
        // Nobody knows how many mailboxes are below what cannot be listed, but by the list of those that should be there.
        let hidden = std::mem::take(&mut self.hidden).max(1);
        Some(match self.walk.next()? {
            Step::Place(path) => Call::Mailbox(path),
            Step::NotADirectory(path, kind) => {
                Call::Aside(in_place_of_a_directory(path, kind, self.depth), 1)
            }
            Step::Unreadable(path, error) => {
                let unreadable = finding(FindingKind::DirectoryUnreadable, b"", path, error.to_string());
                Call::Aside(unreadable, hidden)
            }
            Step::Cut(path) => {
                let detail = "directory has more entries than are looked at".to_owned();
                Call::Aside(finding(FindingKind::LimitReached, b"", path, detail), hidden)
            }
        })
    }

    /// The next expected mailbox, if the walk is past its place; advances over those that are there.
    fn missing_before_next(&mut self) -> Option<&'t [u8]> {
        if !self.named {
            return None;
        }
        let (first, rest) = self.expected.split_first()?;
        let order = match self.walk.peek() {
            None => std::cmp::Ordering::Less,
            Some(Step::Place(path) | Step::NotADirectory(path, _)) => path_order(first, path),
            // What lies below an unreadable directory is unknown, not missing: those are passed over.
            Some(Step::Unreadable(path, _) | Step::Cut(path)) => {
                let (below, cut) = (path.clone(), self.expected.len());
                let end = self.expected.iter().position(|p| !is_below(p, &below)).unwrap_or(cut);
                if end > 0 {
                    self.hidden += end as u64;
                    self.expected = &self.expected[end..];
                    return None;
                }
                path_order(first, &below)
            }
        };
        match order {
            std::cmp::Ordering::Less => {
                self.expected = rest;
                Some(first)
            }
            std::cmp::Ordering::Equal => {
                self.expected = rest;
                None
            }
            std::cmp::Ordering::Greater => None,
        }
    }
}

fn in_place_of_a_directory(path: Vec<u8>, kind: Kind, depth: usize) -> Finding {
    let (kind, detail) = match kind {
        Kind::Link => (FindingKind::SymbolicLink, "stands where a directory should be"),
        Kind::Special => (FindingKind::SpecialFile, "stands where a directory should be"),
        Kind::File | Kind::Directory => (FindingKind::MailboxUnrecognised, "a file, no directory"),
    };
    let of_mailbox = path.split(|b| *b == b'/').count() == depth;
    let (mailbox, path) = if of_mailbox { (&path[..], Vec::new()) } else { (&b""[..], path) };
    finding(kind, mailbox, path, detail.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn roll(paths: &[&str], expected: &[&str]) -> Vec<String> {
        let root = tempfile::tempdir().unwrap();
        for path in paths {
            fs::create_dir_all(root.path().join(path)).unwrap();
        }
        let layout = Layout::whole("{domain}/{user}", "v").unwrap();
        let expected: Expected = expected.iter().map(|p| p.as_bytes().to_vec()).collect();
        let dir = crate::fsys::open_root(root.path()).unwrap();
        let (mut roll, _) = Roll::open(&dir, b"", &layout, Some(&expected)).unwrap();
        let mut calls = Vec::new();
        while let Some(call) = roll.next() {
            calls.push(match call {
                Call::Mailbox(path) => String::from_utf8(path).unwrap(),
                Call::Aside(f, _) => format!("{} {}", f.kind, String::from_utf8(f.mailbox).unwrap()),
            });
        }
        calls
    }

    /// T24: what should be there and is not is named, in its place; an empty shard is one finding.
    #[test]
    fn missing_mailboxes_are_called_in_order() {
        assert_eq!(
            roll(&["a/x", "a-b/y", "c/w"], &["c/z", "a/x", "a/xx", "a-b/y"]),
            ["a/x", "mailbox-missing a/xx", "a-b/y", "c/w", "mailbox-missing c/z"]
        );
        assert_eq!(roll(&["c/w"], &[]), ["c/w"]);
        let odd = ["a/x.b", "a/x:old", "a:b/y"];
        assert_eq!(roll(&odd, &odd), odd, "a colon in a directory's name is a byte like others");
        assert_eq!(roll(&["a"], &["a/x", "a/y"]), ["volume-empty "]);
    }
}
