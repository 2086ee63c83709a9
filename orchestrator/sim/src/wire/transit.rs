//! What becomes of messages on their way: lost, late, reordered or duplicated, upward and downward.
//!
//! A session is one gRPC stream each way, which keeps its order while it lasts. So what is modelled is what can happen around
//! its end, and what is said twice:
//!
//! | fault | upward (`message-`) | downward (`order-`) |
//! | --- | --- | --- |
//! | `lost` | the session breaks with a word on the way | the session breaks with an order about a shard on the way |
//! | `late` | the orchestrator reads what a broken session still held, seconds later and in order | the agent, which does not know yet that its session is gone, does: from a leader that may be gone too, and of an earlier life of the cell |
//! | `reordered` | it reads that behind the agent's next Hello | an order that was read before comes again behind a newer one about the shard |
//! | `duplicated` | it reads a word twice, at once or up to 20 s later, in this session or a later one | the agent reads an order about a shard twice, likewise |
//!
//! What cannot happen is left out. An agent has one session, and drops what is unread of it before it greets again: what it
//! reads for the first time is of its present session. An order comes again to the disk that it came to, not to another one.
//! What is said to a session as such (a Welcome, how campaigns go, what is acknowledged) never comes again in another.

use rientro_engine::OrderKind;
use rientro_types::{NodeIncarnation, ShardId};

use crate::agent::{FromAgent, Mood, ToAgent};
use crate::truth::Host;
use crate::world::{Happening, World};

/// What becomes of what is on its way upward when a session breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Up {
    /// Lost.
    Lost,
    /// Read so many milliseconds late.
    Late(u64),
    /// Read after the next Hello.
    Behind,
}

/// What becomes of what is on its way when a session breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Transit {
    up: Up,
    /// What is on its way downward is read so many milliseconds late, or lost.
    down_ms: Option<u64>,
}

impl Transit {
    /// All of it is lost.
    pub(super) const LOST: Self = Self { up: Up::Lost, down_ms: None };

    /// How long the agent goes on reading at least.
    pub(super) fn trickles_ms(self) -> u64 {
        self.down_ms.unwrap_or_default()
    }
}

/// What an agent says in answer to something, and says again when asked again.
pub(super) const fn is_word(message: &FromAgent) -> bool {
    matches!(message, FromAgent::Result(..) | FromAgent::Stopped(..) | FromAgent::Seen(..))
}

/// An order that the agent fences by what it knows of the shard.
pub(super) const fn is_of_shard(message: &ToAgent) -> bool {
    of_shard(message).is_some()
}

const fn of_shard(message: &ToAgent) -> Option<ShardId> {
    match message {
        ToAgent::Order(_, OrderKind::Start(task)) => Some(task.shard),
        ToAgent::Order(_, OrderKind::Cancel { shard, .. } | OrderKind::Serve { shard, .. }) => Some(*shard),
        _ => None,
    }
}

impl World {
    /// What becomes of what is on its way, by chance.
    pub(super) fn draw_transit(&mut self) -> Transit {
        if !self.unsafe_phase {
            return Transit::LOST;
        }
        let up = if self.mix.has("message-late") && self.rng.percent(50) {
            Up::Late(self.rng.between(500, 20_000))
        } else if self.mix.has("message-reordered") && self.rng.percent(60) {
            Up::Behind
        } else {
            Up::Lost
        };
        let late = self.mix.has("order-late") && self.rng.percent(60);
        Transit { up, down_ms: late.then(|| self.rng.between(200, 12_000)) }
    }

    /// What was on its way to the orchestrator when its session broke. A greeting is said anew in the next one.
    pub(super) fn strand(&mut self, no: u64, message: FromAgent) {
        let Some(session) = self.wire.sessions.get(&no) else { return };
        if matches!(message, FromAgent::Hello { .. }) {
            return;
        }
        match session.transit.up {
            Up::Lost => {}
            Up::Late(ms) => {
                self.coverage.fault("message-late");
                self.after(ms, Happening::Up { session: no, message: Box::new(message), late: true });
            }
            Up::Behind => self.wire.behind.entry(session.host).or_default().push((no, message)),
        }
    }

    /// After a Hello: what earlier sessions of the machine still held.
    pub(super) fn catch_up(&mut self, host: Host) {
        for (no, message) in self.wire.behind.remove(&host).unwrap_or_default() {
            self.coverage.fault("message-reordered");
            self.after(1, Happening::Up { session: no, message: Box::new(message), late: true });
        }
    }

    /// What was on its way to an agent when its session broke, and the agent still reads.
    pub(super) fn hold_up(&mut self, no: u64, message: ToAgent) {
        let Some(ms) = self.wire.sessions.get(&no).and_then(|session| session.transit.down_ms) else {
            return;
        };
        if !matches!(message, ToAgent::Welcome(..) | ToAgent::Refuse(_)) {
            self.after(ms, Happening::Down { session: no, message: Box::new(message), late: true });
        }
    }

    /// What an agent reads may come again, and so may what it has read before about the same shard.
    pub(super) fn say_again(&mut self, host: Host, message: &ToAgent) {
        let Some(shard) = of_shard(message).filter(|_| self.agents[host].mood != Mood::Hung) else { return };
        let incarnation = self.agents[host].incarnation;
        let before = self.wire.read.insert((host, shard), (incarnation, message.clone()));
        if self.draws("order-duplicated", 60) {
            let wait = self.rng.one_of(&[0, 40, 2_000, 20_000]);
            let message = Box::new(message.clone());
            self.after(wait, Happening::Again { host, incarnation, kind: "order-duplicated", message });
        }
        if let Some((incarnation, before)) = before
            && self.draws("order-reordered", 60)
        {
            let message = Box::new(before);
            self.after(0, Happening::Again { host, incarnation, kind: "order-reordered", message });
        }
    }

    /// An order comes to an agent once more.
    pub(crate) fn arrive_again(
        &mut self,
        host: Host,
        incarnation: NodeIncarnation,
        kind: &'static str,
        message: ToAgent,
    ) {
        let agent = &self.agents[host];
        if agent.is_talking() && agent.incarnation == incarnation {
            self.coverage.fault(kind);
            self.with_agent(host, |agent, scene| agent.receive(message, scene));
        }
    }
}
