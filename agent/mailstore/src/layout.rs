//! Where mailboxes stand on a volume, as a template such as `{shard}/{domain}/{user}/Maildir`.
//!
//! Two settings decide: the layout, from the root of the volume to a mailbox, and which leading components of it make a
//! shard. Variables match one component or part of one. Names beginning with a dot and `lost+found` belong to file systems
//! and snapshots and match no variable.

mod shards;
mod template;
pub(crate) mod walk;

pub use shards::{SHARDS_MAX, Shard, Shards};
pub use template::{COMPONENTS_MAX, TemplateError};

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rientro_types::{NameError, ShardId};
use template::{Component, Template};

/// Where mailboxes stand on a volume, and which part of the path makes a shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    template: Template,
    shard_components: usize,
    whole: Option<ShardId>,
    attachments: Option<Vec<u8>>,
    alternative: Option<AlternativeLayout>,
}

/// Where dboxes have moved older messages to.
#[derive(Clone, Debug, PartialEq, Eq)]
struct AlternativeLayout {
    /// The deepest directory that all of them share.
    base: PathBuf,
    /// From there to a mailbox's own directory, if it is not that.
    below: Option<Template>,
}

/// Where one mailbox has moved older messages to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AlternativePlace {
    /// The deepest directory that all mailboxes share.
    pub(crate) base: PathBuf,
    /// From there to the mailbox's own directory; `None` when its name makes none.
    pub(crate) below: Option<Vec<u8>>,
}

/// Why two settings make no layout.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// The layout does not parse.
    #[error("layout `{text}`")]
    Layout {
        /// The refused text.
        text: String,
        /// What is wrong with it.
        source: TemplateError,
    },
    /// The shard prefix does not parse.
    #[error("shard prefix `{text}`")]
    Shard {
        /// The refused text.
        text: String,
        /// What is wrong with it.
        source: TemplateError,
    },
    /// The shard prefix is not made of the first components of the layout.
    #[error(
        "shard prefix `{shard}` does not begin the layout `{layout}`; use its first components as they stand there"
    )]
    NotAPrefix {
        /// The layout.
        layout: String,
        /// The prefix.
        shard: String,
    },
    /// The shard prefix has no variable, so all shards would have one id.
    #[error("shard prefix `{shard}` has no variable; name the whole volume as one shard instead")]
    NoVariable {
        /// The prefix.
        shard: String,
    },
    /// The directory of attachments is not below the root.
    #[error("attachments `{text}`: a path below the root is needed, of plain names")]
    Attachments {
        /// The refused text.
        text: String,
    },
    /// The alternative storage is not named from the top.
    #[error("alternative `{text}`: an absolute path is needed, as in Dovecot's ALT")]
    AlternativeRelative {
        /// The refused text.
        text: String,
    },
    /// The alternative storage does not parse.
    #[error("alternative `{text}`")]
    Alternative {
        /// The refused text.
        text: String,
        /// What is wrong with it.
        source: TemplateError,
    },
    /// Mailboxes cannot be told apart in the alternative storage, or are called by what the layout does not know.
    #[error(
        "alternative `{text}`: write each mailbox's own directory, with the variables of the layout and no others, such as \
         /srv/old/{{domain}}/{{user}}"
    )]
    AlternativeVariables {
        /// The refused text.
        text: String,
    },
    /// The id given for the whole volume is no name.
    #[error("shard id `{text}`")]
    WholeId {
        /// The refused text.
        text: String,
        /// What is wrong with it.
        source: NameError,
    },
}

impl Layout {
    /// A layout in which the leading components `shard` (such as `{shard}` or `{domain}`) make a shard.
    ///
    /// # Errors
    /// [`LayoutError`] when a template does not parse or `shard` does not begin `layout`.
    pub fn sharded(layout: &str, shard: &str) -> Result<Self, LayoutError> {
        let template = parse_layout(layout)?;
        let prefix =
            Template::parse(shard).map_err(|source| LayoutError::Shard { text: shard.to_owned(), source })?;
        if !template.begins_with(&prefix) {
            return Err(LayoutError::NotAPrefix { layout: layout.to_owned(), shard: shard.to_owned() });
        }
        if prefix.variables().next().is_none() {
            return Err(LayoutError::NoVariable { shard: shard.to_owned() });
        }
        Ok(Self::new(template, prefix.components().len(), None))
    }

    /// A layout in which the whole volume is one shard of the given id.
    ///
    /// # Errors
    /// [`LayoutError`] when the template does not parse or `shard_id` is no name.
    pub fn whole(layout: &str, shard_id: &str) -> Result<Self, LayoutError> {
        let template = parse_layout(layout)?;
        Ok(Self::new(template, 0, Some(whole_id(shard_id)?)))
    }

