//! The thread that makes facts durable: one write and one sync for all that waits.
//!
//! A beginning is written only when there is space for its result, taken before; the agent's other facts are small and go on
//! being written while there is any space. After a failed sync nothing is known about the disk: the process ends, and the next
//! start reads what is there.

use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::{Builder, JoinHandle};

use tokio::sync::mpsc;

use crate::state::{AppendError, FACTS_PER_WRITE_MAX, Fact, Facts, Ledger, ServicesShown, StateDir};

/// What became of a batch.
#[derive(Debug)]
pub enum Written {
    /// These are durable, those are not, for that reason.
    Done {
        /// Durable, in the order they were given.
        durable: Vec<Fact>,
        /// Not written, and why: there may be several reasons.
        refused: Vec<(Vec<Fact>, String)>,
    },
    /// What is on the disk is not known.
    Lost(String),
}

/// Hands batches to the thread, one at a time.
#[derive(Debug)]
pub struct Scribe {
    batches: SyncSender<Vec<Fact>>,
    thread: JoinHandle<()>,
}

struct Desk {
    ledger: Ledger,
    facts: Facts,
    shown: ServicesShown,
    state: std::path::PathBuf,
    space_min: u64,
}

impl Scribe {
    /// Starts the thread; answers go to `answers`.
    ///
    /// # Errors
    /// The error of starting it.
    pub fn start(
        state: &StateDir,
        ledger: Ledger,
        facts: Facts,
        space_min: u64,
        answers: mpsc::Sender<Written>,
    ) -> std::io::Result<Self> {
        let desk = Desk { ledger, facts, shown: state.services(), state: state.path().to_owned(), space_min };
        // One batch at a time: what comes meanwhile gathers into the next one.
        let (batches, inbox) = sync_channel(1);
        let thread = Builder::new().name("scribe".to_owned()).spawn(move || desk.work(&inbox, &answers))?;
        Ok(Self { batches, thread })
    }

    /// Hands over a batch; the caller waits for the answer before it hands over another.
    ///
    /// # Errors
    /// The batch, when the thread is gone.
    pub fn write(&self, batch: Vec<Fact>) -> Result<(), Vec<Fact>> {
        self.batches.try_send(batch).map_err(|error| match error {
            TrySendError::Full(batch) | TrySendError::Disconnected(batch) => batch,
        })
    }

    /// Waits until what was handed over is written.
    pub fn finish(self) {
        drop(self.batches);
        if self.thread.join().is_err() {
            tracing::error!("the thread that writes facts panicked; this is a bug");
        }
    }
}

impl Desk {
    fn work(mut self, inbox: &Receiver<Vec<Fact>>, answers: &mpsc::Sender<Written>) {
        while let Ok(batch) = inbox.recv() {
            let answer = self.write(batch);
            let lost = matches!(answer, Written::Lost(_));
            if answers.blocking_send(answer).is_err() || lost {
                return;
            }
            if self.ledger.wants_rewrite()
                && let Err(error) = self.ledger.rewrite(&self.facts, self.open_tries())
            {
                tracing::warn!(%error, "ledger not rewritten");
                if matches!(error, AppendError::Broken(_)) {
                    answers.blocking_send(Written::Lost(error.to_string())).ok();
                    return;
                }
            }
        }
    }

    fn write(&mut self, batch: Vec<Fact>) -> Written {
        let mut refused = Vec::new();
        let mut durable = match self.take_space(&batch) {
            Ok(()) => batch,
            Err(why) => {
                let (begun, rest) = batch.into_iter().partition(|fact| matches!(fact, Fact::Begun { .. }));
                refused.push((begun, why));
                rest
            }
        };
        let mut whole = 0;
        for part in durable.chunks(FACTS_PER_WRITE_MAX) {
            match self.ledger.append(part) {
                Ok(()) => whole += part.len(),
                Err(AppendError::Broken(error)) => return Written::Lost(error.to_string()),
                Err(AppendError::Refused(error)) => {
                    let why = format!("cannot write to the state directory: {error}");
                    refused.push((durable.split_off(whole), why));
                    break;
                }
            }
        }
        durable.iter().for_each(|fact| self.take_over(fact));
        Written::Done { durable, refused }
    }

