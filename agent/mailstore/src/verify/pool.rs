//! Readers at work on one shard, and the order in which their findings leave.
//!
//! Each reader takes the next mailbox of the roll, with a ticket. Findings leave in ticket order: a mailbox that is done early
//! waits, at most [`WINDOW`] of them, and a mailbox with more findings than are gathered waits for its turn before it goes on.
//! So memory is bounded by readers and window, whatever the size of the shard and however much is damaged.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::Scope;
use std::time::Duration;

use rientro_types::{Finding, FindingKind};

use super::job::{Job, Look, Looked};
use super::notes::{Depth, Harvest, finding};
use super::roll::{Call, Roll};
use super::stat_walk::StatWalk;
use super::{Summary, Task};
use crate::control::{Control, Progress, Stopped};
use crate::dbox::AttachmentRoot;
use crate::mailbox::Inspector;

/// Mailboxes that may be done before their turn.
const WINDOW: u64 = 512;

/// Stack of a reader: its buffers are on the heap, and the deepest folder nesting takes about 64 KiB.
const STACK_BYTES: usize = 512 << 10;

/// How often waiting threads look again at what else may have changed.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Takes findings as they leave.
pub(super) type Take<'a> = dyn FnMut(Finding, &mut Summary) + 'a;

struct Pool<'t> {
    task: &'t Task<'t>,
    job: &'t Job<'t>,
    control: &'t Control,
    shard: OwnedFd,
    roll: Mutex<(u64, Roll<'t>)>,
    queue: Mutex<Queue>,
    /// Something was put into the queue.
    filled: Condvar,
    /// The queue moved on.
    moved: Condvar,
}

#[derive(Default)]
struct Queue {
    /// The ticket whose findings leave at this moment.
    head: u64,
    /// Findings of the head, not yet taken.
    outbox: Vec<Finding>,
    done: BTreeMap<u64, Done>,
    /// One past the last ticket, once the roll has ended.
    end: Option<u64>,
}

enum Done {
    Mailbox(Vec<u8>, Box<Looked>),
    Aside(Finding, u64),
}

/// Looks into every mailbox of the shard; on return `summary` holds what they add up to.
pub(super) fn run(
    task: &Task<'_>,
    job: &Job<'_>,
    control: &Control,
    summary: &mut Summary,
    take: &mut Take<'_>,
) {
    let opened = crate::fsys::open_root(task.root)
        .and_then(|root| Roll::open(&root, task.shard, task.layout, task.expected));
    let (roll, shard) = match opened {
        Ok(opened) => opened,
        Err(error) => return unopened(error, job, summary, take),
    };
    let pool = Pool {
        task,
        job,
        control,
        shard,
        roll: Mutex::new((0, roll)),
        queue: Mutex::default(),
        filled: Condvar::new(),
        moved: Condvar::new(),
    };
    // A panic in the caller's sink or in a reader must not leave the others waiting for ever.
    let guard = CancelOnPanic(control);
    std::thread::scope(|scope| pool.conduct(scope, summary, take));
    drop(guard);
}

/// The shard's directory is not there, or not readable.
fn unopened(error: rustix::io::Errno, job: &Job<'_>, summary: &mut Summary, take: &mut Take<'_>) {
    let kind = if error == rustix::io::Errno::NOENT {
        FindingKind::VolumeEmpty
    } else {
        FindingKind::DirectoryUnreadable
    };
    if job.depth() > Depth::Stat {
        let unopened = finding(kind, b"", Vec::new(), format!("the shard's directory: {error}"));
        summary.note_aside(job, &unopened, 0);
        take(unopened, summary);
    }
}

struct CancelOnPanic<'c>(&'c Control);

impl Drop for CancelOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.cancel();
        }
    }
}

/// A reader's place, given back however the reader ends.
struct Place<'c>(&'c Control);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.cancel();
        }
        self.0.leave();
    }
}

