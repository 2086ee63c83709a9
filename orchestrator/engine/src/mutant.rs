//! Ways to break one invariant each, on purpose, so that the tests can prove that they would notice.
//!
//! Without the cargo feature `mutants` there is no way to make an engine with any but [`Mutant::None`].

/// Which invariant this engine breaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mutant {
    /// None: the engine as it is.
    #[default]
    None,
    /// R1: a failed verification lets the shard open.
    OpenUnverified,
    /// R1: a shard opens on a confirmation, however old.
    OpenOnOldWord,
    /// R1: a result that waited is as young as its arrival.
    DateByArrival,
    /// R2: the node budget is not looked at.
    IgnoreBudget,
    /// R2: how many shards of a campaign open at once is not looked at.
    OpenMoreAtOnce,
    /// R3: the wave of a shard is not looked at before it opens.
    OpenAnyWave,
    /// R4: what an operator is told is not in the journal.
    ForgetRecord,
    /// T28: a copy of an agent takes the place of one that is heard.
    AdmitTwin,
    /// R6: a silent node is never charged.
    ForgiveSilence,
    /// R6, R12: who waits for a place that nobody frees waits for ever.
    AwaitForEver,
    /// R6: a wave that passes by itself has answered for its losses.
    ForgiveUnasked,
    /// R6: a loss that was forgiven forgives the next one of its shard.
    ForgiveTwice,
    /// R6, T27: absence counts against deadlines.
    ChargeAbsence,
    /// R7: an unknown verdict passes.
    PassUnknown,
    /// R7: what vanishes from a closed shard is forgotten with the next inventory.
    ForgetMissing,
    /// R7: what a list lacks is not looked at while the number of mailboxes is right.
    CountOnly,
    /// R8: an abort cancels nothing on the agents.
    AbortQuietly,
    /// R8: what has ended is neither paused nor aborted, though it would go on.
    SpareEnded,
    /// T29: what a node serves of a doubted shard of another node is closed.
    CloseUnasked,
    /// R11: a record names nobody.
    NamelessActor,
    /// R12: a failed try is never followed by another.
    NeverRetry,
    /// R12: a campaign ends with its last wave, whatever is on its way again.
    EndEarly,
}

impl Mutant {
    /// Every mutant.
    pub const ALL: [Self; 22] = [
        Self::OpenUnverified,
        Self::OpenOnOldWord,
        Self::DateByArrival,
        Self::IgnoreBudget,
        Self::OpenMoreAtOnce,
        Self::OpenAnyWave,
        Self::ForgetRecord,
        Self::AdmitTwin,
        Self::ForgiveSilence,
        Self::AwaitForEver,
        Self::ForgiveUnasked,
        Self::ForgiveTwice,
        Self::ChargeAbsence,
        Self::PassUnknown,
        Self::ForgetMissing,
        Self::CountOnly,
        Self::AbortQuietly,
        Self::SpareEnded,
        Self::CloseUnasked,
        Self::NamelessActor,
        Self::NeverRetry,
        Self::EndEarly,
    ];
}
