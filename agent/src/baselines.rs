//! Baselines of this node's shards: a manifest of each, in one directory.
//!
//! They are written while mail is healthy, and read by verifications at the level of baselines. A shard keeps its baseline when its
//! volume moves to another root of the node. One that is missing or damaged is a finding, and its shard is unknown at that level.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

use rientro_mailstore::{
    Baseline, Control, Manifest, ManifestError, Report, Target, Task, Written, verify_against,
    verify_without_baseline, write_baseline,
};
use rientro_types::{Finding, ShardId};

/// What follows the name of a shard in that of its manifest.
const SUFFIX: &str = ".manifest";

/// How a baseline is written.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    /// The time, in milliseconds since 1970.
    pub now_ms: u64,
    /// Mailboxes that are damaged or gone are taken as they are, instead of keeping what the baseline has of them. Those of which anything
    /// could not be looked into keep it all the same.
    pub damaged_too: bool,
    /// Everything is read, and the one that is there is not: it may be damaged.
    pub anew: bool,
}

/// The directory of baselines.
#[derive(Clone, Debug)]
pub struct Baselines {
    path: PathBuf,
}

impl Baselines {
    /// The baselines in this directory, which may not be there yet.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Where the baseline of a shard is.
    #[must_use]
    pub fn path_of(&self, shard: ShardId) -> PathBuf {
        self.path.join(format!("{}{SUFFIX}", shard.as_str()))
    }

    /// Verifies a shard against its baseline.
    pub fn verify(
        &self,
        shard: ShardId,
        task: &Task<'_>,
        control: &Control,
        sink: &mut dyn FnMut(Finding),
    ) -> Report {
        match Manifest::open(&self.path_of(shard)) {
            Ok(manifest) => {
                let baseline = Baseline { manifest: &manifest, scratch: &self.path };
                verify_against(task, &baseline, control, sink).report
            }
            Err(error) => verify_without_baseline(task, &told(shard, &error), control, sink),
        }
    }

    /// Writes the baseline of a shard; what is unchanged since the one that is there is not read again. Mailboxes that are damaged,
    /// unreadable or gone keep what that one has of them, unless the manner says otherwise.
    ///
    /// # Errors
    /// [`ManifestError`]; the one that is there stays.
    pub fn write(
        &self,
        shard: ShardId,
        task: &Task<'_>,
        Manner { now_ms, damaged_too, anew }: Manner,
        control: &Control,
        sink: &mut dyn FnMut(Finding),
    ) -> Result<Written, ManifestError> {
        let create = |source| ManifestError::Io { what: "create", path: self.path.clone(), source };
        // Which mailboxes there are is nobody else's affair.
        DirBuilder::new().recursive(true).mode(0o700).create(&self.path).map_err(create)?;
        let path = self.path_of(shard);
        let before = if anew { None } else { Some(Manifest::open(&path)) };
        let previous = match before {
            Some(Err(error)) if !is_absent(&error) => return Err(error),
            before => before.and_then(Result::ok),
        };
        let target = Target { path: &path, previous: previous.as_ref(), damaged_too, now_ms };
        write_baseline(task, target, control, sink)
    }

    /// Names of shards that have a baseline here.
    ///
    /// # Errors
    /// That the directory cannot be listed; one that is not there has none.
    pub fn shards(&self) -> io::Result<BTreeSet<String>> {
        let listed = match fs::read_dir(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
            listed => listed?,
        };
        let mut shards = BTreeSet::new();
        for entry in listed {
            let name = entry?.file_name();
            shards.extend(name.to_str().and_then(|name| name.strip_suffix(SUFFIX)).map(str::to_owned));
        }
        Ok(shards)
    }
}

fn is_absent(error: &ManifestError) -> bool {
    matches!(error, ManifestError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
}

/// Why a baseline cannot be used or written, what is behind it, and what to do. It has to be short: it becomes the detail of a finding.
pub(crate) fn told(shard: ShardId, error: &ManifestError) -> String {
    let source = std::error::Error::source(error).map_or(String::new(), |source| format!(": {source}"));
    let advice = advice(shard, error).map_or(String::new(), |advice| format!("; {advice}"));
    format!("{error}{source}{advice}")
}

fn advice(shard: ShardId, error: &ManifestError) -> Option<String> {
    if is_unusable(error) {
        return Some(format!(
            "`rientro-agent manifest renew --config ... --anew {shard}` writes a new one of healthy mail"
        ));
    }
    if is_absent(error) {
        return Some(format!(
            "`rientro-agent manifest renew --config ... {shard}` writes one of healthy mail"
        ));
    }
    let is_denied =
        matches!(error, ManifestError::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied);
    is_denied.then(|| "baselines belong to the user that the agent runs as, who renews them".to_owned())
}

/// Whether what stands there is of no use for a renewal, today or later, so that only a writing that does not look at it replaces it.
pub(crate) fn is_unusable(error: &ManifestError) -> bool {
    match error {
        ManifestError::Malformed { .. }
        | ManifestError::Foreign { .. }
        | ManifestError::OtherShard { .. }
        | ManifestError::Version { .. } => true,
        ManifestError::Io { .. }
        | ManifestError::Busy { .. }
        | ManifestError::Replaced { .. }
        | ManifestError::InTheWay { .. }
        | ManifestError::Unfinished(_) => false,
    }
}