    /// The layout of a volume whose only mailbox is the directory `name` in its root, whatever bytes the name has: it is taken
    /// as it stands. The whole volume is one shard of the given id.
    ///
    /// # Errors
    /// [`LayoutError`] when `name` names no directory or `shard_id` is no name.
    pub fn one_mailbox(name: &OsStr, shard_id: &str) -> Result<Self, LayoutError> {
        let template = Template::literal(name.as_bytes())
            .map_err(|source| LayoutError::Layout { text: name.to_string_lossy().into_owned(), source })?;
        Ok(Self::new(template, 0, Some(whole_id(shard_id)?)))
    }

    fn new(template: Template, shard_components: usize, whole: Option<ShardId>) -> Self {
        Self { template, shard_components, whole, attachments: None, alternative: None }
    }

    /// The same layout where attachments are stored apart, in the directory at this path below the root (the setting
    /// `mail_attachment_dir` of Dovecot).
    ///
    /// # Errors
    /// [`LayoutError::Attachments`] when the path leads out of the root.
    pub fn with_attachments(self, path: &str) -> Result<Self, LayoutError> {
        let down = |part: &str| !part.is_empty() && part != "." && part != "..";
        if path.split('/').all(down) && !path.contains('\0') {
            Ok(Self { attachments: Some(path.as_bytes().to_vec()), ..self })
        } else {
            Err(LayoutError::Attachments { text: path.to_owned() })
        }
    }

    /// The same layout where dboxes move older messages to directories of their own, each at this absolute path (`ALT` of Dovecot's
    /// `mail_location`), in which variables of the layout can stand, such as `/srv/old/{domain}/{user}`.
    ///
    /// # Errors
    /// [`LayoutError`] when the path is not absolute or does not parse, has a variable that the layout has not, or none where that has
    /// some.
    pub fn with_alternative(self, text: &str) -> Result<Self, LayoutError> {
        let Some(path) = text.strip_prefix('/') else {
            return Err(LayoutError::AlternativeRelative { text: text.to_owned() });
        };
        let template = Template::parse(path.trim_end_matches('/'))
            .map_err(|source| LayoutError::Alternative { text: text.to_owned(), source })?;
        let known: Vec<_> = self.template.variables().collect();
        let is_known = template.variables().all(|variable| known.contains(&variable));
        if !is_known || (!known.is_empty() && template.variables().next().is_none()) {
            return Err(LayoutError::AlternativeVariables { text: text.to_owned() });
        }
        let (base, below) = template.split_literal();
        let base = Path::new("/").join(OsStr::from_bytes(&base));
        Ok(Self { alternative: Some(AlternativeLayout { base, below }), ..self })
    }

    /// The directory in which all mailboxes have moved older messages, if one is set up.
    #[must_use]
    pub fn alternative(&self) -> Option<&Path> {
        self.alternative.as_ref().map(|alternative| &*alternative.base)
    }

    /// Where the mailbox at `mailbox` in the shard at `shard` has moved older messages to, if that is set up.
    pub(crate) fn alternative_of(&self, shard: &[u8], mailbox: &[u8]) -> Option<AlternativePlace> {
        let AlternativeLayout { base, below } = self.alternative.as_ref()?;
        let values = self.template.values(components(shard, mailbox));
        let below = match below {
            Some(below) => values.and_then(|values| below.filled(&values)),
            None => Some(Vec::new()),
        };
        Some(AlternativePlace { base: base.clone(), below })
    }

    /// Where attachments are, below the root.
    pub(crate) fn attachments(&self) -> Option<&[u8]> {
        self.attachments.as_deref()
    }

    /// The same as a path below a shard, where they are there: they are no mailbox of it.
    pub(crate) fn attachments_below(&self, shard: &[u8]) -> Option<&[u8]> {
        let path = self.attachments()?;
        if shard.is_empty() { Some(path) } else { path.strip_prefix(shard)?.strip_prefix(b"/") }
    }

    /// The address of the mailbox at `mailbox` in the shard at `shard`: `user@domain` where the layout has both, `user`
    /// where it has only that (or where it holds an `@`), else all variables joined by `/`, or the whole path where it has no
    /// variable. `None` when the paths do not fit the layout.
    #[must_use]
    pub fn address(&self, shard: &[u8], mailbox: &[u8]) -> Option<Vec<u8>> {
        let components = components(shard, mailbox);
        let values = self.template.values(components.clone())?;
        if values.is_empty() {
            return Some(components.collect::<Vec<_>>().join(&b'/'));
        }
        let value = |name: &str| values.iter().find(|(n, _)| *n == name).map(|(_, v)| *v);
        Some(match (value("user"), value("domain")) {
            (Some(user), Some(domain)) if !user.contains(&b'@') => [user, b"@", domain].concat(),
            (Some(user), _) => user.to_vec(),
            (None, _) => values.iter().map(|(_, v)| *v).collect::<Vec<_>>().join(&b'/'),
        })
    }