    /// Takes the space that results of all open tries need, those of this batch included.
    fn take_space(&mut self, batch: &[Fact]) -> Result<(), String> {
        let begun = batch.iter().filter(|fact| matches!(fact, Fact::Begun { .. })).count();
        if begun == 0 {
            return Ok(());
        }
        let free = free_bytes(&self.state)
            .map_err(|error| format!("cannot look at the state directory: {error}"))?;
        if free < self.space_min {
            let (free, wanted) = (free >> 20, self.space_min >> 20);
            return Err(format!(
                "the state directory's file system has {free} MiB free; {wanted} MiB are kept free"
            ));
        }
        self.ledger
            .reserve(self.open_tries() + begun)
            .map_err(|error| format!("no space for the result in the state directory: {error}"))
    }

    /// Tries that have begun and have no result.
    fn open_tries(&self) -> usize {
        self.facts.shards.values().map(|shard| shard.open.len()).sum()
    }

    fn take_over(&mut self, fact: &Fact) {
        self.facts.apply(fact);
        if let Fact::Services { shard, services, .. } = fact
            && let Err(error) = self.shown.show(*shard, *services)
        {
            tracing::warn!(%shard, %error, "open services not shown in their file; the next start does it");
        }
    }
}

fn free_bytes(path: &std::path::Path) -> std::io::Result<u64> {
    let stat = rustix::fs::statvfs(path)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::io::Write;
    use std::os::fd::AsRawFd;

    use rientro_types::{
        AttemptNo, CellId, Digest, Epoch, Incarnation, Order, Seq, ShardId, TaskKind, Witness,
    };
    use rientro_wire::session::RunningTask;
    use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};

    use super::*;

    fn order(seq: u64) -> Order {
        Order {
            cell: CellId::new("cell").unwrap(),
            incarnation: Incarnation::from_raw(1),
            epoch: Epoch::from_raw(1),
            seq: Seq::from_raw(seq),
        }
    }

    /// A ledger in a file that cannot grow, as on a full disk, and that file.
    fn full(state: &StateDir) -> (Ledger, File) {
        let content = fs::read(state.path().join("ledger")).unwrap();
        let mut file = File::from(memfd_create("ledger", MemfdFlags::ALLOW_SEALING).unwrap());
        file.write_all(&content).unwrap();
        fcntl_add_seals(&file, SealFlags::GROW).unwrap();
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        (Ledger::open(path.as_ref()).unwrap().0, file)
    }

    /// A beginning for which there is no space is refused also when nothing else of its batch can be written: nothing that was
    /// given is left without an answer.
    #[test]
    fn each_fact_of_a_batch_is_answered() {
        let dir = tempfile::tempdir().unwrap();
        let (state, _, facts) = StateDir::open(dir.path()).unwrap();
        let (ledger, _file) = full(&state);
        let (shown, path) = (state.services(), state.path().to_owned());
        let mut desk = Desk { ledger, facts, shown, state: path, space_min: u64::MAX };
        let (order, shard) = (order(1), ShardId::new("s1").unwrap());
        let task = RunningTask { shard, attempt: AttemptNo::from_raw(1), kind: TaskKind::Verify };
        let begun = Fact::Begun { order, task };
        let obeyed = Fact::Obeyed(Witness { order, entry: Digest::of(b"entry") });
        let Written::Done { durable, refused } = desk.write(vec![begun.clone(), obeyed.clone()]) else {
            panic!("the ledger can go on")
        };
        let answered: Vec<_> = refused.into_iter().flat_map(|(facts, _)| facts).collect();
        assert_eq!((durable, answered), (vec![], vec![begun, obeyed]));
    }
}
