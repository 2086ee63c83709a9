//! One turn of the driver: what was taken from the queues, what stepping it led to, and who waits for that to be durable.

use std::collections::BTreeMap;
use std::time::Instant;

use rientro_engine::{Command, Engine, Event, Observation, RequestNo, Step};
use rientro_types::{CellTime, Decision, NodeId};
use rientro_wire::session::{OrchestratorMessage, RefuseReason};
use tokio::sync::oneshot;

use super::behind::Behind;
use super::inbox::{Act, Answer, Input, Question, Stamped};
use super::sessions::Sessions;
use super::{Term, Unavailable};

/// What waits for a batch to become durable.
#[derive(Default)]
pub(super) struct Waiting {
    pub(super) replies: BTreeMap<RequestNo, oneshot::Sender<Result<Answer, Unavailable>>>,
    done: Vec<oneshot::Sender<()>>,
    questions: Vec<Question>,
    told: Vec<(NodeId, Box<OrchestratorMessage>, oneshot::Sender<bool>)>,
    pub(super) came: Vec<Instant>,
}

/// The queues' content of one batch, its buffers reused.
#[derive(Default)]
pub(super) struct Taken {
    pub(super) acts: Vec<Stamped<Act>>,
    pub(super) inputs: Vec<Stamped<Input>>,
}

/// What a batch has decided and will do.
#[derive(Default)]
pub(super) struct Outcome {
    pub(super) decisions: Vec<Decision>,
    pub(super) commands: Vec<Command>,
    pub(super) wake_at: Option<CellTime>,
    /// Other nodes than before are known to have obeyed what the journal does not hold.
    pub(super) ahead_changed: bool,
}

impl Outcome {
    pub(super) fn add(&mut self, step: Step) {
        let Step { decisions, commands, wake_at } = step;
        if self.decisions.is_empty() {
            self.decisions = decisions;
        } else {
            self.decisions.extend(decisions);
        }
        self.commands.extend(commands);
        self.wake_at = wake_at.map(|(at, _)| at);
    }
}

impl Waiting {
    pub(super) fn finish(&mut self, engine: &Engine, sessions: &mut Sessions) {
        for done in self.done.drain(..) {
            // Whoever waited may have left.
            let _gone = done.send(());
        }
        for (node, message, told) in self.told.drain(..) {
            let _gone = told.send(sessions.tell(node, *message));
        }
        for question in self.questions.drain(..) {
            question(engine, sessions);
        }
    }
}

pub(super) fn step_act(
    engine: &mut Engine,
    now: CellTime,
    request: RequestNo,
    act: Act,
    waiting: &mut Waiting,
) -> Step {
    let Act { actor, verb, rehearse, seed, reply } = act;
    waiting.replies.insert(request, reply);
    engine.step(now, Event::Request { request, actor, verb, rehearse, seed })
}

pub(super) fn take_input<J>(
    term: &mut Term<J>,
    now: CellTime,
    input: Input,
    waiting: &mut Waiting,
    outcome: &mut Outcome,
) {
    match input {
        Input::Hello { hello, told, link } => match Behind::of(&told, &term.engine) {
            Some(behind) => {
                link.refuse(RefuseReason::JournalBehind, behind.of_node(hello.node));
                outcome.ahead_changed |= term.ahead.add(hello.node, behind);
            }
            None => {
                outcome.ahead_changed |= term.ahead.remove(hello.node);
                term.sessions.greet(hello.session, link);
                outcome.add(term.engine.step(now, Event::Hello(hello)));
            }
        },
        Input::Agent { node, session, event, done } => {
            if term.sessions.is_present(node, session) {
                outcome.add(term.engine.step(now, event));
                waiting.done.extend(done);
            }
        }
        Input::Seen { node, session, observation } => {
            if term.sessions.is_present(node, session) {
                term.engine.observe(now, observation);
            }
        }
        Input::Lost { node, session } => {
            term.sessions.lost(node, session);
            term.engine.observe(now, Observation::Lost { node, session });
        }
        Input::Tell { node, message, told } => waiting.told.push((node, message, told)),
        Input::Ask(question) => waiting.questions.push(question),
    }
}
