//! Settings: a file, then the environment, then flags; turned once into one validated type.
//!
//! An unknown key is refused with the nearest known one. Nothing is read from the environment but what the flags name.

mod keys;
mod places;

use std::collections::BTreeMap;
use std::io::Read;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rientro_mailstore::{Layout, LayoutError, READERS_MAX};
use rientro_types::{
    ByteSize, ByteSizeError, LABELS_MAX, LabelKey, LabelValue, NameError, NodeId, Span, SpanError,
};
use serde::Deserialize;

use crate::named_file::open_named;
use crate::roots::{Questions, Root};

/// Most endpoints: an orchestrator group has three or five members.
const ENDPOINTS_MAX: usize = 16;
/// Most roots of one node.
const ROOTS_MAX: usize = 1_024;
/// Most tasks at once; each has reader threads of its own.
const TASKS_MAX: usize = 256;
/// Most findings files of one shard.
const FINDINGS_KEPT_MAX: usize = 1_000;
/// Largest settings file: all roots with paths as long as they may be, several times over.
const FILE_BYTES_MAX: u64 = 16 << 20;
/// Shortest time between two looks at all roots: each is a walk over every shard.
const RESCAN_MIN: Duration = Duration::from_secs(1);

/// Settings as they are in force.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Name of this node.
    pub node: NodeId,
    /// Its failure domains.
    pub labels: BTreeMap<LabelKey, LabelValue>,
    /// Where orchestrators are, tried in turn.
    pub endpoints: Vec<String>,
    /// The state directory.
    pub state: PathBuf,
    /// Where volumes are mounted.
    pub roots: Vec<Root>,
    /// The directory of baselines.
    pub baselines: PathBuf,
    /// Verifications at once, and confirmations at once.
    pub tasks_max: usize,
    /// Readers of a task whose plan names none.
    pub readers: usize,
    /// Between two looks at all roots.
    pub rescan: Duration,
    /// Findings files kept of each shard.
    pub findings_kept: usize,
    /// Bytes that must stay free on the file system of the state directory; no task begins with less.
    pub state_space_min: u64,
}

/// Settings that flags and the environment give; each one stands above the file's.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// Name of this node.
    pub node: Option<String>,
    /// The state directory.
    pub state: Option<PathBuf>,
    /// Where orchestrators are; empty for what the file says.
    pub endpoints: Vec<String>,
}

/// Settings as the file has them.
#[derive(Debug, Default, Deserialize)]
struct FileSettings {
    node: Option<String>,
    state: Option<PathBuf>,
    endpoints: Option<Vec<String>>,
    baselines: Option<PathBuf>,
    tasks_max: Option<usize>,
    readers: Option<usize>,
    rescan: Option<String>,
    findings_kept: Option<usize>,
    state_space_min: Option<String>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    roots: Vec<FileRoot>,
}

#[derive(Debug, Deserialize)]
struct FileRoot {
    path: PathBuf,
    layout: String,
    shard: Option<String>,
    shard_id: Option<String>,
    expected: Option<PathBuf>,
    attachments: Option<String>,
    alternative: Option<String>,
    volume: Option<String>,
}

const KEYS: &[&str] = &[
    "node",
    "state",
    "endpoints",
    "baselines",
    "tasks_max",
    "readers",
    "rescan",
    "findings_kept",
    "state_space_min",
    "labels",
    "roots",
];
const ROOT_KEYS: &[&str] =
    &["path", "layout", "shard", "shard_id", "expected", "attachments", "alternative", "volume"];

