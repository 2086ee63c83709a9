//! Directories of the settings, as they truly lie: links and `..` are followed before they are compared.
//!
//! Nothing has to exist: a volume may not be mounted, and the state directory is made later. A disk that hangs keeps no agent from
//! starting: where it does not answer, names alone are compared.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::{Settings, SettingsError};
use crate::question::Question;

/// Longest wait for all directories: a few hundred looks at names that are in memory, or one cold disk each.
const PATIENCE: Duration = Duration::from_secs(10);

/// Links that are followed on one path, as the kernel does (path_resolution(7)).
const LINKS_MAX: usize = 40;

/// What the agent writes is in no root, and no mailbox is on two roots.
pub(super) fn check(settings: &Settings) -> Result<(), SettingsError> {
    let Settings { state, baselines, roots, .. } = settings;
    let moved: Vec<&Path> = roots.iter().filter_map(|root| root.layout.alternative()).collect();
    let set = [&**state, baselines]
        .into_iter()
        .chain(roots.iter().map(|root| &*root.path))
        .chain(moved.iter().copied());
    let resolved = resolve(set.map(Path::to_owned).collect());
    let ([own_state, own_baselines], paths) = resolved.split_first_chunk().expect("both are among them");
    let (paths, moved_paths) = paths.split_at(roots.len());
    for (key, path, leads_to) in [("state", state, own_state), ("baselines", baselines, own_baselines)] {
        if let Some(at) = paths.iter().position(|root| leads_to.starts_with(root)) {
            let (path, leads_to, root) = (path.clone(), leads_to.clone(), roots[at].path.clone());
            return Err(SettingsError::InRoot { key, path, leads_to, root });
        }
    }
    for (leads_to, alternative) in moved_paths.iter().zip(moved) {
        for (key, path, own) in [("state", state, own_state), ("baselines", baselines, own_baselines)] {
            if own.starts_with(leads_to) {
                let (path, leads_to, root) = (path.clone(), own.clone(), alternative.to_owned());
                return Err(SettingsError::InRoot { key, path, leads_to, root });
            }
        }
        if let Some(at) = paths.iter().position(|root| !is_apart(leads_to, root)) {
            let (root, alternative) = (roots[at].path.clone(), alternative.to_owned());
            return Err(SettingsError::AlternativeInRoot { root, alternative });
        }
    }
    for (at, first) in roots.iter().enumerate() {
        for (other, second) in roots.iter().enumerate().filter(|(other, _)| *other != at) {
            let Ok(below) = paths[other].strip_prefix(&paths[at]) else { continue };
            let names: Vec<_> = below.iter().map(OsStrExt::as_bytes).collect();
            if first.layout.repeats(&names, &second.layout) {
                let (first, second) = (first.path.clone(), second.path.clone());
                return Err(SettingsError::SameMailboxes { first, second });
            }
        }
    }
    Ok(())
}

/// Whether no layout of the root can see what is in the alternative storage, and nothing of the root is in it.
fn is_apart(alternative: &Path, root: &Path) -> bool {
    let below = alternative.strip_prefix(root).map(|below| below.as_os_str().as_bytes().starts_with(b"."));
    below.unwrap_or(!root.starts_with(alternative))
}

/// Where these paths lead, as far as disks say so in time.
fn resolve(paths: Vec<PathBuf>) -> Vec<PathBuf> {
    let known = Arc::new(Mutex::new(paths.clone()));
    let learnt = Arc::clone(&known);
    let asked = Question::default().ask(PATIENCE, move || {
        for (at, path) in paths.iter().enumerate() {
            let leads_to = resolved(path);
            learnt.lock().unwrap_or_else(PoisonError::into_inner)[at] = leads_to;
        }
    });
    if asked.is_err() {
        tracing::warn!("a file system does not answer; directories are taken as they are set");
    }
    known.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Where an absolute path leads; what is not there is taken by its name.
fn resolved(path: &Path) -> PathBuf {
    let mut at = PathBuf::from("/");
    let (mut left, mut links) = (names_last_first(path), 0);
    while let Some(name) = left.pop() {
        if name == ".." {
            at.pop();
            continue;
        }
        at.push(&name);
        if let Ok(target) = fs::read_link(&at)
            && links < LINKS_MAX
        {
            links += 1;
            at.pop();
            if target.is_absolute() {
                at = PathBuf::from("/");
            }
            left.extend(names_last_first(&target));
        }
    }
    at
}

fn names_last_first(path: &Path) -> Vec<OsString> {
    let names = path.components().rev().filter_map(|component| match component {
        Component::Normal(_) | Component::ParentDir => Some(component.as_os_str().to_owned()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    });
    names.collect()
}
