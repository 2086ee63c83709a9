//! The rules on commands: only what is durable is commanded or answered (R4), what stops things reaches everyone and keeps them
//! stopped (R8), and nobody is told to close what a person has to decide on (T29).

use rientro_engine::{Command, Engine, OrderKind};
use rientro_types::{CampaignId, CampaignState, NodeId, Refusal, ShardId, Verb};

use super::Monitor;

/// What an event asked for, as far as the rules on its answer need to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// Nothing that has to be answered.
    Nothing,
    /// To pause a campaign.
    Pause(CampaignId),
    /// To abort a campaign.
    Abort(CampaignId),
    /// To close shards.
    Close,
}

impl Asked {
    /// What a verb asks for.
    #[must_use]
    pub fn of(verb: &Verb, rehearse: bool) -> Self {
        match verb {
            _ if rehearse => Self::Nothing,
            Verb::Pause { campaign } => Self::Pause(*campaign),
            Verb::Abort { campaign } => Self::Abort(*campaign),
            Verb::Close { .. } => Self::Close,
            _ => Self::Nothing,
        }
    }
}

/// One step: what it was about and what it wants done.
#[derive(Clone, Debug)]
pub struct Stepped {
    /// What was asked.
    pub asked: Asked,
    /// What to do.
    pub commands: Vec<Command>,
    /// Nodes with a session when it was asked; only for what has to reach all of them.
    pub connected: Vec<NodeId>,
}

