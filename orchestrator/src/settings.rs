//! What the orchestrator runs with: a file, then the environment, then flags, converted once.
//!
//! A key that is not known is refused with the one that was probably meant. Sizes and durations are written as people write
//! them.

use std::collections::BTreeSet;
use std::fmt;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use clap::{Parser, ValueEnum};
use rientro_types::{ByteSize, CellId, Incarnation};
use serde::Deserialize;

use crate::journal::RedbOptions;
use crate::listen::{Address, AddressError};
use crate::named_file::open_named;
use crate::plan::nearest::nearest;
use crate::state_dir::{NewLife, life_floor};

/// Where agents and operators find an orchestrator that was told nothing else.
const LISTEN: &str = "127.0.0.1:7400";
/// Where metrics are found.
const LISTEN_METRICS: &str = "127.0.0.1:7401";
/// Records between two snapshots: replaying so many takes well under a second.
const SNAPSHOT_EVERY_RECORDS: u64 = 200_000;
/// Fewer would make snapshots all the time.
const SNAPSHOT_EVERY_RECORDS_MIN: u64 = 1_000;
/// Largest settings file; a person writes a few lines.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The socket for operators in the state directory.
pub const OPERATORS_SOCKET: &str = "operators.sock";
/// Longest path of a socket: what the kernel has room for (unix(7)), without the byte that ends it.
pub const SOCKET_PATH_BYTES_MAX: usize = 107;