/// Why settings are refused.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file could not be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: std::io::Error,
    },
    /// The file is larger than any settings are.
    #[error("{path} is larger than {FILE_BYTES_MAX} bytes; it does not look like a settings file")]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// The file is no TOML, or a value has another type.
    #[error("{path}")]
    Toml {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: Box<toml::de::Error>,
    },
    /// A key is not known.
    #[error("{path}: unknown key `{key}`{}", nearest.map_or(String::new(), |known| format!("; did you mean `{known}`?")))]
    UnknownKey {
        /// The file.
        path: PathBuf,
        /// The key, with where it stands.
        key: String,
        /// The known key that is most like it.
        nearest: Option<&'static str>,
    },
    /// A setting that must be there is not.
    #[error("`{0}` is not set; set it in the settings file or by its flag")]
    Missing(&'static str),
    /// A name is none.
    #[error("`{key}`")]
    Name {
        /// The setting.
        key: String,
        /// Why.
        source: NameError,
    },
    /// A duration is none.
    #[error("`{key}`")]
    Span {
        /// The setting.
        key: &'static str,
        /// Why.
        source: SpanError,
    },
    /// A size is none.
    #[error("`{key}`")]
    Size {
        /// The setting.
        key: &'static str,
        /// Why.
        source: ByteSizeError,
    },
    /// A number is outside its bounds.
    #[error("`{key}` is {value}; it must be {min} to {max}")]
    Range {
        /// The setting.
        key: &'static str,
        /// What it is.
        value: usize,
        /// Least.
        min: usize,
        /// Most.
        max: usize,
    },
    /// What the agent keeps would stand among mail.
    #[error(
        "`{key}` {path}{} is below root {root}; put it elsewhere: the agent writes nothing among mail",
        if leads_to == path { String::new() } else { format!(", which leads to {},", leads_to.display()) }
    )]
    InRoot {
        /// The setting.
        key: &'static str,
        /// The directory, as it is set.
        path: PathBuf,
        /// The same without links.
        leads_to: PathBuf,
        /// The root.
        root: PathBuf,
    },
    /// Mailboxes would be in two shards.
    #[error(
        "roots {first} and {second} show the same mailboxes, each of which would be in two shards or on two roots; leave one of \
         the roots out, or give them layouts that have nothing in common"
    )]
    SameMailboxes {
        /// A root.
        first: PathBuf,
        /// The same one, or one below it.
        second: PathBuf,
    },
    /// An endpoint cannot be used.
    #[error(
        "endpoint `{0}` cannot be used; without TLS it is http://127.0.0.1:PORT, http://[::1]:PORT, http://localhost:PORT or \
         unix:/PATH"
    )]
    Endpoint(String),
    /// A layout does not hold together.
    #[error("root {root}")]
    Layout {
        /// The root.
        root: PathBuf,
        /// Why.
        source: LayoutError,
    },
    /// What makes a shard is said twice or not at all.
    #[error(
        "root {root}: set either `shard` (leading components of the layout) or `shard_id` (the whole volume is one shard)"
    )]
    Sharding {
        /// The root.
        root: PathBuf,
    },
    /// What is moved out of mailboxes and mailboxes would be taken for each other.
    #[error(
        "the alternative storage {alternative} is not apart from the root {root}; it can be elsewhere, or in a directory at the root's \
         top whose name begins with a dot"
    )]
    AlternativeInRoot {
        /// The root.
        root: PathBuf,
        /// The alternative storage.
        alternative: PathBuf,
    },
    /// `volume` is neither of its words.
    #[error(
        "root {root}: `volume` is `{text}`; it is `marker` (only an enrolled volume counts) or `fs` (a marker, or else the file system's identity)"
    )]
    Volume {
        /// The root.
        root: PathBuf,
        /// What stands there.
        text: String,
    },
    /// A path must be absolute, as the agent may be started from anywhere.
    #[error("`{key}` is {path}, which is not absolute")]
    Relative {
        /// The setting.
        key: &'static str,
        /// The path.
        path: PathBuf,
    },
}

impl Settings {
    /// Reads the file, if any, and puts the overrides above it.
    ///
    /// # Errors
    /// [`SettingsError`], which names the setting.
    pub fn load(file: Option<&Path>, over: Overrides) -> Result<Self, SettingsError> {
        let file = file.map_or_else(|| Ok(FileSettings::default()), read)?;
        let settings = validate(file, over)?;
        places::check(&settings)?;
        Ok(settings)
    }
}

fn read(path: &Path) -> Result<FileSettings, SettingsError> {
    let text = text_of(path)?;
    let toml = |source| SettingsError::Toml { path: path.to_owned(), source: Box::new(source) };
    let table: toml::Table = toml::from_str(&text).map_err(toml)?;
    let unknown = |key, nearest| SettingsError::UnknownKey { path: path.to_owned(), key, nearest };
    keys::check(&table, "", KEYS).map_err(|(key, nearest)| unknown(key, nearest))?;
    for (at, root) in table.get("roots").and_then(toml::Value::as_array).into_iter().flatten().enumerate() {
        if let Some(root) = root.as_table() {
            keys::check(root, &format!("roots[{at}]."), ROOT_KEYS)
                .map_err(|(key, nearest)| unknown(key, nearest))?;
        }
    }
    toml::from_str(&text).map_err(toml)
}

/// The file's text. Its length is counted while it is read: a file that grows has no other bound.
fn text_of(path: &Path) -> Result<String, SettingsError> {
    let unreadable = |source| SettingsError::Read { path: path.to_owned(), source };
    let file = open_named(path).map_err(unreadable)?;
    let mut text = String::new();
    let bytes = file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(unreadable)?;
    if u64::try_from(bytes).is_ok_and(|bytes| bytes <= FILE_BYTES_MAX) {
        Ok(text)
    } else {
        Err(SettingsError::TooLarge { path: path.to_owned() })
    }
}