impl<'t> Pool<'t> {
    /// Keeps as many readers as are asked for, and hands on what they find, until all is done.
    fn conduct<'scope>(
        &'scope self,
        scope: &'scope Scope<'scope, '_>,
        summary: &mut Summary,
        take: &mut Take<'_>,
    ) where
        't: 'scope,
    {
        let guard = CancelOnPanic(self.control);
        let mut walk = StatWalk::default();
        loop {
            while self.queue().end.is_none() && self.control.enlist() {
                let place = Place(self.control);
                let reader = std::thread::Builder::new().stack_size(STACK_BYTES).name("mailstore".to_owned());
                // Without a thread to spare the work goes on with the readers there are; the next round tries again.
                if reader.spawn_scoped(scope, move || self.read_as(place)).is_err() {
                    break;
                }
            }
            let (findings, done, ended) = self.collect();
            findings.into_iter().for_each(|finding| take(finding, summary));
            done.into_iter().for_each(|done| self.add(done, summary, &mut walk, take));
            if ended || (self.control.is_cancelled() && self.control.alive() == 0) {
                break;
            }
        }
        summary.stat_walk = walk.finish();
        drop(guard);
    }

    /// Waits for something to hand on.
    fn collect(&self) -> (Vec<Finding>, Vec<Done>, bool) {
        let mut queue = self.queue();
        if queue.outbox.is_empty() && !queue.done.contains_key(&queue.head) && queue.end != Some(queue.head) {
            queue = self.filled.wait_timeout(queue, LOOK_AGAIN).unwrap_or_else(PoisonError::into_inner).0;
        }
        let findings = std::mem::take(&mut queue.outbox);
        let mut done = Vec::new();
        let mut head = queue.head;
        while let Some(next) = queue.done.remove(&head) {
            done.push(next);
            head += 1;
        }
        queue.head = head;
        let ended = queue.end == Some(head);
        self.moved.notify_all();
        (findings, done, ended)
    }

    fn add(&self, done: Done, summary: &mut Summary, walk: &mut StatWalk, take: &mut Take<'_>) {
        match done {
            Done::Aside(finding, mailboxes) => {
                summary.note_aside(self.job, &finding, mailboxes);
                take(finding, summary);
            }
            Done::Mailbox(path, looked) => {
                let Looked { harvest, comparison, part } = *looked;
                let Harvest { findings, tally, covered, unseen, digest } = harvest;
                summary.comparison.add(&comparison);
                summary.parts.extend(part);
                summary.tally.add(&tally);
                summary.covered += covered;
                summary.unseen += unseen;
                summary.damage |= tally.mailboxes_damaged > 0;
                summary.unreadable |= tally.mailboxes_unreadable > 0;
                walk.add_part(&path, &digest);
                if tally.mailboxes_damaged > 0 {
                    summary.note_damaged(path);
                }
                findings.into_iter().for_each(|finding| take(finding, summary));
            }
        }
    }

    /// One reader's life.
    #[allow(
        clippy::needless_pass_by_value,
        reason = "the place is held as long as the reader lives, and given back on drop"
    )]
    fn read_as(&self, _place: Place<'_>) {
        let mut inspector = Inspector::new(self.attachments());
        while self.control.checkpoint(0).is_ok() && !self.control.surplus() {
            let Some((ticket, call)) = self.next_call() else { break };
            let done = match call {
                Call::Aside(finding, mailboxes) => Done::Aside(finding, mailboxes),
                Call::Mailbox(path) => match self.inspect(&mut inspector, ticket, &path) {
                    Ok(looked) => Done::Mailbox(path, Box::new(looked)),
                    Err(Stopped) => break,
                },
            };
            if let Done::Aside(..) = done {
                self.control.count(Progress { findings: 1, ..Progress::default() });
            }
            self.queue().done.insert(ticket, done);
            self.filled.notify_one();
        }
        self.filled.notify_one();
    }

    fn attachments(&self) -> AttachmentRoot {
        let Some(path) = self.task.layout.attachments() else { return AttachmentRoot::NotSetUp };
        let opened = crate::fsys::open_root(self.task.root)
            .and_then(|root| crate::fsys::open_path(root.as_fd(), path));
        opened.map_or(AttachmentRoot::Closed, AttachmentRoot::Open)
    }

    fn next_call(&self) -> Option<(u64, Call)> {
        self.wait_until(|queue, next| next < queue.head + WINDOW)?;
        let mut roll = self.roll.lock().unwrap_or_else(PoisonError::into_inner);
        let ticket = roll.0;
        match roll.1.next() {
            Some(call) => {
                roll.0 += 1;
                Some((ticket, call))
            }
            None => {
                self.queue().end = Some(ticket);
                None
            }
        }
    }

    /// Waits until the window is open; `None` when cancelled.
    fn wait_until(&self, open: impl Fn(&Queue, u64) -> bool) -> Option<()> {
        let next = self.roll.lock().unwrap_or_else(PoisonError::into_inner).0;
        if open(&self.queue(), next) {
            return Some(());
        }
        self.control.aside(|| self.wait(|queue| open(queue, next))).ok()
    }

    fn inspect(&self, inspector: &mut Inspector, ticket: u64, path: &[u8]) -> Result<Looked, Stopped> {
        inspector.find_moved(self.task.layout.alternative_of(self.task.shard, path));
        let mut outlet = |findings| self.hand_on(ticket, findings);
        let mut look = Look {
            shard: self.shard.as_fd(),
            mailbox: path,
            control: self.control,
            inspector,
            outlet: &mut outlet,
        };
        look.act(self.job)
    }

    /// Hands findings of an unfinished mailbox on, once it is this mailbox's turn.
    fn hand_on(&self, ticket: u64, findings: Vec<Finding>) -> Result<(), Stopped> {
        let turn = |queue: &Queue| queue.head == ticket && queue.outbox.is_empty();
        if !turn(&self.queue()) {
            self.control.aside(|| self.wait(turn))?;
        }
        // Only the reader of this ticket fills the outbox, so it is still empty.
        self.queue().outbox = findings;
        self.filled.notify_one();
        Ok(())
    }

    fn wait(&self, ready: impl Fn(&Queue) -> bool) -> Result<(), Stopped> {
        let mut queue = self.queue();
        while !ready(&queue) {
            if self.control.is_cancelled() {
                return Err(Stopped);
            }
            queue = self.moved.wait_timeout(queue, LOOK_AGAIN).unwrap_or_else(PoisonError::into_inner).0;
        }
        Ok(())
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
