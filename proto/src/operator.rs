//! What operators ask of the orchestrator, and what it answers, where that is more than one word of `rientro-types`.

use rientro_types::{
    ACTOR_ID_BYTES_MAX, Advice, AttemptNo, CampaignId, CampaignView, CellId, CellTime, CellView, Decision,
    Digest, EXPLANATION_BYTES_MAX, Entry, FindingKinds, Incarnation, LocatedFinding, MailboxGone, MailboxId,
    MailboxView, NodeId, PATH_BYTES_MAX, PLAN_PROBLEMS_MAX, PlanProblem, Receipt, Refusal, SHARDS_NAMED_MAX,
    Selector, Seq, ShardId, ShardView, Verb, WaveForecast,
};

use crate::convert::{ConvertError, Inside, Problem, Put, Take, TakeWithin, cut_problems};
use crate::limits::{
    BACKUP_CHUNK_BYTES_MAX, BUILD_BYTES_MAX, DECISIONS_PER_ENTRY_MAX, FINDINGS_PER_PAGE_MAX,
    MAILBOX_VIEWS_MAX, MISSING_NAMED_MAX, NODES_AHEAD_MAX,
};
use crate::v1;

/// The cell, and whether it works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CellAnswer {
    /// As shown.
    pub cell: CellView,
    /// Build of the orchestrator, for people.
    pub build: String,
    /// Why the cell decides nothing at present, such as a full disk.
    pub trouble: Option<String>,
    /// Nodes that obeyed what the journal does not hold; at most [`NODES_AHEAD_MAX`].
    pub nodes_ahead: Vec<NodeId>,
}

/// Asks for shards.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShardsQuery {
    /// Which; an empty selector is every shard.
    pub selector: Selector,
    /// Only shards whose name comes after this one.
    pub after: Option<ShardId>,
    /// Most shards wanted; zero is no limit.
    pub max: u64,
}

/// One shard, and what is missing in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardAnswer {
    /// As shown.
    pub shard: ShardView,
    /// While it is held for missing mailboxes, some of these; at most [`MISSING_NAMED_MAX`].
    pub missing: Vec<MailboxId>,
    /// How many missing mailboxes are known by their ids.
    pub missing_known: u64,
}

/// Asks for a mailbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MailboxQuery {
    /// By its address as the provider writes it.
    Address(Vec<u8>),
    /// By its id.
    Mailbox(MailboxId),
}

/// Where a mailbox is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailboxAnswer {
    /// Its id.
    pub mailbox: MailboxId,
    /// Shards that list it; at most [`MAILBOX_VIEWS_MAX`].
    pub views: Vec<MailboxView>,
    /// Shards that listed it and list it no more, when none lists it; at most [`MAILBOX_VIEWS_MAX`].
    pub gone: Vec<MailboxGone>,
}

/// Part of a forecast.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ForecastPart {
    /// The plan cannot be carried out.
    Problems(Vec<PlanProblem>),
    /// A wave, or the next piece of the same wave; see [`forecast_pieces`].
    Wave(WaveForecast),
}

/// Asks for a decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Act {
    /// Who asks, as the tool knows it.
    pub actor: String,
    /// What.
    pub verb: Verb,
    /// Only tell what would happen.
    pub dry_run: bool,
}

/// What was decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ActAnswer {
    /// It was, or would be, done.
    Receipt(Receipt),
    /// It was, or would be, refused.
    Refusal(Refusal),
}

/// Asks for findings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FindingsQuery {
    /// Shards; an empty selector is every shard.
    pub selector: Selector,
    /// Kinds; empty for any.
    pub kinds: FindingKinds,
    /// Most findings of all shards together; zero is no limit.
    pub max: u64,
    /// Whether addresses and mailbox paths are wanted.
    pub with_addresses: bool,
}

/// Why findings cannot be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FindingsGap {
    /// The shard's node has no session.
    NodeOffline,
    /// The node no longer keeps them.
    Forgotten,
    /// The node did not answer in time.
    TimedOut,
    /// What the node sent is not what its verification found. Pages of this shard that came before are not to be relied on.
    Altered,
}

