//! Shards on a volume, and the id a path stands for.

use std::os::fd::AsFd;
use std::path::Path;

use rientro_types::ShardId;

use super::Layout;
use super::walk::{Step, Walk};
use crate::fsys::Kind;

/// Most shards of one volume that are listed; each takes about 150 bytes.
pub const SHARDS_MAX: usize = 100_000;

/// Longest id made from a path, as names of shards are bounded.
const ID_BYTES_MAX: usize = rientro_types::NAME_BYTES_MAX;

/// Bytes of an over-long id that are kept before its hash (two signs and 16 hexadecimal digits).
const ID_BYTES_KEPT: usize = ID_BYTES_MAX - 18;

/// A shard on a volume.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Shard {
    /// Made from the values of the prefix's variables.
    pub id: ShardId,
    /// Path from the root of the volume; empty when the whole volume is the shard.
    pub path: Vec<u8>,
}

/// What a volume's listing found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shards {
    /// In path order.
    pub found: Vec<Shard>,
    /// Directories that could not be listed: shards below them are not known.
    pub unreadable: Vec<Vec<u8>>,
    /// Symbolic links where a directory should be; they were not followed.
    pub links: Vec<Vec<u8>>,
    /// There were more than [`SHARDS_MAX`].
    pub cut: bool,
}

impl Layout {
    /// The shards on the volume mounted at `root`.
    ///
    /// # Errors
    /// The error of opening `root` itself.
    pub fn shards(&self, root: &Path) -> std::io::Result<Shards> {
        let dir = crate::fsys::open_root(root)?;
        if let Some(id) = self.whole {
            return Ok(Shards { found: vec![Shard { id, path: Vec::new() }], ..Shards::default() });
        }
        let mut shards = Shards::default();
        let components = &self.template.components()[..self.shard_components];
        for step in Walk::new(dir.as_fd(), components, self.attachments())? {
            match step {
                Step::Place(path) if shards.found.len() < SHARDS_MAX => {
                    shards.found.extend(self.shard_id(&path).map(|id| Shard { id, path }));
                }
                Step::Place(_) => {
                    shards.cut = true;
                    break;
                }
                Step::Unreadable(path, _) | Step::Cut(path) => shards.unreadable.push(path),
                Step::NotADirectory(path, Kind::Link) => shards.links.push(path),
                Step::NotADirectory(..) => {}
            }
        }
        Ok(shards)
    }

    /// The id of the shard at `path`; `None` when the path does not fit the shard prefix.
    #[must_use]
    pub fn shard_id(&self, path: &[u8]) -> Option<ShardId> {
        if self.whole.is_some() {
            return self.whole.filter(|_| path.is_empty());
        }
        let mut values = Vec::new();
        let mut components = self.template.components()[..self.shard_components].iter();
        for name in path.split(|b| *b == b'/') {
            components.next()?.match_into(name, &mut values)?;
        }
        if components.next().is_some() {
            return None;
        }
        let values: Vec<&[u8]> = values.into_iter().map(|(_, value)| value).collect();
        ShardId::new(&rendered(&values)).ok()
    }
}

/// Joins values with `-` into a name, in a way that keeps different values apart.
///
/// What a name cannot hold becomes `+` and two hexadecimal digits, as do `+` itself and, between several values, `-`. `++`
/// marks two things: after a leading `x`, that the first value began with what cannot begin a name; before 16 digits at the
/// end, a hash that stands for the rest of an over-long id.
fn rendered(values: &[&[u8]]) -> String {
    let mut text = String::new();
    if !values[0][0].is_ascii_alphanumeric() {
        text.push_str("x++");
    }
    for (at, value) in values.iter().enumerate() {
        if at > 0 {
            text.push('-');
        }
        for byte in *value {
            let plain = byte.is_ascii_alphanumeric()
                || b"._:@".contains(byte)
                || (*byte == b'-' && values.len() == 1);
            if plain {
                text.push(char::from(*byte));
            } else {
                text.push_str(&format!("+{byte:02x}"));
            }
        }
    }
    if text.len() > ID_BYTES_MAX {
        let hash = rientro_types::Digest::of(text.as_bytes()).to_string();
        text.truncate(ID_BYTES_KEPT);
        text.push_str("++");
        text.push_str(&hash[..16]);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::ffi::OsStr;
    use std::fs;
    use std::os::unix::ffi::OsStrExt;

    #[test]
    fn ids_keep_different_paths_apart() {
        for (values, id) in [
            (&[&b"vol-2"[..]][..], "vol-2"),
            (&[b"a-b", b"c"], "a+2db-c"),
            (&[b"a", b"b-c"], "a-b+2dc"),
            (&[b"_x"], "x++_x"),
            (&[b"m\xfcller"], "m+fcller"),
            (&[b"a+b"], "a+2bb"),
        ] {
            assert_eq!(rendered(values), id);
        }
        assert_eq!(rendered(&[&[b'a'; 60]]).len(), 47);
    }

    #[test]
    fn shards_are_listed_in_order() {
        let root = tempfile::tempdir().unwrap();
        for dir in ["v2/ex.org", "v1/ex.org", "v1/b.org", ".snapshot/x", "lost+found"] {
            fs::create_dir_all(root.path().join(dir)).unwrap();
        }
        fs::create_dir_all(root.path().join(OsStr::from_bytes(b"v3/\xff"))).unwrap();
        fs::write(root.path().join("v1/file"), b"").unwrap();
        std::os::unix::fs::symlink("v1", root.path().join("v0")).unwrap();
        let layout = Layout::sharded("{shard}/{domain}/{user}", "{shard}/{domain}").unwrap();
        let shards = layout.shards(root.path()).unwrap();
        let ids: Vec<_> = shards.found.iter().map(|s| s.id.to_string()).collect();
        assert_eq!(ids, ["v1-b.org", "v1-ex.org", "v2-ex.org", "v3-+ff"]);
        assert_eq!(shards.links, [b"v0"]);
        assert_eq!(layout.shard_id(b"v1/ex.org"), Some(shards.found[1].id));
        assert_eq!(layout.shard_id(b"v1"), None);
        let whole = Layout::whole("{domain}/{user}", "vol").unwrap();
        assert_eq!(whole.shards(root.path()).unwrap().found.len(), 1);
        assert!(whole.shards(&root.path().join("absent")).is_err());
    }

    proptest! {
        /// Two different lists of values never share an id, and each id is a name.
        #[test]
        fn ids_are_collision_free(
            a in prop::collection::vec("[-+_.a0x\u{e9}]{1,4}|\\.{1,60}", 2), b in prop::collection::vec("[-+_.a0x\u{e9}]{1,4}|\\.{1,60}", 2),
        ) {
            fn bytes(values: &[String]) -> Vec<&[u8]> {
                values.iter().map(String::as_bytes).collect()
            }
            let (x, y) = (rendered(&bytes(&a)), rendered(&bytes(&b)));
            prop_assert!(ShardId::new(&x).is_ok(), "{}", x);
            prop_assert_eq!(x == y, a == b);
        }
    }
}
