//! Who is let in: of two processes of one life of a node, only one that is there and heard (T28).
//!
//! Both ways: a copy that gets in while the other is heard is a violation, and so is a process that is kept out when no other
//! is heard, for it may be the only one there is.

use std::collections::BTreeMap;

use rientro_engine::{Command, Hello, Observation, QUIET_MIN, SessionNo, Turnaway};
use rientro_types::{BootId, NodeId, Span};

use super::Monitor;

/// The process that was let in last on each node, and its session while it has one.
#[derive(Clone, Debug, Default)]
pub(super) struct Doors(BTreeMap<NodeId, (Option<SessionNo>, BootId)>);

impl Monitor {
    /// A leader takes over, or the process of the orchestrator ends: nobody is known.
    pub fn forget_doors(&mut self) {
        self.doors.0.clear();
    }

    /// A session is gone.
    pub fn door_seen(&mut self, observation: Observation) {
        let Observation::Lost { node, session } = observation else { return };
        if let Some((present, _)) =
            self.doors.0.get_mut(&node).filter(|(present, _)| *present == Some(session))
        {
            *present = None;
        }
    }

    /// Whether another process of the same life has a session and was heard within the bound.
    #[must_use]
    pub fn is_twin(&self, hello: &Hello, silence: Span) -> bool {
        let other =
            self.doors.0.get(&hello.node).is_some_and(|(there, boot)| there.is_some() && *boot != hello.boot);
        let same_life = self.books.incarnation(hello.node) == Some(hello.incarnation);
        other && same_life && self.clock.unheard(hello.node) < QUIET_MIN.min(silence).ms()
    }

    /// A Hello was answered; `twin` is what [`Self::is_twin`] said before. Tells whether it was let in.
    pub fn door_answered(&mut self, hello: &Hello, twin: bool, commands: &[Command]) -> bool {
        let node = hello.node;
        let welcomed = commands
            .iter()
            .any(|c| matches!(c, Command::Welcome { session, .. } if *session == hello.session));
        let refused = commands.iter().any(
            |c| matches!(c, Command::Refuse { session, turnaway: Turnaway::Twin { .. } } if *session == hello.session),
        );
        if twin && welcomed {
            self.broken(
                "T28",
                None,
                format!("a copy of the agent of {node} got in while that one was heard"),
            );
        }
        if refused && !twin {
            self.broken("T28", None, format!("an agent of {node} was kept out while no other one was heard"));
        }
        if welcomed {
            self.doors.0.insert(node, (Some(hello.session), hello.boot));
        }
        welcomed
    }
}
