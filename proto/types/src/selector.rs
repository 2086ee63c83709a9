//! Which shards an operator's verb is about.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use crate::{CampaignId, FindingKinds, LabelKey, LabelValue, ShardId, WaveNo};

/// A shard's state in one word: what tables show and selectors match.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum ShardState {
    /// Out of service, and no running campaign is about to change that.
    Closed = 0,
    /// In a campaign, waiting for its verification.
    Waiting = 1,
    /// An agent reads it.
    Verifying = 2,
    /// A try failed; the next one waits.
    Backoff = 3,
    /// Verified; waiting for its wave.
    Verified = 4,
    /// An agent checks that nothing changed since the verification.
    Confirming = 5,
    /// Services are being opened.
    Opening = 6,
    /// In service.
    Open = 7,
    /// May not go on; the reason says why.
    Held = 8,
    /// All tries are spent; an operator decides.
    Failed = 9,
}

impl ShardState {
    /// Every state, by number.
    pub const ALL: [Self; 10] = [
        Self::Closed,
        Self::Waiting,
        Self::Verifying,
        Self::Backoff,
        Self::Verified,
        Self::Confirming,
        Self::Opening,
        Self::Open,
        Self::Held,
        Self::Failed,
    ];

    /// The word operators see and select by.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Waiting => "waiting",
            Self::Verifying => "verifying",
            Self::Backoff => "backoff",
            Self::Verified => "verified",
            Self::Confirming => "confirming",
            Self::Opening => "opening",
            Self::Open => "open",
            Self::Held => "held",
            Self::Failed => "failed",
        }
    }
}

impl fmt::Display for ShardState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A text names no state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not a shard state")]
pub struct ShardStateError;

impl FromStr for ShardState {
    type Err = ShardStateError;
    fn from_str(text: &str) -> Result<Self, ShardStateError> {
        Self::ALL.into_iter().find(|state| state.name() == text).ok_or(ShardStateError)
    }
}

/// A conjunction: a shard matches when every part that is present matches. Without any part it matches every shard, which
/// verbs refuse unless `all` says that this is meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    /// Every shard is meant, though nothing narrows the selection.
    pub all: bool,
    /// Shards of this campaign.
    pub campaign: Option<CampaignId>,
    /// Shards of this wave of the campaign; needs `campaign`.
    pub wave: Option<WaveNo>,
    /// Shards on nodes that carry all of these labels.
    pub labels: BTreeMap<LabelKey, LabelValue>,
    /// Shards in one of these states; empty for any.
    pub states: Vec<ShardState>,
    /// Shards whose newest verification saw at least one of these kinds; empty for any.
    pub findings: FindingKinds,
    /// These shards; empty for any; at most [`crate::SHARDS_NAMED_MAX`].
    pub shards: Vec<ShardId>,
}

impl Selector {
    /// Whether nothing narrows the selection.
    #[must_use]
    pub fn is_unbounded(&self) -> bool {
        let Self { all: _, campaign, wave, labels, states, findings, shards } = self;
        campaign.is_none()
            && wave.is_none()
            && labels.is_empty()
            && states.is_empty()
            && *findings == FindingKinds::NONE
            && shards.is_empty()
    }
}
