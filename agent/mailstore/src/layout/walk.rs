//! Walks down a template, one directory level per component, in order and with one listing per level in memory.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;

use super::template::Component;
use crate::fsys::{self, Kind, Listed, Names};

/// What a walk comes upon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// A directory that fits the whole template, by its path below the start; `.` when the template is empty.
    Place(Vec<u8>),
    /// Something that fits the last component and is no directory, or a link where a directory should be.
    NotADirectory(Vec<u8>, Kind),
    /// A directory on the way could not be listed.
    Unreadable(Vec<u8>, Errno),
    /// A directory on the way has more entries than are looked at.
    Cut(Vec<u8>),
}

struct Level {
    dir: OwnedFd,
    names: Names,
    at: usize,
    /// Length of the path that leads here.
    path_bytes: usize,
}

/// Visits every directory that fits a template, sorted by name at each level.
pub(crate) struct Walk<'t> {
    components: &'t [Component],
    levels: Vec<Level>,
    path: Vec<u8>,
    pending: Option<Step>,
    buffer: Vec<u8>,
    /// A path that is no place, whatever it fits.
    passed_over: Option<&'t [u8]>,
}

impl<'t> Walk<'t> {
    /// Starts below `start`. What stands at `passed_over` is passed over.
    pub(crate) fn new(
        start: BorrowedFd<'_>,
        components: &'t [Component],
        passed_over: Option<&'t [u8]>,
    ) -> Result<Self, Errno> {
        let (levels, path, buffer) = (Vec::new(), Vec::new(), Vec::new());
        let mut walk = Self { components, levels, path, pending: None, buffer, passed_over };
        if components.is_empty() {
            walk.pending = Some(Step::Place(b".".to_vec()));
        } else {
            let dir = fsys::open_dir(start, c".")?;
            walk.pending = walk.enter(dir)?;
        }
        Ok(walk)
    }

    /// Lists a directory and makes it the current level.
    fn enter(&mut self, dir: OwnedFd) -> Result<Option<Step>, Errno> {
        let component = &self.components[self.levels.len()];
        let mut names = Names::default();
        let listed = match component.literal() {
            Some(text) => list_one(&mut names, dir.as_fd(), text)?,
            None => names.list(dir.as_fd(), 0, &mut self.buffer)?,
        };
        names.sort_by_name();
        self.levels.push(Level { dir, names, at: 0, path_bytes: self.path.len() });
        Ok((listed == Listed::Cut).then(|| Step::Cut(self.path.clone())))
    }

    /// Looks at the next entry of the current level. `None` when the level is done or the entry is of no interest.
    fn look(&mut self) -> Option<Step> {
        let depth = self.levels.len();
        let level = self.levels.last_mut()?;
        let Some(entry) = level.names.entries().get(level.at).copied() else {
            self.levels.pop();
            return None;
        };
        level.at += 1;
        if !self.components[depth - 1].matches(level.names.name(&entry)) {
            return None;
        }
        self.path.truncate(level.path_bytes);
        if !self.path.is_empty() {
            self.path.push(b'/');
        }
        self.path.extend_from_slice(level.names.name(&entry));
        if self.passed_over == Some(&self.path[..]) {
            return None;
        }
        let last = depth == self.components.len();
        match entry.kind {
            Kind::Directory if last => Some(Step::Place(self.path.clone())),
            Kind::Directory => {
                let opened = fsys::open_dir(level.dir.as_fd(), level.names.c_name(&entry));
                match opened.and_then(|dir| self.enter(dir)) {
                    Ok(step) => step,
                    Err(error) => Some(Step::Unreadable(self.path.clone(), error)),
                }
            }
            Kind::File if !last => None,
            Kind::File | Kind::Link | Kind::Special => {
                Some(Step::NotADirectory(self.path.clone(), entry.kind))
            }
        }
    }
}

/// A listing of one known name: a literal component needs no directory read.
fn list_one(names: &mut Names, dir: BorrowedFd<'_>, text: &[u8]) -> Result<Listed, Errno> {
    let name = CString::new(text).map_err(|_| Errno::INVAL)?;
    match fsys::stat(dir, &name) {
        Ok(meta) => names.push_one(&name, meta.kind),
        Err(Errno::NOENT) => {}
        Err(error) => return Err(error),
    }
    Ok(Listed::Whole)
}

impl Iterator for Walk<'_> {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        loop {
            if let Some(step) = self.pending.take().or_else(|| self.look()) {
                return Some(step);
            }
            if self.levels.is_empty() {
                return None;
            }
        }
    }
}

/// Compares two paths component by component, as a walk meets them: `a/b` before `a-x/b`.
pub(crate) fn path_order(a: &[u8], b: &[u8]) -> std::cmp::Ordering {
    a.split(|c| *c == b'/').cmp(b.split(|c| *c == b'/'))
}

/// Whether a path is below a directory; all are below the empty one.
pub(crate) fn is_below(path: &[u8], directory: &[u8]) -> bool {
    directory.is_empty() || path.strip_prefix(directory).is_some_and(|rest| rest.first() == Some(&b'/'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Layout;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_walk_tells_what_it_cannot_enter() {
        let root = tempfile::tempdir().unwrap();
        for dir in ["a/anna/Maildir", "a/bert/Maildir", "a/carl", "a/dora/Maildir", "a-x/dora/Maildir"] {
            fs::create_dir_all(root.path().join(dir)).unwrap();
        }
        fs::write(root.path().join("a/file"), b"").unwrap();
        fs::write(root.path().join("a/carl/Maildir"), b"").unwrap();
        symlink("a", root.path().join("alias")).unwrap();
        let layout = Layout::whole("{domain}/{user}/Maildir", "v").unwrap();
        let dir = fsys::open_root(root.path()).unwrap();
        let steps: Vec<_> = Walk::new(dir.as_fd(), layout.below_shard(), Some(b"a/dora")).unwrap().collect();
        let place = |path: &[u8]| Step::Place(path.to_vec());
        assert_eq!(
            steps,
            [
                place(b"a/anna/Maildir"),
                place(b"a/bert/Maildir"),
                Step::NotADirectory(b"a/carl/Maildir".to_vec(), Kind::File),
                place(b"a-x/dora/Maildir"),
                Step::NotADirectory(b"alias".to_vec(), Kind::Link),
            ]
        );
        assert!(path_order(b"a/b", b"a-x/b").is_lt());
    }
}