    /// Whether every mailbox of one of two layouts is plainly one of the other too, where the root of the other is at these names below
    /// the root of this one. Layouts that only cross may well have no mailbox in common.
    #[must_use]
    pub fn repeats(&self, below: &[&[u8]], other: &Self) -> bool {
        let above: Vec<_> = below.iter().map(|name| Component::named(name)).collect();
        let others: Vec<_> = above.iter().chain(other.template.components()).collect();
        let own = self.template.components();
        let pairs = || own.iter().zip(others.iter().copied());
        own.len() == others.len()
            && (pairs().all(|(own, other)| own.covers(other))
                || pairs().all(|(own, other)| other.covers(own)))
    }

    /// The components between a shard and a mailbox in it.
    pub(crate) fn below_shard(&self) -> &[Component] {
        &self.template.components()[self.shard_components..]
    }
}

fn whole_id(text: &str) -> Result<ShardId, LayoutError> {
    ShardId::new(text).map_err(|source| LayoutError::WholeId { text: text.to_owned(), source })
}

/// The names on the way from the root to a mailbox.
fn components<'p>(shard: &'p [u8], mailbox: &'p [u8]) -> impl Iterator<Item = &'p [u8]> + Clone {
    let names = [shard, mailbox].into_iter().flat_map(|path| path.split(|b| *b == b'/'));
    names.filter(|name| !name.is_empty() && *name != b".")
}

fn parse_layout(layout: &str) -> Result<Template, LayoutError> {
    Template::parse(layout).map_err(|source| LayoutError::Layout { text: layout.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_follow_the_variables() {
        let address = |layout: &str, shard: &str, path: &str| {
            let layout = if shard.is_empty() {
                Layout::whole(layout, "v")
            } else {
                Layout::sharded(layout, "{shard}")
            };
            layout.unwrap().address(shard.as_bytes(), path.as_bytes()).map(|a| String::from_utf8(a).unwrap())
        };
        assert_eq!(address("{shard}/{domain}/{user}", "s1", "ex.org/anna").as_deref(), Some("anna@ex.org"));
        assert_eq!(address("{shard}/{domain}/{user}", "s1", "ex.org/a@b").as_deref(), Some("a@b"));
        assert_eq!(address("{user}/Maildir", "", "anna/Maildir").as_deref(), Some("anna"));
        assert_eq!(address("{hash}/{box}.mail", "", "0f/x.mail").as_deref(), Some("0f/x"));
        assert_eq!(address("ex.org/anna", "", "ex.org/anna").as_deref(), Some("ex.org/anna"));
        assert_eq!(address("{user}/Maildir", "", "anna/mdbox"), None);
        assert_eq!(address("{user}", "", ""), None);
    }

    #[test]
    fn layouts_repeat_each_other_where_one_has_all_mailboxes_of_the_other() {
        let repeat = |one: &str, below: &[&str], two: &str| {
            let [one, two] = [one, two].map(|layout| Layout::whole(layout, "v").unwrap());
            let below: Vec<_> = below.iter().map(|name| name.as_bytes()).collect();
            one.repeats(&below, &two)
        };
        for (one, below, two) in [
            ("{domain}/{user}", &[][..], "{a}/{b}"),
            ("{shard}/{domain}/{user}", &["s1"], "{domain}/{user}"),
            ("s1/anna", &["s1"], "{user}"),
            ("flat/{user}", &[], "flat/anna"),
            ("flat/anna", &[], "flat/{user}"),
            ("{user}.mail", &[], "{box}.mail"),
            ("{user}", &[], "{box}.mail"),
        ] {
            assert!(repeat(one, below, two), "{one} {two}");
        }
        for (one, below, two) in [
            ("flat/{user}", &[][..], "nested/{user}"),
            ("flat/{user}/Maildir", &[], "flat/carl/{folder}"),
            ("{user}/Maildir", &[], "{user}/mdbox"),
            ("{user}", &[], "{domain}/{user}"),
            ("{user}", &["a", "b"], "{user}"),
            ("s2/{user}", &["s1"], "{user}"),
            ("{user}", &[], ".snapshots"),
            ("{user}.mail", &[], "{user}.old"),
        ] {
            assert!(!repeat(one, below, two), "{one} {two}");
        }
    }

    #[test]
    fn prefixes_must_begin_the_layout() {
        assert!(Layout::sharded("{shard}/{domain}/{user}", "{shard}/{domain}").is_ok());
        assert!(matches!(Layout::sharded("{a}/{b}", "{b}"), Err(LayoutError::NotAPrefix { .. })));
        assert!(matches!(Layout::sharded("mail/{b}", "mail"), Err(LayoutError::NoVariable { .. })));
        assert!(matches!(Layout::sharded("{a}/{b}", "{a"), Err(LayoutError::Shard { .. })));
        assert!(matches!(Layout::whole("{a}/{b}", "no good"), Err(LayoutError::WholeId { .. })));
    }
}
