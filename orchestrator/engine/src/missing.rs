//! Mailboxes that were known and are not there any more.
//!
//! A directory that is gone looks like one that never was, so a shard of which a mailbox has vanished is read without a
//! finding. The earlier inventory is the evidence: while a shard serves nothing nobody can delete a mailbox in it, so what the
//! node shows is measured against what was known when it was closed. In service customers come and go: counts follow.
//!
//! Two witnesses speak. An inventory that shows fewer mailboxes, or a list that lacks known ones, holds the shard and leaves
//! the known count as it is. A verification that met fewer is no verification of the shard: it never leads to an opening,
//! whatever inventories say and whatever else held the shard meanwhile; a confirmation ties the opening to that
//! verification. An operator who accepts what a verification found accepts what it found, never that mailboxes are gone: that
//! is settled by the shard's name alone. What is graver, or is a question of its own (another volume, two nodes, a restored
//! journal), takes the place of this hold. When it is over an inventory says what it shows, the second witness speaks, and what
//! a list lacked, which is kept beside the graver hold, holds the shard again until a list or a person has ended that. A list
//! that lacks some while the graver hold stands is kept the same way: it is told once, and not again when the hold is over.

use rientro_types::{CellTime, Claim, HeldReason, Outcome, Phase, Record, ServiceSet, ShardId, UnknownCause};

use crate::engine::Engine;
use crate::mutant::Mutant;
use crate::state::{NodeIx, Shard, ShardIx};

impl Engine {
    /// The node of a shard shows so many mailboxes on the right volume.
    pub(crate) fn count(&mut self, ix: NodeIx, shard: ShardIx, claim: &Claim) {
        let s = self.state.shard(shard);
        // Of a journal that was restored nobody knows yet what the node serves but the node.
        let serving = s.is_in_service() || (s.doubted && !claim.services.is_empty());
        let follows = serving || self.state.mutant == Mutant::ForgetMissing;
        let unlisted = s.unlisted;
        let fewer = claim.mailboxes < s.mailboxes;
        let (id, measured) = (s.id, s.mailboxes != claim.mailboxes);
        if measured && (follows || !fewer) {
            self.decide_for(ix, Record::ShardMeasured { shard: id, mailboxes: claim.mailboxes });
        }
        if !follows && (fewer || unlisted > 0) {
            self.hold_missing(ix, shard, claim.mailboxes, unlisted);
        } else if self.state.shard(shard).held_by().is_some_and(|held| is_over_with(held, unlisted)) {
            self.decide_for(ix, Record::ShardReleased { shard: id });
        }
    }

    /// The node of a shard lists its mailboxes, and so many that were listed before are not among them. What the counts say
    /// stays as it is; what is away, in doubt or in service is not judged by a list, and what another question holds is judged
    /// by it when that is over.
    pub(crate) fn unlisted(&mut self, ix: NodeIx, shard: ShardId, unlisted: u64) {
        let Some(shard) = self.state.shard_ix.get(&shard).copied() else { return };
        let s = self.state.shard(shard);
        if s.node != ix {
            self.state.ignored.foreign += 1;
            return;
        }
        let missing = s.missing_mailboxes();
        let free = s.is_free_or_waits() || missing.is_some();
        let deaf = matches!(self.state.mutant, Mutant::ForgetMissing | Mutant::CountOnly);
        if s.is_in_service() || s.doubted || deaf {
            return;
        }
        if !free {
            if s.held_by().is_some_and(waits_with_list) && s.unlisted != unlisted {
                let shard = s.id;
                self.decide_for(ix, Record::ShardUnlisted { shard, unlisted });
            }
            return;
        }
        let (id, shown) = (s.id, missing.map_or(s.mailboxes, |missing| missing.shown));
        if unlisted > 0 || shown < s.mailboxes {
            self.hold_missing(ix, shard, shown, unlisted);
        } else if missing.is_some() {
            self.decide_for(ix, Record::ShardReleased { shard: id });
        }
    }

    fn hold_missing(&mut self, ix: NodeIx, shard: ShardIx, shown: u64, unlisted: u64) {
        let s = self.state.shard(shard);
        let reason = HeldReason::MailboxesMissing { known: s.mailboxes, shown, unlisted };
        let to_hold = match s.held_by() {
            Some(held) if !held.is_wait() => is_over_when_shown(held) && *held != reason,
            None | Some(_) => true,
        };
        if to_hold {
            let shard = s.id;
            self.decide_for(ix, Record::ShardHeld { shard, reason });
        }
    }
}

/// Whether an inventory that shows the shard whole, on the right volume, ends what holds it.
const fn is_over_when_shown(held: &HeldReason) -> bool {
    match held {
        HeldReason::VolumeWrong { .. }
        | HeldReason::ShardMissing { .. }
        | HeldReason::MailboxesMissing { .. } => true,
        HeldReason::Policy(_)
        | HeldReason::Unknown(_)
        | HeldReason::NodeSilent { .. }
        | HeldReason::NodeStuck { .. }
        | HeldReason::DomainStuck { .. }
        | HeldReason::OpeningOverdue { .. }
        | HeldReason::Contested { .. }
        | HeldReason::Disagreement { .. } => false,
    }
}

/// The same of a shard whose list lacked so many, which counts do not end.
const fn is_over_with(held: &HeldReason, unlisted: u64) -> bool {
    is_over_when_shown(held) && (unlisted == 0 || !matches!(held, HeldReason::MailboxesMissing { .. }))
}