/// How log lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Leads a cell: verifies closed mailbox shards and brings them back, wave by wave.
#[derive(Clone, Debug, Default, Parser)]
#[command(name = "rientro-orchestrator", version)]
pub struct Flags {
    /// Settings file, in TOML
    #[arg(long, env = "RIENTRO_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Name of the cell; a journal of another cell is refused
    #[arg(long, env = "RIENTRO_CELL", value_name = "NAME")]
    pub cell: Option<String>,
    /// Where the journal and the cell's mailbox key are kept
    #[arg(long, env = "RIENTRO_STATE_DIR", value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// Where agents connect; may be given several times: `127.0.0.1:7400`, `[::1]:7400` or `unix:/path`
    #[arg(long, env = "RIENTRO_LISTEN_AGENTS", value_name = "ADDRESS", value_delimiter = ',')]
    pub listen_agents: Vec<String>,
    /// Where operators connect; may be given several times, and may be where agents connect. The socket `operators.sock` in the
    /// state directory is always one of them
    #[arg(long, env = "RIENTRO_LISTEN_OPERATORS", value_name = "ADDRESS", value_delimiter = ',')]
    pub listen_operators: Vec<String>,
    /// Where Prometheus finds metrics; `off` for nowhere
    #[arg(long, env = "RIENTRO_LISTEN_METRICS", value_name = "ADDRESS")]
    pub listen_metrics: Option<String>,
    /// How log lines are written, to standard error
    #[arg(long, env = "RIENTRO_LOG_FORMAT", value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
    /// What is logged, such as `info` or `rientro_orchestrator=debug`
    #[arg(long, env = "RIENTRO_LOG", value_name = "FILTER")]
    pub log: Option<String>,
    /// The journal was put back from a backup by other means than `rientro journal restore`: begin a new life of the cell
    #[arg(long)]
    pub restored: bool,
    /// With --restored: the newest life of the cell that any agent has met. The life that begins is numbered by the clock; where that
    /// was set back since, it must be told what to be above
    #[arg(long, value_name = "LIFE", requires = "restored", value_parser = life_floor)]
    pub life_floor: Option<Incarnation>,
    /// Print the effective settings and exit
    #[arg(long)]
    pub check: bool,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct File {
    cell: Option<String>,
    state_dir: Option<PathBuf>,
    listen: FileListen,
    journal: FileJournal,
    log: FileLog,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct FileListen {
    agents: Option<Vec<String>>,
    operators: Option<Vec<String>>,
    metrics: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct FileJournal {
    cache: Option<String>,
    reserve: Option<String>,
    snapshot_every_records: Option<u64>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct FileLog {
    format: Option<LogFormat>,
    filter: Option<String>,
}

/// Every key of the file.
const KEYS: [&str; 10] = [
    "cell",
    "state_dir",
    "listen.agents",
    "listen.operators",
    "listen.metrics",
    "journal.cache",
    "journal.reserve",
    "journal.snapshot_every_records",
    "log.format",
    "log.filter",
];

/// Why settings are refused.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file cannot be read.
    #[error("could not read {path}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is larger than any settings are.
    #[error("{path} is larger than {FILE_BYTES_MAX} bytes; it does not look like a settings file")]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// The file is not TOML, or a value has the wrong kind.
    #[error("{path}: {problem}")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong, with line and column.
        problem: String,
    },
    /// A key is not known.
    #[error("{path}: `{key}` is not a setting{}", meant.map(|m| format!("; is `{m}` meant?")).unwrap_or_default())]
    UnknownKey {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
        /// The one that was probably meant.
        meant: Option<&'static str>,
    },
    /// Something that must be set is not.
    #[error("`{0}` is not set; set it in the settings file, in the environment or by a flag")]
    Missing(&'static str),
    /// A value is not of its kind.
    #[error("`{key}`: {text:?} {problem}")]
    Value {
        /// The key.
        key: &'static str,
        /// The value.
        text: String,
        /// What is wrong.
        problem: String,
    },
    /// An address is refused.
    #[error("`{key}`: {error}")]
    Address {
        /// The key.
        key: &'static str,
        /// Why.
        error: AddressError,
    },
}

/// Validated settings.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The cell's name.
    pub cell: CellId,
    /// Where the journal and the key are.
    pub state_dir: PathBuf,
    /// Where agents connect.
    pub agents: BTreeSet<Address>,
    /// Where operators connect, a socket in the state directory among them.
    pub operators: BTreeSet<Address>,
    /// Where metrics are found, if anywhere.
    pub metrics: Option<Address>,
    /// Settings of the journal.
    pub journal: RedbOptions,
    /// Records between two snapshots.
    pub snapshot_every_records: u64,
    /// How log lines are written.
    pub log_format: LogFormat,
    /// What is logged.
    pub log_filter: String,
    /// The life to begin, when the journal was restored.
    pub restored: Option<NewLife>,
}

impl Settings {
    /// Puts file and flags together; clap has put the environment behind the flags.
    ///
    /// # Errors
    /// [`SettingsError`], naming the file and the key.
    pub fn load(flags: Flags) -> Result<Self, SettingsError> {
        let file = match &flags.config {
            Some(path) => read(path)?,
            None => File::default(),
        };
        Self::merge(flags, file)
    }

    /// Whether operators have the socket in the state directory, which nobody else can fill.
    #[must_use]
    pub fn has_own_socket(&self) -> bool {
        state_dir_socket(&self.state_dir).is_some()
    }

    fn merge(flags: Flags, file: File) -> Result<Self, SettingsError> {
        let cell = flags.cell.or(file.cell).ok_or(SettingsError::Missing("cell"))?;
        let state_dir = flags.state_dir.or(file.state_dir).ok_or(SettingsError::Missing("state_dir"))?;
        let journal = RedbOptions {
            cache_bytes: usize::try_from(size("journal.cache", file.journal.cache, "16 MiB")?)
                .unwrap_or(usize::MAX),
            reserve_bytes: size("journal.reserve", file.journal.reserve, "16 MiB")?,
        };
        let mut operators = addresses("listen.operators", flags.listen_operators, file.listen.operators)?;
        operators.extend(state_dir_socket(&state_dir));
        Ok(Self {
            cell: CellId::new(&cell).map_err(|e| value("cell", cell, &e))?,
            state_dir,
            agents: addresses("listen.agents", flags.listen_agents, file.listen.agents)?,
            operators,
            metrics: metrics(flags.listen_metrics.or(file.listen.metrics))?,
            journal,
            snapshot_every_records: snapshot_every(file.journal.snapshot_every_records)?,
            log_format: flags.log_format.or(file.log.format).unwrap_or_default(),
            log_filter: flags.log.or(file.log.filter).unwrap_or_else(|| "info".to_owned()),
            restored: flags.restored.then_some(NewLife { above: flags.life_floor }),
        })
    }
}

fn value(key: &'static str, text: String, problem: &impl ToString) -> SettingsError {
    SettingsError::Value { key, text, problem: problem.to_string() }
}

fn size(key: &'static str, text: Option<String>, default: &str) -> Result<u64, SettingsError> {
    let text = text.unwrap_or_else(|| default.to_owned());
    let size: ByteSize = text.parse().map_err(|e| value(key, text, &e))?;
    Ok(size.bytes())
}

fn snapshot_every(records: Option<u64>) -> Result<u64, SettingsError> {
    let records = records.unwrap_or(SNAPSHOT_EVERY_RECORDS);
    if records >= SNAPSHOT_EVERY_RECORDS_MIN {
        return Ok(records);
    }
    let problem = format!("is below {SNAPSHOT_EVERY_RECORDS_MIN}; snapshots would be made all the time");
    Err(value("journal.snapshot_every_records", records.to_string(), &problem))
}

fn addresses(
    key: &'static str,
    flags: Vec<String>,
    file: Option<Vec<String>>,
) -> Result<BTreeSet<Address>, SettingsError> {
    let texts = if flags.is_empty() { file.unwrap_or_else(|| vec![LISTEN.to_owned()]) } else { flags };
    if texts.is_empty() {
        return Err(SettingsError::Missing(key));
    }
    let parse = |text: String| text.parse().map_err(|error| SettingsError::Address { key, error });
    texts.into_iter().map(parse).collect()
}

/// A way in for operators that nobody else can fill: only who may enter the state directory reaches it. None where the path is
/// longer than a socket's may be.
fn state_dir_socket(state_dir: &Path) -> Option<Address> {
    let path = state_dir.join(OPERATORS_SOCKET);
    (path.as_os_str().len() <= SOCKET_PATH_BYTES_MAX).then_some(Address::Unix(path))
}

fn metrics(text: Option<String>) -> Result<Option<Address>, SettingsError> {
    let text = text.unwrap_or_else(|| LISTEN_METRICS.to_owned());
    if text == "off" {
        return Ok(None);
    }
    let address = text.parse().map_err(|error| SettingsError::Address { key: "listen.metrics", error })?;
    Ok(Some(address))
}

fn read(path: &Path) -> Result<File, SettingsError> {
    let unreadable = |source| SettingsError::Unreadable { path: path.to_owned(), source };
    let (file, metadata) = open_named(path).map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(unreadable(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file")));
    }
    let mut text = String::new();
    // Counted while it is read: a file that grows has no other bound.
    let bytes = file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(unreadable)?;
    if u64::try_from(bytes).is_ok_and(|bytes| bytes <= FILE_BYTES_MAX) {
        parse(path, &text)
    } else {
        Err(SettingsError::TooLarge { path: path.to_owned() })
    }
}

fn parse(path: &Path, text: &str) -> Result<File, SettingsError> {
    let invalid =
        |e: toml::de::Error| SettingsError::Invalid { path: path.to_owned(), problem: e.to_string() };
    let table: toml::Table = text.parse().map_err(invalid)?;
    if let Some(key) = unknown_key(&table) {
        let meant = nearest(&key, &KEYS);
        return Err(SettingsError::UnknownKey { path: path.to_owned(), key, meant });
    }
    toml::from_str(text).map_err(invalid)
}

/// The first key that is not known.
fn unknown_key(table: &toml::Table) -> Option<String> {
    let paths = table.iter().flat_map(|(key, value)| match value.as_table() {
        Some(inner) => inner.keys().map(|inner| format!("{key}.{inner}")).collect(),
        None => vec![key.clone()],
    });
    paths.into_iter().find(|path| !KEYS.contains(&path.as_str()))
}

impl fmt::Display for Settings {
    /// The effective settings, as a settings file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |addresses: &BTreeSet<Address>| {
            addresses.iter().map(|a| format!("{:?}", a.to_string())).collect::<Vec<_>>().join(", ")
        };
        let metrics = self.metrics.as_ref().map_or("off".to_owned(), ToString::to_string);
        let format = match self.log_format {
            LogFormat::Text => "text",
            LogFormat::Json => "json",
        };
        writeln!(f, "cell = {:?}", self.cell.as_str())?;
        writeln!(f, "state_dir = {:?}", self.state_dir.display().to_string())?;
        writeln!(f, "\n[listen]")?;
        writeln!(f, "agents = [{}]", list(&self.agents))?;
        writeln!(f, "operators = [{}]", list(&self.operators))?;
        writeln!(f, "metrics = {metrics:?}")?;
        writeln!(f, "\n[journal]")?;
        writeln!(f, "cache = \"{}\"", ByteSize::from_bytes(self.journal.cache_bytes as u64))?;
        writeln!(f, "reserve = \"{}\"", ByteSize::from_bytes(self.journal.reserve_bytes))?;
        writeln!(f, "snapshot_every_records = {}", self.snapshot_every_records)?;
        writeln!(f, "\n[log]")?;
        writeln!(f, "format = {format:?}")?;
        writeln!(f, "filter = {:?}", self.log_filter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str, flags: Flags) -> Result<Settings, SettingsError> {
        Settings::merge(flags, parse(Path::new("rientro.toml"), text)?)
    }

    const MINIMAL: &str = "cell = \"demo\"\nstate_dir = \"/var/lib/rientro\"\n";

    #[test]
    fn flags_go_before_the_file_and_what_is_printed_reads_back() {
        let text = format!("{MINIMAL}[listen]\nmetrics = \"off\"\n[journal]\ncache = \"8 MiB\"\n");
        let flags = Flags { cell: Some("other".to_owned()), ..Flags::default() };
        let settings = load(&text, flags).unwrap();
        assert_eq!((settings.cell.as_str(), settings.journal.cache_bytes), ("other", 8 << 20));
        let again = load(&settings.to_string(), Flags::default()).unwrap();
        assert_eq!(again.to_string(), settings.to_string());
    }

    /// Whatever is set, operators have a way in that a flood elsewhere cannot fill; a path too long for it stops nothing.
    #[test]
    fn operators_have_a_socket_in_the_state_directory() {
        let own = Address::Unix("/var/lib/rientro/operators.sock".into());
        for listen in ["", "[listen]\noperators = [\"127.0.0.1:7500\"]\n"] {
            let settings = load(&format!("{MINIMAL}{listen}"), Flags::default()).unwrap();
            assert_eq!(settings.operators.len(), 2);
            assert!(settings.has_own_socket());
            assert!(settings.operators.contains(&own) && !settings.agents.contains(&own));
        }
        let long = format!("cell = \"demo\"\nstate_dir = \"/{}\"\n", "d".repeat(SOCKET_PATH_BYTES_MAX));
        let without = load(&long, Flags::default()).unwrap();
        assert_eq!((without.operators.len(), without.has_own_socket()), (1, false));
    }

    #[test]
    fn an_unknown_key_is_refused_with_the_one_that_was_meant() {
        let refused = load(&format!("{MINIMAL}[listen]\nagent = []\n"), Flags::default()).unwrap_err();
        assert!(refused.to_string().contains("is `listen.agents` meant?"), "{refused}");
        let refused = load("cells = \"x\"\n", Flags::default()).unwrap_err();
        assert!(refused.to_string().contains("is `cell` meant?"), "{refused}");
    }

    #[test]
    fn a_file_beyond_its_bound_or_without_one_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let [long, pipe] = ["long", "pipe"].map(|name| dir.path().join(name));
        std::fs::write(&long, "#".repeat(usize::try_from(FILE_BYTES_MAX).unwrap() + 1)).unwrap();
        let load = |config: &Path| {
            Settings::load(Flags { config: Some(config.to_owned()), ..Flags::default() }).unwrap_err()
        };
        assert!(matches!(load(&long), SettingsError::TooLarge { .. }));
        // What has no end, or whose end somebody else decides on, is not begun.
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RUSR).unwrap();
        for other in [Path::new("/dev/zero"), &pipe, dir.path()] {
            let refused = load(other);
            let SettingsError::Unreadable { source, .. } = &refused else { panic!("{refused:?}") };
            assert_eq!(source.to_string(), "it is no regular file");
        }
    }

    #[test]
    fn values_that_cannot_be_used_are_refused_by_name() {
        let refused = |text: &str| load(text, Flags::default()).unwrap_err().to_string();
        assert!(refused("").contains("`cell` is not set"));
        assert!(refused(&format!("{MINIMAL}[listen]\nagents = [\"0.0.0.0:1\"]\n")).contains("other hosts"));
        assert!(refused(&format!("{MINIMAL}[journal]\nreserve = \"much\"\n")).contains("`journal.reserve`"));
        assert!(refused(&format!("{MINIMAL}[journal]\nsnapshot_every_records = 3\n")).contains("below"));
        assert!(refused("cell = 3\nstate_dir = \"/x\"\n").contains("rientro.toml"));
    }
}