/// Part of the findings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FindingsAnswer {
    /// Findings of one verification.
    Page {
        /// The shard.
        shard: ShardId,
        /// The node that keeps them.
        node: NodeId,
        /// Try of the verification.
        attempt: AttemptNo,
        /// At most [`FINDINGS_PER_PAGE_MAX`].
        findings: Vec<LocatedFinding>,
        /// Whether the verification no longer counts.
        dropped: bool,
    },
    /// Findings that exist, or may exist of a verification that no longer counts, and cannot be shown.
    Missing {
        /// The shard.
        shard: ShardId,
        /// The node that keeps them.
        node: NodeId,
        /// Why.
        gap: FindingsGap,
    },
    /// The end; without it the answer is not whole.
    End {
        /// Findings that match.
        findings_total: u64,
        /// Findings shown.
        findings_shown: u64,
    },
}

/// Asks to be told what happens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WatchQuery {
    /// Only this campaign; absent for all live ones.
    pub campaign: Option<CampaignId>,
    /// Whether decisions are wanted too.
    pub include_decisions: bool,
}

/// Decisions that became durable together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decided {
    /// Number of the entry's first record.
    pub seq: Seq,
    /// When.
    pub at: CellTime,
    /// What, in order.
    pub decisions: Vec<Decision>,
}

/// Events that a reader was too slow for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lagged {
    /// How many.
    pub missed: u64,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchEvent {
    /// The cell as it is.
    Cell(Box<CellView>),
    /// A campaign as it is.
    Campaign(Box<CampaignView>),
    /// Decisions.
    Decided(Decided),
    /// Missed events.
    Lagged(Lagged),
}

/// One journal entry with its digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TailedEntry {
    /// As written.
    pub entry: Entry,
    /// The `previous` of the next entry.
    pub digest: Digest,
}

/// What a check of the journal said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JournalCheck {
    /// Every entry follows from the one before.
    Intact {
        /// Entries read.
        entries: u64,
        /// Records in them.
        records: u64,
        /// First record kept; zero when there is none.
        seq_first: Seq,
        /// Last record; zero when there is none.
        seq_last: Seq,
        /// Digest of the last entry.
        chain: Digest,
        /// What is wrong with the key of mailbox ids beside the journal; absent when it is the cell's.
        key_problem: Option<Advice>,
    },
    /// The chain is broken.
    Broken {
        /// Entries that were still right.
        entries: u64,
        /// Record where the first wrong entry begins, or should.
        seq: Seq,
        /// What is wrong.
        problem: String,
    },
}

/// What a copy of the journal is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackupHeader {
    /// The cell.
    pub cell: CellId,
    /// Its life.
    pub incarnation: Incarnation,
    /// Number of the first record that is not in the copy.
    pub seq_next: Seq,
    /// Digest of the last entry in the copy.
    pub chain: Digest,
}

/// The end of a copy of the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupEnd {
    /// Bytes sent in all chunks.
    pub bytes: u64,
    /// Digest of all chunks together.
    pub digest: Digest,
    /// What is wrong with the key of mailbox ids beside the journal; absent when it is the cell's.
    pub key_problem: Option<Advice>,
}

/// Part of a copy of the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BackupPart {
    /// What it is a copy of; first.
    Header(BackupHeader),
    /// Bytes of it; at most [`BACKUP_CHUNK_BYTES_MAX`].
    Chunk(Vec<u8>),
    /// The end; without it the copy is not whole.
    End(BackupEnd),
}

/// Cuts a wave into pieces of at most [`SHARDS_NAMED_MAX`] shards. The first counts the mailboxes and bytes of all.
#[must_use]
pub fn forecast_pieces(wave: WaveForecast) -> Vec<WaveForecast> {
    let WaveForecast { wave, shards, mailboxes, bytes } = wave;
    let mut pieces: Vec<_> = shards
        .chunks(SHARDS_NAMED_MAX)
        .map(|shards| WaveForecast { wave, shards: shards.to_vec(), mailboxes: 0, bytes: 0 })
        .collect();
    match pieces.first_mut() {
        Some(first) => (first.mailboxes, first.bytes) = (mailboxes, bytes),
        None => pieces.push(WaveForecast { wave, shards, mailboxes, bytes }),
    }
    pieces
}

