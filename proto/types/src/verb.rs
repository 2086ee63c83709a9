//! What operators can ask for, and what comes of it.

use crate::{
    CampaignId, Digest, Exception, FindingKinds, FleetLimits, MailboxId, NodeId, Plan, Selector, Seq,
    ServiceSet, ShardId, WaveNo,
};

/// One request of an operator. Each accepted one is one decision in the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Begin a campaign.
    Start {
        /// The plan.
        plan: Box<Plan>,
        /// Digest of the plan as written.
        source: Digest,
    },
    /// Move a campaign to another revision of its plan.
    Revise {
        /// The plan; its name says which campaign.
        plan: Box<Plan>,
        /// Digest of the plan as written.
        source: Digest,
    },
    /// Stop starting things; suspend what runs.
    Pause {
        /// Which campaign.
        campaign: CampaignId,
    },
    /// Go on.
    Resume {
        /// Which campaign.
        campaign: CampaignId,
    },
    /// Give up: what is open stays open, all else is closed.
    Abort {
        /// Which campaign.
        campaign: CampaignId,
    },
    /// Let the next wave begin, whatever the present one still waits for.
    Promote {
        /// Which campaign.
        campaign: CampaignId,
        /// The wave that shall pass; a request that arrives twice promotes once.
        wave: WaveNo,
    },
    /// Close shards.
    Close {
        /// Which.
        selector: Selector,
        /// Why; never empty.
        reason: String,
    },
    /// Verify held, failed or closed shards of a campaign again.
    Retry {
        /// Which.
        selector: Selector,
    },
    /// Take held or failed shards as they are.
    Accept {
        /// Which.
        selector: Selector,
        /// Why; never empty.
        reason: String,
    },
    /// Bring shards forward.
    Prioritise {
        /// Which.
        selector: Selector,
    },
    /// Declare closed shards to be in service already.
    Adopt {
        /// Which.
        selector: Selector,
        /// What is open; at least one.
        services: ServiceSet,
        /// Why; never empty.
        reason: String,
    },
    /// Settle where contested shards are.
    Settle {
        /// Which shards.
        selector: Selector,
        /// The node that has them; one of the two that claim each.
        node: NodeId,
        /// Why; never empty.
        reason: String,
    },
    /// Set or lift an exception.
    Except {
        /// The mailbox's shard.
        shard: ShardId,
        /// The mailbox.
        mailbox: MailboxId,
        /// How it differs; absent to lift the exception.
        exception: Option<Exception>,
        /// Why; never empty.
        reason: String,
    },
    /// Change the fleet's limits.
    SetLimits {
        /// The limits.
        limits: FleetLimits,
    },
}

/// What an accepted verb did, or would do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Receipt {
    /// Whether it changes anything. What is so already is no error: a verb that is asked for twice changes nothing the second
    /// time.
    pub changes: bool,
    /// The record that decided it; absent when nothing had to change.
    pub decided: Option<Seq>,
    /// Shards it is about.
    pub shards: u64,
    /// Mailboxes in them.
    pub mailboxes: u64,
    /// Shards that were selected but are in a state to which the verb does not apply.
    pub skipped: u64,
    /// Shards that leave their campaign: the plan does not bring them back.
    pub shards_released: u64,
    /// Mailboxes in the shards that leave.
    pub mailboxes_released: u64,
    /// Of the shards that leave, those that were on their way: they are closed, and what was verified of them is discarded.
    pub shards_closed: u64,
    /// Mailboxes lost so far that no longer count against the budget of their wave.
    pub mailboxes_forgiven: u64,
    /// Shards that stay in their wave because they would break a failure domain's cap in an earlier one.
    pub capped: u64,
    /// Shards in the waves they are brought to, with those brought there.
    pub wave_shards: u64,
    /// Mailboxes in those waves.
    pub wave_mailboxes: u64,
    /// Of shards that were selected by what was found and are accepted, those in which something else was found too.
    pub shards_beside: u64,
    /// What else was found in them.
    pub kinds_beside: FindingKinds,
    /// Shards that two nodes claim, of which one claim ends.
    pub claims_ended: u64,
    /// Shards that move to another volume: they are closed, and verified again.
    pub volumes_changed: u64,
    /// Mailboxes that were known and are not there, and count as deleted.
    pub mailboxes_given_up: u64,
    /// Of the shards that are left as they are, those that lack mailboxes, which are settled by name alone.
    pub by_name: u64,
    /// Of shards that are accepted, those that no verification has read to its end.
    pub unread: u64,
    /// Shards that are held for what was found in them, and pass what the revised plan asks for: they go on to open.
    pub shards_passing: u64,
    /// Mailboxes in those.
    pub mailboxes_passing: u64,
    /// Shards on their way that do not pass what the revised plan asks for: they are held.
    pub shards_failing: u64,
    /// Mailboxes in those.
    pub mailboxes_failing: u64,
}
