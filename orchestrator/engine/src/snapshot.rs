//! Durable state as a stream of records, out and in.
//!
//! The stream is the definition of durable state: two engines agree exactly when their streams are equal.

use rientro_types::{
    Busy, CampaignSnapshot, CellSnapshot, Membership, NodeSnapshot, ShardSnapshot, SnapshotRecord,
    WaveSnapshot,
};

use crate::apply::Inconsistent;
use crate::engine::Engine;
use crate::state::{Campaign, CampaignIx, Cell, Member, Node, NodeIx, Shard, ShardIx, State, Wave};

impl Engine {
    /// The durable state, as a stream. Empty before the cell is founded.
    pub fn snapshot(&self) -> impl Iterator<Item = SnapshotRecord> + '_ {
        let state = &self.state;
        let cell = state.cell.as_ref().map(|cell| SnapshotRecord::Cell(state.cell_snapshot(cell)));
        let nodes = state.node_ix.values().map(|ix| SnapshotRecord::Node(state.node_snapshot(*ix)));
        let campaigns = state
            .campaigns
            .iter()
            .map(|campaign| SnapshotRecord::Campaign(Box::new(campaign_snapshot(campaign))));
        let shards =
            state.shard_ix.values().map(|ix| SnapshotRecord::Shard(Box::new(state.shard_snapshot(*ix))));
        cell.into_iter().chain(nodes).chain(campaigns).chain(shards)
    }

    /// Takes in one element of a stream. Elements come in stream order, into an engine that knows nothing yet.
    ///
    /// # Errors
    /// [`Inconsistent`] when an element names something that has not come before it.
    pub fn restore(&mut self, record: SnapshotRecord) -> Result<(), Inconsistent> {
        let seq = self.state.seq_next;
        self.state.restore(record).map_err(|problem| Inconsistent { seq, problem })?;
        self.now = self.state.at;
        self.forget_touched();
        Ok(())
    }
}

fn campaign_snapshot(campaign: &Campaign) -> CampaignSnapshot {
    let wave = |wave: &Wave| WaveSnapshot { state: wave.state };
    CampaignSnapshot {
        plan: campaign.plan.clone(),
        source: campaign.source,
        revision: campaign.revision,
        seed: campaign.seed,
        state: campaign.state,
        started: campaign.started,
        ended: campaign.ended,
        paused: campaign.paused,
        clock_behind: campaign.clock_behind,
        shards_gone: campaign.shards_gone,
        waves: campaign.waves.iter().map(wave).collect(),
    }
}

impl State {
    fn cell_snapshot(&self, cell: &Cell) -> CellSnapshot {
        CellSnapshot {
            cell: cell.id,
            incarnation: cell.incarnation,
            mailbox_key: cell.mailbox_key,
            epoch: cell.epoch,
            seq_next: self.seq_next,
            at: self.at,
            limits: self.limits.clone(),
        }
    }

    fn node_snapshot(&self, ix: NodeIx) -> NodeSnapshot {
        let node = self.node(ix);
        let busy = node.busy.iter().map(|((shard, attempt), kind)| Busy {
            shard: self.shard(*shard).id,
            attempt: *attempt,
            kind: *kind,
        });
        let mut busy: Vec<Busy> = busy.collect();
        busy.sort_unstable();
        NodeSnapshot {
            node: node.id,
            incarnation: node.incarnation,
            retired: node.retired.clone(),
            labels: node.labels.clone(),
            silent: node.silent,
            busy,
        }
    }

    pub(crate) fn shard_snapshot(&self, ix: ShardIx) -> ShardSnapshot {
        let shard = self.shard(ix);
        let member = shard.member.map(|member| Membership {
            campaign: self.campaign(member.campaign).id,
            wave: member.wave,
            rank: member.rank,
        });
        ShardSnapshot {
            shard: shard.id,
            placement: shard.placement(self.node(shard.node).id),
            mailboxes: shard.mailboxes,
            bytes: shard.bytes,
            services: shard.services,
            services_since: shard.services_since,
            seen: shard.seen,
            phase: shard.phase.clone(),
            since: shard.since,
            blocked: shard.blocked.as_deref().cloned(),
            unlisted: shard.unlisted,
            doubted: shard.doubted,
            attempt: shard.attempt,
            failures: shard.failures,
            charge: shard.charge,
            member,
            standing: shard.standing.as_deref().cloned(),
            accepted: shard.accepted.as_deref().cloned(),
            exceptions: shard.exceptions.clone(),
        }
    }