/// Puts a piece of a wave to the pieces before.
pub fn join_forecast(waves: &mut Vec<WaveForecast>, piece: WaveForecast) {
    match waves.last_mut() {
        Some(last) if last.wave == piece.wave => {
            last.shards.extend(piece.shards);
            last.mailboxes += piece.mailboxes;
            last.bytes += piece.bytes;
        }
        Some(_) | None => waves.push(piece),
    }
}

choices!(v1::FindingsGap => FindingsGap { NodeOffline, Forgotten, TimedOut, Altered });

message!(v1::GetCellResponse => CellAnswer {
    cell,
    build in 0..=BUILD_BYTES_MAX,
    trouble in 0..=EXPLANATION_BYTES_MAX,
    nodes_ahead in 0..=NODES_AHEAD_MAX,
});
message!(v1::ListShardsRequest => ShardsQuery { selector, after, max });
message!(v1::GetShardResponse => ShardAnswer { shard, missing in 0..=MISSING_NAMED_MAX, missing_known });
message!(v1::FindMailboxResponse => MailboxAnswer {
    mailbox,
    views in 0..=MAILBOX_VIEWS_MAX,
    gone in 0..=MAILBOX_VIEWS_MAX,
});
message!(v1::ActRequest => Act { actor in 1..=ACTOR_ID_BYTES_MAX, verb, dry_run });
message!(v1::StreamFindingsRequest => FindingsQuery { selector, kinds, max, with_addresses });
message!(v1::WatchRequest => WatchQuery { campaign, include_decisions });
message!(v1::watch_response::Decided => Decided {
    seq,
    at as at_unix_ms,
    decisions in 0..=DECISIONS_PER_ENTRY_MAX,
});
message!(v1::watch_response::Lagged => Lagged { missed });
message!(v1::TailJournalResponse => TailedEntry { entry, digest });
message!(v1::backup_journal_response::Header => BackupHeader { cell, incarnation, seq_next, chain });
message!(v1::backup_journal_response::End => BackupEnd { bytes, digest, key_problem });
message!(v1::Advice => Advice { what in 0..=EXPLANATION_BYTES_MAX, next in 0..=EXPLANATION_BYTES_MAX });

envelope!(FindMailboxRequest in find_mailbox_request, who: Who => MailboxQuery {
    Address in 1..=PATH_BYTES_MAX,
    Mailbox,
});

envelope!(ActResponse in act_response, answer: Answer => ActAnswer { Receipt, Refusal });

envelope!(CheckPlanResponse in check_plan_response, answer: Answer => ForecastPart { Problems, Wave });

envelope!(WatchResponse in watch_response, event: Event => WatchEvent { Cell, Campaign, Decided, Lagged });

envelope!(BackupJournalResponse in backup_journal_response, part: Part => BackupPart {
    Header,
    Chunk in 0..=BACKUP_CHUNK_BYTES_MAX,
    End,
});

oneof!(StreamFindingsResponse in stream_findings_response, part: Part => FindingsAnswer {
    Page { shard, node, attempt, findings in 0..=FINDINGS_PER_PAGE_MAX, dropped },
    Missing { shard, node, gap },
    End { findings_total, findings_shown },
});

oneof!(VerifyJournalResponse in verify_journal_response, result: Result => JournalCheck {
    Intact { entries, records, seq_first, seq_last, chain, key_problem },
    Broken { entries, seq, problem in 0..=EXPLANATION_BYTES_MAX },
});

impl Put<v1::check_plan_response::Problems> for Vec<PlanProblem> {
    fn put(mut self) -> v1::check_plan_response::Problems {
        cut_problems(&mut self);
        v1::check_plan_response::Problems { problems: self.put() }
    }
}

impl Take<v1::check_plan_response::Problems> for Vec<PlanProblem> {
    fn take(wire: v1::check_plan_response::Problems) -> Result<Self, ConvertError> {
        TakeWithin::take_within(wire.problems, &(1..=PLAN_PROBLEMS_MAX)).inside("problems")
    }
}
