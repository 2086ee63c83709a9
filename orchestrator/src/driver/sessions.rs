//! The sessions of one term: who is greeted, who is present, and how engine commands become messages.
//!
//! A node has one present session. The engine's welcome makes it so, and the one before is ended. What comes from any other
//! session changes nothing.

use std::collections::BTreeMap;

use rientro_engine::{Engine, OrderKind, SessionNo, Turnaway};
use rientro_types::{AttemptNo, Digest, NodeId, Order, ShardId};
use rientro_wire::limits;
use rientro_wire::session::{OrchestratorMessage, RefuseReason, Welcome};

use super::DriverSettings;
use crate::listen::Trouble;
use crate::session::{HEARTBEAT_EVERY, Link, SESSION_SILENCE};

/// What the log of an agent says when another one has its identity.
fn twin_text(node: NodeId) -> String {
    format!(
        "another running agent has the identity of node {node} and is heard: one of the two state directories is a copy of the \
         other; stop one of the two agents; if this is the machine to keep, stop the other, and this one is let in by itself; \
         to give this machine an identity of its own, stop this agent, remove its state directory and set another node name"
    )
}

/// Sessions of a term.
#[derive(Default)]
pub(crate) struct Sessions {
    greeted: BTreeMap<SessionNo, Link>,
    present: BTreeMap<NodeId, (SessionNo, Link)>,
    /// Agents that were turned away: they try again for ever.
    turned_away: Trouble,
}

impl Sessions {
    /// A session waits for the engine's answer.
    pub(super) fn greet(&mut self, session: SessionNo, link: Link) {
        self.greeted.insert(session, link);
    }

    /// A node's present session.
    pub(super) fn present(&self, node: NodeId) -> Option<SessionNo> {
        self.present.get(&node).map(|(session, _)| *session)
    }

    pub(super) fn is_present(&self, node: NodeId, session: SessionNo) -> bool {
        self.present(node) == Some(session)
    }

    /// Makes a session its node's present one.
    pub(super) fn welcome(
        &mut self,
        session: SessionNo,
        node: NodeId,
        engine: &Engine,
        settings: &DriverSettings,
    ) {
        let Some(link) = self.greeted.remove(&session) else { return };
        let Some(cell) = engine.cell_view() else { return };
        let welcome = Welcome {
            cell: cell.cell,
            incarnation: cell.incarnation,
            epoch: cell.epoch,
            heartbeat: HEARTBEAT_EVERY,
            silence: SESSION_SILENCE,
            mailbox_key: settings.mailbox_key,
            session_bytes_max: u32::try_from(limits::SESSION_BYTES_MAX).unwrap_or(u32::MAX),
            bulk_bytes_max: u32::try_from(limits::BULK_BYTES_MAX).unwrap_or(u32::MAX),
            // The engine forgets what a node listed together with its session.
            inventory_known: false,
        };
        let sent = link.push(OrchestratorMessage::Welcome(welcome));
        debug_assert!(sent.is_ok(), "nothing was queued before the welcome");
        if let Some((_, replaced)) = self.present.insert(node, (session, link)) {
            replaced.close("a later session of this node took its place");
        }
        tracing::info!(%node, session = session.0, "agent connected");
    }

    pub(super) fn refuse(&mut self, session: SessionNo, turnaway: Turnaway) {
        let Some(link) = self.greeted.remove(&session) else { return };
        let (reason, text) = match turnaway {
            Turnaway::NodeIdTaken { holder } => (
                RefuseReason::NodeIdTaken,
                format!(
                    "an agent with this node's name and incarnation {holder} is connected or was heard of late; \
                     give this node another name, or stop the other agent and wait for the silence limit"
                ),
            ),
            Turnaway::Twin { node } => (RefuseReason::Twin, twin_text(node)),
            Turnaway::IncarnationRetired { holder } => (
                RefuseReason::IncarnationRetired,
                format!(
                    "this node's state directory was replaced by one of incarnation {holder}; \
                     stop this agent, or remove its state directory to enrol it anew"
                ),
            ),
        };
        if let Some(times) = self.turned_away.happened() {
            tracing::warn!(session = session.0, text, times, "agents turned away; this is the last of them");
        }
        link.refuse(reason, text);
    }

    pub(super) fn lost(&mut self, node: NodeId, session: SessionNo) {
        self.greeted.remove(&session);
        if self.is_present(node, session) {
            self.present.remove(&node);
            tracing::info!(%node, session = session.0, "agent gone");
        }
    }

    /// Sends a command; `entry` is the digest of the journal entry that holds its record.
    pub(super) fn order(&mut self, node: NodeId, order: Order, entry: Option<Digest>, order_kind: OrderKind) {
        let message = match order_kind {
            OrderKind::Start(task) => OrchestratorMessage::StartTask { order, task, entry },
            OrderKind::Cancel { shard, attempt } => OrchestratorMessage::CancelTask { order, shard, attempt },
            OrderKind::Suspend { campaign } => OrchestratorMessage::SuspendCampaign { order, campaign },
            OrderKind::Continue { campaign } => OrchestratorMessage::ContinueCampaign { order, campaign },
            OrderKind::Serve { shard, services } => {
                OrchestratorMessage::SetServices { order, shard, services, entry }
            }
            OrderKind::Pace { campaign, pace } => OrchestratorMessage::SetPace { order, campaign, pace },
        };
        self.tell(node, message);
    }

    pub(super) fn acknowledge(&mut self, node: NodeId, shard: ShardId, attempt: AttemptNo) {
        self.tell(node, OrchestratorMessage::Acknowledge { shard, attempt });
    }

    /// Queues a message for a node's present session; false when it has none. One that does not read is ended.
    pub(super) fn tell(&mut self, node: NodeId, message: OrchestratorMessage) -> bool {
        let Some((session, link)) = self.present.get(&node) else { return false };
        if link.push(message).is_ok() {
            return true;
        }
        tracing::warn!(%node, session = session.0, "agent does not read its messages; its session is ended");
        link.close("its messages were not read");
        self.present.remove(&node);
        false
    }

    /// Ends every session, so that agents connect again and reconcile.
    pub(super) fn end_all(&mut self) {
        let greeted = std::mem::take(&mut self.greeted).into_values();
        let present = std::mem::take(&mut self.present).into_values().map(|(_, link)| link);
        let why = "the orchestrator rebuilds its state or stops; connect again";
        greeted.chain(present).for_each(|link| link.close(why));
    }
}