    fn restore(&mut self, record: SnapshotRecord) -> Result<(), String> {
        match record {
            SnapshotRecord::Cell(cell) => self.restore_cell(cell),
            SnapshotRecord::Node(node) => self.restore_node(node),
            SnapshotRecord::Campaign(campaign) => self.restore_campaign(*campaign),
            SnapshotRecord::Shard(shard) => self.restore_shard(*shard),
        }
    }

    fn restore_cell(&mut self, cell: CellSnapshot) -> Result<(), String> {
        if self.cell.is_some() {
            return Err("a snapshot has one cell".to_owned());
        }
        let CellSnapshot { cell: id, incarnation, mailbox_key, epoch, seq_next, at, limits } = cell;
        self.cell = Some(Cell { id, incarnation, mailbox_key, epoch });
        self.seq_next = seq_next;
        self.at = at;
        self.limits = limits;
        Ok(())
    }

    /// What the node is busy with is booked when its shards have come.
    fn restore_node(&mut self, snapshot: NodeSnapshot) -> Result<(), String> {
        let NodeSnapshot { node: id, incarnation, retired, labels, silent, busy } = snapshot;
        let ix = NodeIx::for_len(self.nodes.len());
        if self.node_ix.insert(id, ix).is_some() {
            return Err(format!("node {id} comes twice"));
        }
        self.nodes.push(Node { retired, silent, ..Node::new(id, incarnation) });
        self.relabel(ix, labels);
        for busy in busy {
            self.to_book.entry(busy.shard).or_default().push((ix, busy.attempt, busy.kind));
        }
        Ok(())
    }

    fn restore_campaign(&mut self, snapshot: CampaignSnapshot) -> Result<(), String> {
        let CampaignSnapshot {
            plan,
            source,
            revision,
            seed,
            state,
            started,
            ended,
            paused,
            clock_behind,
            shards_gone,
            waves,
        } = snapshot;
        let ix = CampaignIx::for_len(self.campaigns.len());
        if self.campaign_ix.insert(plan.name, ix).is_some() {
            return Err(format!("campaign {} comes twice", plan.name));
        }
        let wave = |w: WaveSnapshot| Wave { state: w.state, ..Wave::new() };
        self.campaigns.push(Campaign {
            revision,
            state,
            ended,
            paused,
            clock_behind,
            shards_gone,
            waves: waves.into_iter().map(wave).collect(),
            ..Campaign::new(plan, source, seed, started)
        });
        Ok(())
    }

    fn restore_shard(&mut self, snapshot: ShardSnapshot) -> Result<(), String> {
        let ShardSnapshot {
            shard: id,
            placement,
            mailboxes,
            bytes,
            services,
            services_since,
            seen,
            phase,
            since,
            blocked,
            unlisted,
            doubted,
            attempt,
            failures,
            charge,
            member,
            standing,
            accepted,
            exceptions,
        } = snapshot;
        let node = self.find_node(placement.node)?;
        let member = match member {
            Some(Membership { campaign, wave, rank }) => {
                Some(Member { campaign: self.find_campaign(campaign)?, wave, rank })
            }
            None => None,
        };
        let ix = ShardIx::for_len(self.shards.len());
        if self.shard_ix.insert(id, ix).is_some() {
            return Err(format!("shard {id} comes twice"));
        }
        self.shards.push(Shard {
            id,
            placement_no: placement.no,
            node,
            volume: placement.volume,
            mailboxes,
            bytes,
            services,
            services_since,
            seen,
            phase,
            since,
            blocked: blocked.map(Box::new),
            unlisted,
            doubted,
            attempt,
            failures,
            charge,
            member,
            standing: standing.map(Box::new),
            accepted: accepted.map(Box::new),
            exceptions,
            footprint: None,
            due: false,
            told: None,
            unanswered: false,
        });
        self.index(ix);
        for (node, attempt, kind) in self.to_book.remove(&id).unwrap_or_default() {
            self.book(node, ix, attempt, kind);
        }
        Ok(())
    }
}
