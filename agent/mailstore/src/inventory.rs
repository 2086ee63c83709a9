//! What stands in a shard, without reading any of it.

use std::path::Path;

use crate::control::Control;
use crate::fsys;
use crate::layout::Layout;
use crate::layout::walk::{Step, Walk};

/// A mailbox that stands in a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mailbox<'a> {
    /// Path inside the shard.
    pub path: &'a [u8],
    /// What `MailboxId::of_address` takes.
    pub address: &'a [u8],
}

/// What a shard's inventory counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Inventory {
    /// Mailboxes, all of them handed out.
    pub mailboxes: u64,
    /// Things where a mailbox should be that are no directory.
    pub others: u64,
    /// Directories on the way that could not be listed, or not to their end: what stands below them is not counted.
    pub unreadable: u64,
    /// The caller cancelled it; the counts are of what was seen.
    pub cancelled: bool,
}

/// Hands out every mailbox of the shard at `shard` below `root`, in path order. Keeps one listing per directory level.
///
/// # Errors
/// The error of opening the root or the shard's directory.
pub fn inventory(
    root: &Path,
    layout: &Layout,
    shard: &[u8],
    control: &Control,
    each: &mut dyn FnMut(Mailbox<'_>),
) -> std::io::Result<Inventory> {
    use std::os::fd::AsFd;
    let dir = fsys::open_root(root)?;
    let dir = fsys::open_path(dir.as_fd(), shard)?;
    let mut count = Inventory::default();
    for step in Walk::new(dir.as_fd(), layout.below_shard(), layout.attachments_below(shard))? {
        if control.checkpoint(0).is_err() {
            count.cancelled = true;
            break;
        }
        match step {
            Step::Place(path) => {
                let address = layout.address(shard, &path).unwrap_or_else(|| path.clone());
                count.mailboxes += 1;
                each(Mailbox { path: &path, address: &address });
            }
            Step::NotADirectory(..) => count.others += 1,
            Step::Unreadable(..) | Step::Cut(_) => count.unreadable += 1,
        }
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn mailboxes_come_sorted_with_their_addresses() {
        let root = tempfile::tempdir().unwrap();
        for dir in ["s1/ex.org/bert", "s1/ex.org/anna", "s1/b.org/carl", "s2/ex.org/dora"] {
            fs::create_dir_all(root.path().join(dir)).unwrap();
        }
        fs::write(root.path().join("s1/ex.org/file"), b"").unwrap();
        let layout = Layout::sharded("{shard}/{domain}/{user}", "{shard}").unwrap();
        let mut seen = Vec::new();
        let mut each = |m: Mailbox<'_>| {
            seen.push((
                String::from_utf8_lossy(m.path).into_owned(),
                String::from_utf8_lossy(m.address).into_owned(),
            ));
        };
        let control = Control::default();
        let count = inventory(root.path(), &layout, b"s1", &control, &mut each).unwrap();
        assert_eq!(count, Inventory { mailboxes: 3, others: 1, ..Inventory::default() });
        let pairs =
            [("b.org/carl", "carl@b.org"), ("ex.org/anna", "anna@ex.org"), ("ex.org/bert", "bert@ex.org")];
        assert_eq!(seen, pairs.map(|(a, b)| (a.to_owned(), b.to_owned())));
        assert!(inventory(root.path(), &layout, b"s9", &control, &mut |_| ()).is_err());
        control.cancel();
        assert!(inventory(root.path(), &layout, b"s1", &control, &mut |_| ()).unwrap().cancelled);
    }
}
