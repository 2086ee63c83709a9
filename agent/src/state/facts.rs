//! All facts together, as they stand: what the ledger adds up to.

use std::collections::BTreeMap;

use rientro_types::{AttemptNo, Incarnation, Order, Seq, ServiceSet, ShardId, TaskEnd, TaskFailure, Witness};
use rientro_wire::session::RunningTask;

use super::fact::Fact;

/// What is durably so. Changes only by [`Facts::apply`], with facts that are on disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The cell, life and newest term met.
    pub fence: Option<Order>,
    /// The newest order obeyed whose journal entry was told.
    pub obeyed: Option<Witness>,
    /// By shard; a shard is here once something was ordered for it.
    pub shards: BTreeMap<ShardId, ShardFacts>,
}

/// What is durably so for one shard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShardFacts {
    /// The newest try that was ever begun, and by which order.
    pub newest: Option<(Order, RunningTask)>,
    /// Tries begun and not ended.
    pub open: BTreeMap<AttemptNo, (Order, RunningTask)>,
    /// Results not acknowledged.
    pub outbox: BTreeMap<AttemptNo, TaskEnd>,
    /// Open services, and by which order.
    pub services: Option<(Order, ServiceSet)>,
}

impl Facts {
    /// Takes over a fact that is durable. One that comes of an order says as much as a fence: that its life and term were met.
    pub fn apply(&mut self, fact: &Fact) {
        match fact {
            Fact::Fence(order) => self.raise(order),
            Fact::Begun { order, task } => {
                self.raise(order);
                let shard = self.shards.entry(task.shard).or_default();
                shard.open.insert(task.attempt, (*order, *task));
                if shard.newest.is_none_or(|(held, begun)| place(&held, &begun) < place(order, task)) {
                    shard.newest = Some((*order, *task));
                }
            }
            Fact::Ended { shard, attempt, end } => {
                let shard = self.shards.entry(*shard).or_default();
                shard.open.remove(attempt);
                shard.outbox.insert(*attempt, end.clone());
            }
            Fact::Settled { shard, attempt } => {
                let shard = self.shards.entry(*shard).or_default();
                shard.open.remove(attempt);
                shard.outbox.remove(attempt);
            }
            Fact::Services { shard, services, order } => {
                self.raise(order);
                self.shards.entry(*shard).or_default().services = Some((*order, *services));
            }
            Fact::Obeyed(witness) => {
                self.raise(&witness.order);
                if self.obeyed.is_none_or(|held| held.order < witness.order) {
                    self.obeyed = Some(*witness);
                }
            }
        }
    }

    /// A new life of the cell counts its tries from where its backup stood: results of earlier lives would be taken for those
    /// of other tries with the same number, so they are void. A fence that is written late changes nothing.
    fn raise(&mut self, order: &Order) {
        let fence = fence_of(order);
        if self.fence >= Some(fence) {
            return;
        }
        if self.fence.is_some_and(|held| held.incarnation < fence.incarnation) {
            for shard in self.shards.values_mut() {
                shard.open.clear();
                shard.outbox.clear();
            }
        }
        self.fence = Some(fence);
    }

    /// The fewest facts that add up to these.
    #[must_use]
    pub fn snapshot(&self) -> Vec<Fact> {
        let mut facts: Vec<Fact> = self.fence.map(Fact::Fence).into_iter().collect();
        facts.extend(self.obeyed.map(Fact::Obeyed));
        self.shards.iter().for_each(|(id, shard)| shard.snapshot(*id, &mut facts));
        facts
    }

    /// What a start makes of tries that were begun and not ended: nobody knows how far they came.
    #[must_use]
    pub fn interrupted(&self) -> Vec<Fact> {
        let ended = |shard: &ShardId, attempt: &AttemptNo| Fact::Ended {
            shard: *shard,
            attempt: *attempt,
            end: TaskEnd::Failed(TaskFailure::Interrupted),
        };
        self.shards.iter().flat_map(|(id, shard)| shard.open.keys().map(move |no| ended(id, no))).collect()
    }

    /// Shards with open services.
    pub fn served(&self) -> impl Iterator<Item = (ShardId, ServiceSet)> {
        let open = |shard: &ShardFacts| shard.services.map(|(_, services)| services);
        self.shards
            .iter()
            .filter_map(move |(id, shard)| open(shard).map(|services| (*id, services)))
            .filter(|(_, services)| !services.is_empty())
    }

    /// Results not acknowledged, in order.
    pub fn outbox(&self) -> impl Iterator<Item = (ShardId, AttemptNo, &TaskEnd)> {
        self.shards.iter().flat_map(|(id, shard)| shard.outbox.iter().map(|(no, end)| (*id, *no, end)))
    }

    /// The life and term met last, with the highest record number of any order of that life that was acted on.
    ///
    /// The number counts whatever term it is of: a life's records are numbered through all its terms.
    #[must_use]
    pub fn newest_met(&self) -> Option<Order> {
        let fence = self.fence?;
        let orders = self.shards.values().flat_map(|shard| {
            let begun = shard.newest.map(|(order, _)| order);
            begun.into_iter().chain(shard.services.map(|(order, _)| order))
        });
        let of_life = orders.filter(|order| order.incarnation == fence.incarnation);
        Some(Order { seq: of_life.map(|order| order.seq).max().unwrap_or_default(), ..fence })
    }

    /// The witness of what was obeyed in the life met last.
    #[must_use]
    pub fn witness(&self) -> Option<Witness> {
        let fence = self.fence?;
        self.obeyed.filter(|witness| witness.order.incarnation == fence.incarnation)
    }
}

impl ShardFacts {
    /// The number of the newest try begun in this life of the cell; a try of an earlier life is none of its own.
    #[must_use]
    pub fn newest_in(&self, life: Incarnation) -> Option<AttemptNo> {
        self.newest.filter(|(order, _)| order.incarnation == life).map(|(_, task)| task.attempt)
    }

    fn snapshot(&self, id: ShardId, facts: &mut Vec<Fact>) {
        let Self { newest, open, outbox, services } = self;
        if let Some((order, task)) = newest {
            facts.push(Fact::Begun { order: *order, task: *task });
            facts.push(Fact::Settled { shard: id, attempt: task.attempt });
        }
        facts.extend(open.values().map(|(order, task)| Fact::Begun { order: *order, task: *task }));
        facts.extend(outbox.iter().map(|(no, end)| Fact::Ended {
            shard: id,
            attempt: *no,
            end: end.clone(),
        }));
        facts.extend(services.map(|(order, services)| Fact::Services { shard: id, services, order }));
    }
}

/// Tries of one shard count within a life of the cell.
fn place(order: &Order, task: &RunningTask) -> (Incarnation, AttemptNo) {
    (order.incarnation, task.attempt)
}

/// The part of an order that a fence keeps.
#[must_use]
pub fn fence_of(order: &Order) -> Order {
    Order { seq: Seq::default(), ..*order }
}