/// Whether a list that is told while this holds the shard has its say when it is over: one of another volume counts too, as the
/// list of the right one is measured against it, and so does one of a shard that a try did not find between an inventory and
/// its lists.
const fn waits_with_list(held: &HeldReason) -> bool {
    match held {
        HeldReason::VolumeWrong { .. } | HeldReason::Contested { .. } | HeldReason::ShardMissing { .. } => {
            true
        }
        HeldReason::MailboxesMissing { .. }
        | HeldReason::Policy(_)
        | HeldReason::Unknown(_)
        | HeldReason::NodeSilent { .. }
        | HeldReason::NodeStuck { .. }
        | HeldReason::DomainStuck { .. }
        | HeldReason::OpeningOverdue { .. }
        | HeldReason::Disagreement { .. } => false,
    }
}

/// What is missing of a shard that is held for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Missing {
    pub(crate) shown: u64,
    pub(crate) unlisted: u64,
}

impl Shard {
    /// Whether customers may be at work in it, as far as the journal knows.
    pub(crate) fn is_in_service(&self) -> bool {
        self.services != ServiceSet::NONE || self.seen != ServiceSet::NONE
    }

    /// What is missing, when it is held for that.
    pub(crate) fn missing_mailboxes(&self) -> Option<Missing> {
        match self.held_by() {
            Some(HeldReason::MailboxesMissing { known: _, shown, unlisted }) => {
                Some(Missing { shown: *shown, unlisted: *unlisted })
            }
            _ => None,
        }
    }

    /// Whether the standing verification met fewer mailboxes than are known. One that did not come to its end tells nothing of
    /// how many there are.
    pub(crate) fn is_short(&self) -> bool {
        let Some(standing) = self.standing.as_deref() else { return false };
        let verdict = &standing.verification.verdict;
        let broken_off = matches!(
            verdict.outcome,
            Outcome::Unknown(UnknownCause::Incomplete | UnknownCause::LevelUnavailable)
        );
        self.services == ServiceSet::NONE && !broken_off && verdict.tally.mailboxes < self.mailboxes
    }

    /// Holds it when the verification that has just ended met fewer mailboxes than are known.
    pub(crate) fn hold_if_short(&mut self, at: CellTime) {
        let Some(standing) = self.standing.as_deref().filter(|_| self.is_short()) else { return };
        let shown = standing.verification.verdict.tally.mailboxes;
        let unlisted = self.unlisted;
        if self.blocked.is_none() || self.missing_mailboxes().is_some() {
            self.hold(HeldReason::MailboxesMissing { known: self.mailboxes, shown, unlisted }, at);
        }
    }

    /// What held it is over. Who is held for missing mailboxes and let go lacks none.
    pub(crate) fn release(&mut self) {
        if self.is_free_or_waits() {
            return self.end_wait();
        }
        if self.missing_mailboxes().is_some() {
            self.unlisted = 0;
        }
        self.unblock();
    }

    /// It is elsewhere: what held it where it was is over. What its list lacks goes with it, and has been lacking as long.
    pub(crate) fn move_hold(&mut self, at: CellTime) {
        match self.missing_mailboxes() {
            Some(Missing { shown: _, unlisted }) if unlisted > 0 => {
                let known = self.mailboxes;
                self.hold(HeldReason::MailboxesMissing { known, shown: known, unlisted }, at);
            }
            _ => self.unblock(),
        }
    }

    /// What its list lacked holds it again when nothing graver does.
    pub(crate) fn hold_for_unlisted(&mut self, at: CellTime) {
        if self.unlisted > 0 && self.blocked.is_none() && !self.is_in_service() {
            let (known, unlisted) = (self.mailboxes, self.unlisted);
            self.hold(HeldReason::MailboxesMissing { known, shown: known, unlisted }, at);
        }
    }

    /// What is free to go on goes on from a verification of all of it, or is verified again.
    pub(crate) fn redo_if_short(&mut self, at: CellTime) {
        if self.blocked.is_none() && self.is_short() {
            self.redo(at);
        }
    }

    /// A person takes what the node shows as right: that many are known from here on. A verification of another number is
    /// of another set, and so is one of other mailboxes in the same number.
    pub(crate) fn settle_missing(&mut self, at: CellTime) {
        let Some(Missing { shown, unlisted }) = self.missing_mailboxes() else { return };
        self.mailboxes = shown;
        self.unlisted = 0;
        self.unblock();
        let met = self.standing.as_deref().map(|standing| standing.verification.verdict.tally.mailboxes);
        if unlisted > 0 || met.is_some_and(|met| met != shown) {
            self.redo(at);
        }
    }

    /// Drops a verification that something could open on, and what was accepted of it.
    fn redo(&mut self, at: CellTime) {
        match self.phase {
            Phase::Verified | Phase::Confirming { .. } => {
                (self.standing, self.accepted) = (None, None);
                self.enter(Phase::Waiting, at);
            }
            Phase::Backoff { .. } => (self.standing, self.accepted) = (None, None),
            Phase::Closed { .. }
            | Phase::Waiting
            | Phase::Verifying { .. }
            | Phase::Opening { .. }
            | Phase::Open { .. }
            | Phase::Held { .. }
            | Phase::Failed { .. } => {}
        }
    }
}