type Unfit = (&'static str, Option<ShardId>, String);

impl Monitor {
    /// R4: a command follows from what is durable.
    pub(super) fn allowed(&mut self, command: &Command) -> Result<(), Unfit> {
        match command {
            Command::Send { node, order, order_kind } => {
                if order.seq >= self.follower.seq_next() {
                    let found = format!("an order of record {} left before it was durable", order.seq);
                    return Err(("R4", None, found));
                }
                self.order(*node, order_kind)
            }
            Command::Acknowledge { node, shard, attempt } => {
                let Some(book) = self.books.shard(*shard) else { return Ok(()) };
                let waits = book.under_way.is_some_and(|u| u.attempt == *attempt && u.node == *node);
                if waits {
                    let found =
                        format!("attempt {attempt} of shard {shard} was acknowledged and is not ended");
                    return Err(("R4", Some(*shard), found));
                }
                Ok(())
            }
            Command::Reply { request: _, answer: Ok(receipt) } => match receipt.decided {
                Some(seq) if self.decided.get(&seq).is_none_or(|word| !is_verb(word)) => {
                    Err(("R4", None, format!("an operator was told of record {seq}, which is not durable")))
                }
                _ => Ok(()),
            },
            Command::Reply { .. } | Command::Welcome { .. } | Command::Refuse { .. } => Ok(()),
        }
    }

    fn order(&mut self, node: NodeId, order: &OrderKind) -> Result<(), Unfit> {
        match order {
            OrderKind::Start(task) => {
                let booked = self.books.booked_under(node, task.shard, task.attempt).is_some();
                if !booked && !self.ended.contains(&(task.shard, task.attempt)) {
                    let found = format!(
                        "attempt {} of shard {} is ordered and not journaled",
                        task.attempt, task.shard
                    );
                    return Err(("R4", Some(task.shard), found));
                }
                // A person who ends a disagreement says what is seen too, which is in no record of its own.
                let seen =
                    self.follower.shard_view(task.shard).map(|view| view.shard.seen).unwrap_or_default();
                if !seen.is_empty() {
                    let found = format!("shard {} is read where {seen} was last seen", task.shard);
                    return Err(("R1", Some(task.shard), found));
                }
            }
            OrderKind::Cancel { shard, attempt } => {
                self.cancel_sent.insert((node, *shard, *attempt));
            }
            OrderKind::Serve { shard, services } => {
                if services.is_empty() {
                    self.close_sent.insert((node, *shard));
                } else {
                    self.close_sent.remove(&(node, *shard));
                }
                let Some(book) = self.books.shard(*shard) else { return Ok(()) };
                // What the same batch has closed again is told so after this.
                let allowed =
                    book.node == node && book.services == *services || self.closed.contains(&(node, *shard));
                if !allowed && !services.is_empty() {
                    let found = format!("{node} is told to serve {services} of shard {shard}");
                    return Err(("R4", Some(*shard), found));
                }
                if services.is_empty() {
                    return self.may_close(node, *shard);
                }
            }
            OrderKind::Suspend { .. } | OrderKind::Continue { .. } | OrderKind::Pace { .. } => {}
        }
        Ok(())
    }

    /// T29: what a node is told to close was decided on in this batch, or is not in doubt and closed or elsewhere as the journal
    /// has it.
    fn may_close(&self, node: NodeId, shard: ShardId) -> Result<(), Unfit> {
        let Some(book) = self.books.shard(shard) else { return Ok(()) };
        let known = !self.is_doubted(shard) && (book.node != node || book.services.is_empty());
        if known || self.decided_on.contains(&shard) || self.closed.contains(&(node, shard)) {
            return Ok(());
        }
        Err((
            "T29",
            Some(shard),
            format!("{node} is told to close shard {shard}, and nobody has decided that"),
        ))
    }

    /// Whether nobody has agreed yet on what is served of a shard of a restored journal.
    pub(super) fn is_doubted(&self, shard: ShardId) -> bool {
        self.follower.shard_view(shard).is_some_and(|view| view.shard.doubted)
    }

    /// R8: an operator was told that a campaign is stopped: what is in it neither starts nor opens. One that runs again was
    /// sent on in the same batch.
    fn stop(&mut self, campaign: CampaignId) {
        let state = self.follower.campaign_view(campaign).map(|view| view.state);
        if state.is_none_or(|state| state == CampaignState::Running) {
            return;
        }
        let members =
            self.books.shards().filter(|(_, book)| book.member.is_some_and(|(of, _)| of == campaign));
        self.stopped.extend(members.map(|(shard, _)| (campaign, *shard)));
    }

    pub(super) fn is_not_stopped(&mut self, shard: ShardId, does: &str) {
        let member = self.books.shard(shard).and_then(|book| book.member);
        let Some((campaign, _)) = member.filter(|(of, _)| self.stopped.contains(&(*of, shard))) else {
            return;
        };
        self.broken("R8", Some(shard), format!("shard {shard} {does} though {campaign} was stopped"));
    }

    /// R8: what stops things was sent to every connected agent in the very step that decided it.
    pub(super) fn reached(&mut self, stepped: &Stepped) {
        let answered = stepped.commands.iter().find_map(|command| match command {
            Command::Reply { answer, .. } => Some(answer.clone()),
            _ => None,
        });
        match (&stepped.asked, answered) {
            (Asked::Nothing, _) => {}
            (Asked::Pause(campaign), Some(Ok(_))) => {
                self.stop(*campaign);
                self.reached_by_pause(*campaign, stepped);
            }
            (Asked::Abort(campaign), Some(Ok(_))) => self.stop(*campaign),
            (_, Some(Err(refusal))) => self.refused(&refusal),
            (_, Some(Ok(_))) => {}
            (asked, None) => self.broken("R8", None, format!("{asked:?} was not answered")),
        }
    }

    fn refused(&mut self, refusal: &Refusal) {
        let may = matches!(
            refusal,
            Refusal::CampaignUnknown(_)
                | Refusal::ShardUnknown(_)
                | Refusal::NothingToDo { .. }
                | Refusal::SelectorInvalid { .. }
        );
        if !may {
            self.broken("R8", None, format!("pausing, aborting or closing was refused: {refusal}"));
        }
    }

    fn reached_by_pause(&mut self, campaign: CampaignId, stepped: &Stepped) {
        if !self.is_paused(campaign) {
            return;
        }
        for node in &stepped.connected {
            let told = stepped.commands.iter().any(|command| {
                matches!(command, Command::Send { node: to, order_kind: OrderKind::Suspend { campaign: c }, .. }
                    if to == node && *c == campaign)
            });
            if !told {
                self.broken("R8", None, format!("pausing {campaign} did not reach {node}"));
            }
        }
    }

    /// R8: what a batch has closed was told to its node with it, if the node has a session.
    pub fn closings(&mut self, engine: &Engine) {
        let (closed, sent) = (std::mem::take(&mut self.closed), std::mem::take(&mut self.close_sent));
        let begun = std::mem::take(&mut self.begun);
        self.decided_on.clear();
        self.ended.clear();
        for (node, shard) in closed.difference(&sent) {
            let connected = engine.node_view(*node).is_some_and(|view| view.connected);
            // Who has just greeted has said itself what it serves.
            if connected && !begun.contains(node) {
                let found = format!("shard {shard} was closed, and {node} was not told");
                self.broken("R8", Some(*shard), found);
            }
        }
    }

    /// R8: after every batch, whatever a connected node may be busy with and nobody waits for has been cancelled.
    pub fn strays(&mut self, engine: &Engine) {
        let connected: Vec<NodeId> =
            engine.node_views().filter(|node| node.connected).map(|node| node.node).collect();
        let mut strays = Vec::new();
        for node in connected {
            for (shard, attempt, _) in self.books.booked(node) {
                let under_way = self.books.shard(shard).and_then(|book| book.under_way);
                let current = under_way.is_some_and(|u| u.attempt == attempt && u.node == node);
                if !current && !self.cancel_sent.contains(&(node, shard, attempt)) {
                    strays.push((node, shard, attempt));
                }
            }
        }
        for (node, shard, attempt) in strays {
            let found = format!("attempt {attempt} of shard {shard} is given up, and {node} was not told");
            self.broken("R8", Some(shard), found);
        }
    }
}

/// Records that a verb of an operator leads to.
fn is_verb(word: &str) -> bool {
    [
        "campaign-",
        "wave-",
        "closed",
        "retried",
        "accepted",
        "prioritised",
        "adopted",
        "exception",
        "limits",
        "settled",
        "shard-settled",
    ]
    .iter()
    .any(|start| word.starts_with(start))
}
