//! Baselines of this node's shards: a manifest of each, in one directory.
//!
//! They are written while mail is healthy, and read by verifications at the level of baselines. A shard keeps its baseline when its
//! volume moves to another root of the node. One that is missing or damaged is a finding, and its shard is unknown at that level.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rientro_mailstore::{
    Baseline, Control, Manifest, ManifestError, Report, Target, Task, Written, verify_against,
    without_baseline, write_baseline,
};
use rientro_types::{Finding, ShardId};

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
        self.path.join(format!("{}.manifest", shard.as_str()))
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
            Err(error) => without_baseline(&told(&error), sink),
        }
    }

    /// Writes the baseline of a shard; what is unchanged since the one that is there is not read again. That one is replaced where
    /// damage is found only if `damaged_too` says so.
    ///
    /// # Errors
    /// [`ManifestError`]; the one that is there stays.
    pub fn write(
        &self,
        shard: ShardId,
        task: &Task<'_>,
        (now_ms, damaged_too): (u64, bool),
        control: &Control,
        sink: &mut dyn FnMut(Finding),
    ) -> Result<Written, ManifestError> {
        let create = |source| ManifestError::Io { what: "create", path: self.path.clone(), source };
        fs::create_dir_all(&self.path).map_err(create)?;
        let path = self.path_of(shard);
        let previous = match Manifest::open(&path) {
            Ok(manifest) => Some(manifest),
            Err(ManifestError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => None,
            // What cannot be used is written anew.
            Err(ManifestError::Malformed { .. } | ManifestError::Version { .. }) => None,
            Err(
                error
                @ (ManifestError::Io { .. } | ManifestError::Busy { .. } | ManifestError::Unfinished(_)),
            ) => return Err(error),
        };
        let target = Target { path: &path, previous: previous.as_ref(), damaged_too, now_ms };
        write_baseline(task, target, control, sink)
    }

    /// The directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.path
    }
}

/// Why a baseline cannot be used, and what is behind it.
fn told(error: &ManifestError) -> String {
    let source = std::error::Error::source(error).map_or(String::new(), |source| format!(": {source}"));
    format!("{error}{source}")
}
