//! Compares what was broken with what a verifier found: its precision and its recall.
//!
//! Takes findings from wherever they come (the verifier's own crate, an agent, the operator's interface), and damage from [`crate::damage`]. It
//! shares no code with a verifier.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rientro_types::Finding;

use crate::damage::Damage;

/// What was found in one shard.
#[derive(Clone, Debug)]
pub struct Found {
    /// Root folder of the node; must be as in the list of damage.
    pub root: PathBuf,
    /// The shard's folder inside it.
    pub shard: String,
    /// All findings.
    pub findings: Vec<Finding>,
}

impl Found {
    fn is_of(&self, damage: &Damage) -> bool {
        damage.mailbox.root == self.root && damage.mailbox.shard == self.shard
    }
}

/// Findings that no damage explains: false alarms, described.
#[must_use]
pub fn unexplained(damages: &[Damage], found: &[Found]) -> Vec<String> {
    let mut left = Vec::new();
    for shard in found {
        let here: Vec<&Damage> = damages.iter().filter(|damage| shard.is_of(damage)).collect();
        for finding in &shard.findings {
            if !here.iter().any(|damage| damage.explains(mailbox_of(finding), finding)) {
                left.push(describe(&shard.shard, finding));
            }
        }
    }
    left
}

/// Damage that was to be found and was not, and damage held invisible that was found: described.
#[must_use]
pub fn misjudged(damages: &[Damage], found: &[Found]) -> Vec<String> {
    let seen = |damage: &Damage| {
        let mut findings = found.iter().filter(|shard| shard.is_of(damage)).flat_map(|shard| &shard.findings);
        findings.any(|finding| {
            damage.expected.contains(finding.kind) && damage.explains(mailbox_of(finding), finding)
        })
    };
    let wrong = damages.iter().filter(|damage| seen(damage) != damage.findable());
    wrong.map(describe_damage).collect()
}

/// The mailbox a finding is about, as a path inside the shard.
#[must_use]
pub fn mailbox_of(finding: &Finding) -> &Path {
    Path::new(OsStr::from_bytes(&finding.mailbox))
}

/// The place a finding is about, as a path inside the mailbox.
#[must_use]
pub fn place_of(finding: &Finding) -> &Path {
    Path::new(OsStr::from_bytes(&finding.path))
}

fn describe(shard: &str, finding: &Finding) -> String {
    let (mailbox, place) = (mailbox_of(finding).display(), place_of(finding).display());
    format!("{} in {shard}/{mailbox} {place}: {}", finding.kind, finding.detail)
}

fn describe_damage(damage: &Damage) -> String {
    let kinds: Vec<&str> = damage.expected.iter().map(|kind| kind.code()).collect();
    let (mailbox, path) = (damage.mailbox.folder(), damage.path.display());
    format!("{} in {} {path}: expected {}", damage.fault, mailbox.display(), kinds.join(" or "))
}
