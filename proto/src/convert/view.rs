//! What people and dashboards are shown.

use rientro_types::{
    CampaignView, CellView, LABELS_MAX, MailboxGone, MailboxView, NodeView, SHARDS_NAMED_MAX, ShardState,
    ShardView, StateCounts, Twin, WAVES_MAX, WaitingOn, WaveForecast, WaveView,
};

use super::{ConvertError, Inside, Problem, Put, Take, TakeWithin};
use crate::v1;

/// One for each state that has shards.
impl Put<Vec<v1::StateCount>> for StateCounts {
    fn put(self) -> Vec<v1::StateCount> {
        let count = |state: ShardState| v1::StateCount {
            state: state.put(),
            shards: self.shards_in(state),
            mailboxes: self.mailboxes_in(state),
        };
        let there = |count: &v1::StateCount| count.shards > 0 || count.mailboxes > 0;
        ShardState::ALL.into_iter().map(count).filter(there).collect()
    }
}

impl Take<Vec<v1::StateCount>> for StateCounts {
    fn take(wire: Vec<v1::StateCount>) -> Result<Self, ConvertError> {
        let mut counts = Self::default();
        let mut seen = [false; ShardState::ALL.len()];
        for (at, v1::StateCount { state, shards, mailboxes }) in wire.into_iter().enumerate() {
            let state = ShardState::take(state).inside("state").inside_element(at)? as usize;
            if std::mem::replace(&mut seen[state], true) {
                return Err(Problem::Repeated).inside_element(at);
            }
            (counts.shards[state], counts.mailboxes[state]) = (shards, mailboxes);
        }
        Ok(counts)
    }
}

oneof!(WaitingOn in waiting_on, waiting_on: WaitingOn => WaitingOn {
    NodeBudget { node, busy, max },
    DomainBudget { label, value, busy, max, silent },
    NodeOffline { node, unheard_for as unheard_for_ms, silent_in as silent_in_ms },
    Turn,
    Wave { wave, current, promotion, earlier },
    OpeningBudget { busy, max },
    Backoff { left as left_ms },
    Task { running as running_ms, progress },
    Resume { campaign },
    Operator,
    Campaign,
});

message!(v1::ShardView => ShardView { shard, waiting_on });
message!(v1::MailboxGone => MailboxGone { listed as listed_unix_ms, missed as missed_unix_ms, served, shard });
message!(v1::MailboxView => MailboxView {
    mailbox,
    exception,
    open,
    since as since_unix_ms,
    listed as listed_unix_ms,
    shard,
});

message!(v1::Twin => Twin {
    since as since_unix_ms,
    last as last_unix_ms,
    knocks,
    serves,
    inside,
    quiet,
});

message!(v1::NodeView => NodeView {
    node,
    incarnation,
    labels in 0..=LABELS_MAX,
    connected,
    heard_ago as heard_ago_ms,
    silent as silent_unix_ms,
    verifying,
    confirming,
    counts,
    twin,
});

message!(v1::WaveView => WaveView { wave, state, counts, mailboxes_lost, mailboxes_returning, mailboxes_lost_max });

message!(v1::CampaignView => CampaignView {
    campaign,
    revision,
    plan,
    source,
    state,
    started as started_unix_ms,
    ended as ended_unix_ms,
    wave,
    counts,
    bytes_verified,
    shards_gone,
    waves in 0..=WAVES_MAX,
});

message!(v1::CellView => CellView {
    cell,
    incarnation,
    epoch,
    seq_next,
    at as at_unix_ms,
    limits,
    nodes,
    nodes_connected,
    nodes_silent,
    nodes_twinned,
    counts,
    shards_contested,
    shards_impaired,
    campaigns_live,
    leading_since as leading_since_unix_ms,
});

message!(v1::WaveForecast => WaveForecast { wave, shards in 0..=SHARDS_NAMED_MAX, mailboxes, bytes });
