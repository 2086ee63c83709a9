//! Who says that it is a node: the process that is let in, and another one with a copy of its state directory (T28).
//!
//! A cloned machine, a restored image or a standby with a copy of `/var/lib` is the same node in the same life: nothing durable
//! tells the two apart. Only the number that a process draws when it starts does, so the evidence is observed, never journaled.
//! Which of the two is the original cannot be known; a person decides that, and is told what to look at.
//!
//! While the process that is let in is heard, no other one gets in: two that throw each other out would both obey. An agent
//! whose machine lost power comes back as another process while its old session still looks alive. It waits for [`QUIET_MIN`],
//! and nobody is told of a twin: a twin is met when the earlier process is heard after the later one has knocked, or when one
//! comes back after another had its place. A dead process does neither.
//!
//! What was verified before a twin got in was perhaps read from the other machine's disks: it is verified again before it opens
//! (R1). What is in service stays so: nothing seen here says whose disks are the damaged ones, and losing sight closes nothing.
//! A leader knows what it has met itself: the next one has to meet a twin anew, and does not know what was verified before one
//! got in. The runbook says what a person does about that.

use rientro_types::{BootId, CellTime, Span, Twin};

use crate::engine::Engine;
use crate::state::{Node, ShardIx};

/// A process that said nothing for this long may be replaced by another one of the same life: five heartbeats, so that a busy
/// moment lets no copy in, and a twelfth of the usual silence limit, so that an agent that comes back is not charged for it. A
/// shorter silence limit counts instead.
pub const QUIET_MIN: Span = Span::from_secs(5);
/// A twin that does not knock any more is forgotten after this: thirty times the longest wait between two of an agent's tries.
pub const TWIN_KEPT: Span = Span::from_secs(300);
/// A twin that was refused and has not knocked for this long, or the silence limit where that is longer, is not running any
/// more, or is cut off: three of the longest waits between two tries.
pub const TWIN_QUIET_MIN: Span = Span::from_secs(30);

/// Processes of a node's present life, as far as the present leader met them: two, and another one that knocks.
#[derive(Clone, Debug, Default)]
pub(crate) struct Boots {
    /// The one that was let in last.
    present: Option<BootId>,
    /// The one that was let in before that.
    before: Option<BootId>,
    knocking: Option<Knocking>,
    /// When one of two that ran at once took the other's place.
    exchanged: Option<CellTime>,
}

/// One that is not let in, or was not at first.
#[derive(Clone, Copy, Debug)]
struct Knocking {
    boot: BootId,
    since: CellTime,
    last: CellTime,
    knocks: u64,
    serves: u64,
    /// Whether two were there at once.
    proven: bool,
}

impl Knocking {
    fn is_recent(&self, now: CellTime) -> bool {
        now.since(self.last) < TWIN_KEPT
    }
}

impl Boots {
    fn is_other(&self, boot: BootId) -> bool {
        self.present.is_some_and(|present| present != boot)
    }

    /// One that is not the present one says that it is the node. What was known of a twin goes on: there are two places.
    fn knock(&mut self, boot: BootId, serves: u64, now: CellTime) -> &mut Knocking {
        let fresh = Knocking { boot, since: now, last: now, knocks: 0, serves, proven: false };
        let known = self.knocking.filter(|knocking| knocking.is_recent(now));
        let knocks = known.map_or(0, |knocking| knocking.knocks).saturating_add(1);
        let met = Knocking { boot, last: now, knocks, serves, ..known.unwrap_or(fresh) };
        self.knocking.insert(met)
    }

    /// The present one is heard.
    fn heard(&mut self) {
        if let Some(knocking) = self.knocking.as_mut().filter(|knocking| self.present != Some(knocking.boot))
        {
            knocking.proven = true;
        }
    }

    /// One is let in: the present one again, the next one after it, or the other one of two.
    fn let_in(&mut self, boot: BootId, serves: u64, now: CellTime) {
        if self.present == Some(boot) {
            return;
        }
        let returns = self.before == Some(boot);
        let knocked = self.knocking.is_some_and(|k| k.boot == boot && k.proven && k.is_recent(now));
        if returns || knocked {
            self.knock(boot, serves, now).proven = true;
            self.exchanged = Some(now);
        } else {
            self.knocking = self.knocking.filter(|knocking| knocking.proven);
        }
        self.before = self.present.replace(boot);
    }

    /// The other one of two, while it is inside or has knocked of late.
    pub(crate) fn twin(&self, now: CellTime, silence: Span) -> Option<Twin> {
        let met = self.knocking.filter(|knocking| knocking.proven)?;
        let inside = self.present == Some(met.boot);
        let Knocking { boot: _, since, last, knocks, serves, proven: _ } = met;
        let quiet = !inside && now.since(last) >= silence.max(TWIN_QUIET_MIN);
        (inside || met.is_recent(now)).then_some(Twin { since, last, knocks, serves, inside, quiet })
    }
}

impl Node {
    /// What its present process says has come in.
    pub(crate) fn hear(&mut self, now: CellTime) {
        self.heard = Some(now);
        self.boots.heard();
    }

    /// A process is let in.
    pub(crate) fn let_in(&mut self, boot: BootId, serves: u64, now: CellTime) {
        self.boots.let_in(boot, serves, now);
        self.heard = Some(now);
    }

    /// Another process has knocked while the present one was heard.
    pub(crate) fn knocked(&mut self, boot: BootId, serves: u64, now: CellTime) {
        self.boots.knock(boot, serves, now);
    }

    /// Whether this process has to wait: another one of the same life is there.
    pub(crate) fn is_taken(&self, boot: BootId, now: CellTime, silence: Span) -> bool {
        let within = QUIET_MIN.min(silence);
        let heard = self.heard.is_some_and(|heard| now.since(heard) < within);
        self.session.is_some() && heard && self.boots.is_other(boot)
    }
}

impl Engine {
    /// Whether the verification that a shard would open on was made before one of two agents took the other's place.
    pub(crate) fn is_of_another(&self, shard: ShardIx) -> bool {
        let shard = self.state.shard(shard);
        let exchanged = self.state.node(shard.node).boots.exchanged;
        let made = shard.standing.as_ref().map(|standing| standing.at);
        shard.accepted.is_none() && exchanged.zip(made).is_some_and(|(exchanged, made)| made <= exchanged)
    }
}