fn validate(file: FileSettings, over: Overrides) -> Result<Settings, SettingsError> {
    let node = over.node.or(file.node).ok_or(SettingsError::Missing("node"))?;
    let state = over.state.or(file.state).ok_or(SettingsError::Missing("state"))?;
    let endpoints =
        if over.endpoints.is_empty() { file.endpoints.unwrap_or_default() } else { over.endpoints };
    if endpoints.is_empty() {
        return Err(SettingsError::Missing("endpoints"));
    }
    if file.roots.is_empty() {
        return Err(SettingsError::Missing("roots"));
    }
    bounded("endpoints", endpoints.len(), 1, ENDPOINTS_MAX)?;
    bounded("labels", file.labels.len(), 0, LABELS_MAX)?;
    let endpoints = endpoints.into_iter().map(endpoint).collect::<Result<_, _>>()?;
    let state = absolute("state", state)?;
    let baselines =
        file.baselines.map_or_else(|| Ok(state.join("baselines")), |path| absolute("baselines", path))?;
    Ok(Settings {
        node: NodeId::new(&node).map_err(|source| SettingsError::Name { key: "node".to_owned(), source })?,
        labels: file.labels.into_iter().map(label).collect::<Result<_, _>>()?,
        endpoints,
        state,
        roots: roots(file.roots)?,
        baselines,
        tasks_max: bounded("tasks_max", file.tasks_max.unwrap_or(8), 1, TASKS_MAX)?,
        readers: bounded(
            "readers",
            file.readers.unwrap_or_else(|| rientro_mailstore::Pace::default().readers),
            1,
            READERS_MAX,
        )?,
        rescan: span("rescan", file.rescan.as_deref().unwrap_or("5m"))?.max(RESCAN_MIN),
        findings_kept: bounded("findings_kept", file.findings_kept.unwrap_or(3), 1, FINDINGS_KEPT_MAX)?,
        state_space_min: size("state_space_min", file.state_space_min.as_deref().unwrap_or("64 MiB"))?,
    })
}

fn roots(roots: Vec<FileRoot>) -> Result<Vec<Root>, SettingsError> {
    bounded("roots", roots.len(), 1, ROOTS_MAX)?;
    roots.into_iter().map(root).collect()
}

fn root(root: FileRoot) -> Result<Root, SettingsError> {
    let FileRoot { path, layout, shard, shard_id, expected, attachments, alternative, volume } = root;
    let refused = |source| SettingsError::Layout { root: path.clone(), source };
    let layout = match (shard, shard_id) {
        (Some(shard), None) => Layout::sharded(&layout, &shard).map_err(refused)?,
        (None, Some(id)) => Layout::whole(&layout, &id).map_err(refused)?,
        (Some(_), Some(_)) | (None, None) => return Err(SettingsError::Sharding { root: path }),
    };
    let layout = match attachments {
        Some(below) => layout.with_attachments(&below).map_err(refused)?,
        None => layout,
    };
    let layout = match alternative {
        Some(alternative) => layout.with_alternative(&alternative).map_err(refused)?,
        None => layout,
    };
    let marker_only = match volume.as_deref() {
        Some("marker") => true,
        Some("fs") | None => false,
        Some(text) => return Err(SettingsError::Volume { root: path, text: text.to_owned() }),
    };
    let expected = expected.map(|list| absolute("expected", list)).transpose()?;
    let questions = Questions::default();
    Ok(Root { path: absolute("path", path)?, layout, expected, marker_only, questions })
}

fn label((key, value): (String, String)) -> Result<(LabelKey, LabelValue), SettingsError> {
    let name = |source| SettingsError::Name { key: format!("labels.{key}"), source };
    Ok((LabelKey::new(&key).map_err(name)?, LabelValue::new(&value).map_err(name)?))
}

/// An endpoint that does not leave the machine.
fn endpoint(text: String) -> Result<String, SettingsError> {
    let local = match text.strip_prefix("http://") {
        Some(rest) => {
            rest.rsplit_once(':').is_some_and(|(host, port)| is_local(host) && port.parse::<u16>().is_ok())
        }
        None => text.strip_prefix("unix:").is_some_and(|path| path.starts_with('/')),
    };
    if local { Ok(text) } else { Err(SettingsError::Endpoint(text)) }
}

fn is_local(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn absolute(key: &'static str, path: PathBuf) -> Result<PathBuf, SettingsError> {
    if path.is_absolute() { Ok(path) } else { Err(SettingsError::Relative { key, path }) }
}

fn bounded(key: &'static str, value: usize, min: usize, max: usize) -> Result<usize, SettingsError> {
    if (min..=max).contains(&value) { Ok(value) } else { Err(SettingsError::Range { key, value, min, max }) }
}

fn span(key: &'static str, text: &str) -> Result<Duration, SettingsError> {
    text.parse::<Span>().map(Duration::from).map_err(|source| SettingsError::Span { key, source })
}

fn size(key: &'static str, text: &str) -> Result<u64, SettingsError> {
    text.parse::<ByteSize>().map(ByteSize::bytes).map_err(|source| SettingsError::Size { key, source })
}

#[cfg(test)]
mod tests;
