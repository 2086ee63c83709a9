//! What goes wrong: which kinds a run draws, when they strike, and when they are over.

mod aimed;

use std::collections::{BTreeMap, BTreeSet};

use rientro_types::{BootId, Incarnation, ShardId, ShardState, VolumeId};

use crate::agent::Mood;
use crate::names;
use crate::rng::Rng;
use crate::truth::{Condition, Host, Volume};
use crate::world::{Happening, World};

/// How far a clock that is off is ahead at the least: it is behind.
pub const CLOCK_AHEAD_MS_MIN: i64 = -60_000;
/// How far a clock that is off is ahead at the most.
pub const CLOCK_AHEAD_MS_MAX: i64 = 90_000;

/// Kinds of fault that a run can draw, with how many runs in a hundred draw each.
pub const KINDS: [(&str, u64); 37] = [
    ("session-broken", 70),
    ("message-lost", 40),
    ("message-late", 50),
    ("message-reordered", 40),
    ("message-duplicated", 40),
    ("order-lost", 40),
    ("order-late", 50),
    ("order-reordered", 40),
    ("order-duplicated", 40),
    ("bulk-call-cut", 40),
    ("bulk-call-twice", 40),
    ("agent-crash", 60),
    ("agent-reimaged", 35),
    ("agent-slow", 50),
    ("agent-hung", 50),
    ("agent-stuck", 50),
    ("agent-lying", 30),
    ("impostor", 15),
    ("twin", 30),
    ("agent-cut-off", 40),
    ("orchestrator-crash", 70),
    ("orchestrator-late", 40),
    ("long-absence", 25),
    ("restored-from-backup", 20),
    ("journal-trimmed", 50),
    ("append-trouble", 50),
    ("clock-off", 25),
    ("shard-damaged", 50),
    ("shard-changed", 50),
    ("shard-vanished", 40),
    ("mailboxes-vanished", 40),
    ("mailboxes-swapped", 40),
    ("mailboxes-added", 40),
    ("volume-remounted", 40),
    ("volume-doubled", 40),
    ("volume-copied", 30),
    ("volume-gone", 40),
];

/// Kinds that strike what is on its way or being written, when it is; all others strike by the clock.
const ON_THE_WAY: [&str; 11] = [
    "message-lost",
    "message-late",
    "message-reordered",
    "message-duplicated",
    "order-lost",
    "order-late",
    "order-reordered",
    "order-duplicated",
    "bulk-call-cut",
    "bulk-call-twice",
    "append-trouble",
];

/// Fewest kinds of a run that strike by the clock.
const KINDS_MIN: usize = 5;

/// The kinds a run has drawn.
#[derive(Clone, Debug, Default)]
pub struct Mix(BTreeSet<&'static str>);

impl Mix {
    /// Nothing goes wrong.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Kinds by chance.
    pub fn drawn(rng: &mut Rng) -> Self {
        let mut kinds: BTreeSet<_> =
            KINDS.iter().filter(|(_, share)| rng.percent(*share)).map(|(kind, _)| *kind).collect();
        while Self::by_the_clock(&kinds).count() < KINDS_MIN {
            kinds.insert(rng.one_of(&KINDS).0);
        }
        Self(kinds)
    }

    /// Whether this kind may strike.
    #[must_use]
    pub fn has(&self, kind: &str) -> bool {
        self.0.contains(kind)
    }

    fn by_the_clock(kinds: &BTreeSet<&'static str>) -> impl Iterator<Item = &'static str> {
        kinds.iter().copied().filter(|kind| !ON_THE_WAY.contains(kind))
    }

    fn one(&self, rng: &mut Rng) -> Option<&'static str> {
        let kinds: Vec<_> = Self::by_the_clock(&self.0).collect();
        rng.pick(&kinds).copied()
    }
}

/// Something that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recovery {
    /// A process starts again.
    Start(Host),
    /// An agent behaves again.
    Behave(Host),
    /// A network is joined again.
    Join(Host),
    /// The orchestrator answers its alarm in time.
    InTime,
    /// A volume is mounted here.
    Mount(VolumeId, Host),
    /// A volume is no longer mounted here.
    Unmount(VolumeId, Host),
    /// A volume is mounted again in place of the copy that stood there.
    Exchange {
        /// The volume.
        volume: VolumeId,
        /// The copy.
        copy: VolumeId,
        /// Where.
        host: Host,
    },
    /// A directory is back.
    Return(VolumeId, ShardId),
    /// So many mailboxes of a shard are back.
    ReturnMailboxes(VolumeId, ShardId, u64),
    /// So many mailboxes of a shard are back in place of the newcomers.
    SwapBack(VolumeId, ShardId, u64),
}

impl World {
    /// One fault, now, and the next one later.
    pub fn fault(&mut self) {
        if !self.unsafe_phase {
            return;
        }
        let next = self.rng.between(1_000, 25_000);
        self.after(next, Happening::Fault);
        let Some(kind) = self.mix.one(&mut self.rng) else { return };
        let struck = match kind {
            "orchestrator-crash"
            | "orchestrator-late"
            | "long-absence"
            | "restored-from-backup"
            | "journal-trimmed"
            | "clock-off" => self.fault_of_driver(kind),
            "shard-damaged" | "shard-changed" | "shard-vanished" | "mailboxes-vanished"
            | "mailboxes-swapped" | "mailboxes-added" => self.fault_of_shard(kind),
            "volume-remounted" | "volume-doubled" | "volume-copied" | "volume-gone" => {
                self.fault_of_volume(kind)
            }
            _ => self.fault_of_agent(kind),
        };
        if struck {
            self.note(None, || format!("fault: {kind}"));
            self.coverage.fault(kind);
        }
    }

    fn any_host(&mut self) -> Host {
        let hosts = self.agents.len() as u64;
        usize::try_from(self.rng.below(hosts)).unwrap_or(0)
    }

    fn fault_of_agent(&mut self, kind: &str) -> bool {
        let host = self.any_host();
        let lasts = self.rng.between(2_000, 90_000);
        match kind {
            "session-broken" => {
                let Some(session) = self.wire.of_host.get(&host).copied() else { return false };
                self.break_session(session);
            }
            "agent-crash" => {
                if !self.stop_agent(host) {
                    return false;
                }
                self.after(lasts / 3, Happening::Recover(Recovery::Start(host)));
            }
            "agent-reimaged" => {
                self.stop_agent(host);
                self.lives += 1;
                let life = self.lives;
                self.agents[host].reimage(life);
                self.after(lasts, Happening::Recover(Recovery::Start(host)));
            }
            "agent-slow" => return self.behave_badly(host, Mood::Slow(8), lasts * 2),
            "agent-hung" => return self.behave_badly(host, Mood::Hung, lasts * 2),
            // Long enough for its tries to be given up, and for their places to be waited for in vain.
            "agent-stuck" => return self.behave_badly(host, Mood::Stuck, lasts * 8),
            "agent-lying" => {
                self.log.liars.insert(host);
                return self.behave_badly(host, Mood::Lying, lasts);
            }
            "agent-cut-off" => {
                self.cut_off.insert(host);
                self.break_connection(host);
                self.after(lasts * 3, Happening::Recover(Recovery::Join(host)));
            }
            "impostor" => return self.impostor(host),
            "twin" => return self.twin(host),
            _ => return false,
        }
        true
    }

    fn behave_badly(&mut self, host: Host, mood: Mood, lasts: u64) -> bool {
        if self.agents[host].mood != Mood::Honest {
            return false;
        }
        self.agents[host].mood = mood;
        self.after(lasts, Happening::Recover(Recovery::Behave(host)));
        true
    }

    /// A second agent under a name that is taken. It holds nothing.
    fn impostor(&mut self, host: Host) -> bool {
        let node = self.agents[host].node;
        if self.agents.iter().filter(|agent| agent.node == node).count() > 1 {
            return false;
        }
        self.monitor.orphan(node);
        self.add_agent(node, &[("rack", "r0")]);
        true
    }

    /// A copy of an agent's disk in another machine: it tries to connect while the agent is there, over and over.
    fn twin(&mut self, host: Host) -> bool {
        if !self.wire.of_host.contains_key(&host) {
            return false;
        }
        // One that is the same process as before, or that has started again.
        let copy = BootId::from_raw(u64::MAX - self.rng.below(2));
        let (times, every) = (self.rng.between(1, 12), self.rng.between(300, 6_000));
        for no in 0..times {
            if let Some(boot) = copy {
                self.after(no * every, Happening::Knock { host, boot });
            }
        }
        true
    }

    pub(crate) fn stop_agent(&mut self, host: Host) -> bool {
        if !self.agents[host].up {
            return false;
        }
        if let Some(session) = self.wire.of_host.get(&host).copied() {
            self.break_session(session);
            self.wire.of_host.remove(&host);
        }
        self.agents[host].crash();
        true
    }

    fn fault_of_driver(&mut self, kind: &str) -> bool {
        let running = self.driver.process.is_some();
        match kind {
            "orchestrator-crash" if running => {
                let down = self.rng.one_of(&[10, 500, 3_000, 9_000, 30_000]);
                self.crash_driver(down, None);
            }
            "long-absence" if running && self.rng.percent(30) => {
                let down = self.rng.between(600_000, 3_600_000);
                self.crash_driver(down, None);
            }
            "restored-from-backup" if running && self.rng.percent(40) => {
                self.restore_from_backup();
            }
            "clock-off" if running => {
                self.driver.clock_ahead_ms =
                    self.rng.one_of(&[CLOCK_AHEAD_MS_MIN, -8_000, 0, 8_000, CLOCK_AHEAD_MS_MAX]);
                self.crash_driver(100, None);
            }
            "orchestrator-late" => {
                self.driver.late_ms = self.rng.one_of(&[500, 3_000, 8_000]);
                self.after(60_000, Happening::Recover(Recovery::InTime));
            }
            "journal-trimmed" => return self.trim_journal(),
            _ => return false,
        }
        true
    }

    /// The newest life that an agent has met. A backup from before it does not tell of it, nor does a clock that was set back since:
    /// a life that began by these would be the older one, and the operator is told so by the first agent that comes back.
    pub(crate) fn newest_life_met(&self) -> Option<Incarnation> {
        self.agents.iter().filter_map(|agent| agent.disk.fence).map(|(life, _)| life).max()
    }

    /// What is in service may move between a backup and its restoring: then another node than the backup has serves it.
    fn restore_from_backup(&mut self) {
        if self.rng.percent(60) && self.remount_in_service() {
            let keep = self.journal.entries().len();
            let later = self.rng.between(20_000, 120_000);
            return self.after(later, Happening::Restore { keep });
        }
        let entries = self.journal.entries().len() as u64;
        let keep = entries - self.rng.below(entries / 3 + 1);
        self.restore_journal(usize::try_from(keep).unwrap_or(1));
    }

    /// Remounts the volume of a shard that is in service.
    fn remount_in_service(&mut self) -> bool {
        let in_service = self.monitor.books.shards().filter(|(_, book)| !book.seen.is_empty());
        let served: Vec<VolumeId> = in_service.map(|(_, book)| book.volume).collect();
        let to = self.any_host();
        let Some(volume) = self.rng.pick(&served).copied() else { return false };
        let Some(on) = self.truth.volumes.get_mut(&volume).filter(|on| !on.mounted.contains(&to)) else {
            return false;
        };
        on.mounted = [to].into_iter().collect();
        self.relist();
        true
    }

    /// The time has come for a backup of so many entries, if the journal still goes beyond it.
    pub(crate) fn restore_later(&mut self, keep: usize) {
        if self.unsafe_phase && self.driver.process.is_some() && self.journal.entries().len() > keep {
            self.coverage.fault("restored-after-a-move");
            self.restore_journal(keep);
        }
    }

    /// The orchestrator dies, and its journal comes back from a backup of so many entries.
    pub(crate) fn restore_journal(&mut self, keep: usize) {
        self.crash_driver(5_000, None);
        self.journal.truncate(keep);
        self.driver.restored = true;
        self.monitor.restored(self.now, self.journal.entries(), &self.log);
    }

    fn trim_journal(&mut self) -> bool {
        let entries = self.journal.entries().len();
        let keep = usize::try_from(self.rng.below(40)).unwrap_or(0);
        if entries < keep + 10 {
            return false;
        }
        let mut engine = (self.make)();
        for entry in &self.journal.entries()[..entries - keep] {
            if engine.replay(entry).is_err() {
                return false;
            }
        }
        self.journal.trim(entries - keep, engine.snapshot().collect());
        true
    }

    fn any_copy(&mut self) -> Option<(VolumeId, ShardId)> {
        let copies: Vec<_> = self
            .truth
            .volumes
            .iter()
            .flat_map(|(volume, on)| on.shards.keys().map(|shard| (*volume, *shard)))
            .collect();
        if self.rng.percent(50) {
            return self.rng.pick(&copies).copied();
        }
        let shard = self.shard_in_any_state()?;
        let of_shard: Vec<_> = copies.into_iter().filter(|(_, id)| *id == shard).collect();
        self.rng.pick(&of_shard).copied()
    }

    /// A shard in a state that is drawn first: so that what happens in a short state is met too.
    pub(crate) fn shard_in_any_state(&mut self) -> Option<ShardId> {
        let mut by_state: BTreeMap<ShardState, Vec<ShardId>> = BTreeMap::new();
        for (shard, _) in self.monitor.books.shards() {
            if let Some(view) = self.monitor.follower().shard_view(*shard) {
                by_state.entry(view.shard.state()).or_default().push(*shard);
            }
        }
        let states: Vec<ShardState> = by_state.keys().copied().collect();
        let state = self.rng.pick(&states)?;
        self.rng.pick(&by_state[state]).copied()
    }

    fn fault_of_shard(&mut self, kind: &str) -> bool {
        self.any_copy().is_some_and(|(volume, shard)| self.harm(kind, volume, shard))
    }

    fn harm(&mut self, kind: &str, volume: VolumeId, shard: ShardId) -> bool {
        let lasts = self.rng.between(5_000, 200_000);
        let harms = [Condition::Damaged(3), Condition::Broken(1), Condition::Unreadable(1), Condition::Empty];
        let harm = self.rng.one_of(&harms);
        let (gone, for_good) = (self.rng.between(1, 3), self.rng.percent(40));
        let Some(content) = self.truth.content_mut(volume, shard) else { return false };
        content.generation += 1;
        match kind {
            "mailboxes-vanished" => {
                let gone = gone.min(content.mailboxes);
                content.mailboxes -= gone;
                if !for_good {
                    let back = Recovery::ReturnMailboxes(volume, shard, gone);
                    self.after(lasts, Happening::Recover(back));
                }
            }
            "mailboxes-swapped" => {
                let gone = gone.min(content.listed());
                content.newcomers += gone;
                if !for_good {
                    let back = Recovery::SwapBack(volume, shard, gone);
                    self.after(lasts, Happening::Recover(back));
                }
            }
            "mailboxes-added" => {
                content.mailboxes += gone;
                content.newcomers += gone;
            }
            "shard-damaged" => content.condition = harm,
            "shard-vanished" => {
                content.present = false;
                self.after(lasts, Happening::Recover(Recovery::Return(volume, shard)));
            }
            _ => {}
        }
        self.relist();
        true
    }

    /// Agents notice that what they hold is another thing.
    pub(crate) fn relist(&mut self) {
        for agent in &mut self.agents {
            agent.relist = true;
        }
    }

    fn fault_of_volume(&mut self, kind: &str) -> bool {
        let Some((volume, shard)) = self.any_copy() else { return false };
        let (host, lasts) = (self.any_host(), self.rng.between(10_000, 240_000));
        match kind {
            "volume-remounted" => {
                if let Some(on) = self.truth.volumes.get_mut(&volume) {
                    on.mounted = [host].into_iter().collect();
                }
            }
            "volume-doubled" => {
                if let Some(on) = self.truth.volumes.get_mut(&volume) {
                    on.mounted.insert(host);
                }
                self.after(lasts, Happening::Recover(Recovery::Unmount(volume, host)));
            }
            "volume-gone" => {
                let Some(on) = self.truth.volumes.get_mut(&volume) else { return false };
                let from: Vec<Host> = on.mounted.iter().copied().collect();
                on.mounted.clear();
                let back = from.first().copied().unwrap_or(host);
                self.after(lasts, Happening::Recover(Recovery::Mount(volume, back)));
            }
            _ => {
                let in_place = self.rng.percent(50);
                self.copy_volume(volume, shard, host, lasts, in_place);
            }
        }
        self.relist();
        true
    }

    /// Some shards of a volume, `shard` among them, show on another one: an old copy that somebody has mounted beside it, or
    /// in its place for a while.
    fn copy_volume(&mut self, volume: VolumeId, shard: ShardId, host: Host, lasts: u64, in_place: bool) {
        let Some(of) = self.truth.volumes.get_mut(&volume) else { return };
        let mut shards: Vec<_> = of.shards.iter().map(|(id, content)| (*id, content.clone())).collect();
        shards.sort_by_key(|(id, _)| *id != shard);
        shards.truncate(3);
        let replaced = of.mounted.first().copied().filter(|_| in_place);
        if replaced.is_some() {
            of.mounted.clear();
        }
        let host = replaced.unwrap_or(host);
        for (_, content) in &mut shards {
            content.generation += 1_000;
            content.condition = self.rng.one_of(&[Condition::Clean, Condition::Damaged(2)]);
        }
        self.volumes += 1;
        let copy = names::volume(self.volumes);
        let mounted = [host].into_iter().collect();
        self.truth.volumes.insert(copy, Volume { shards: shards.into_iter().collect(), mounted });
        if replaced.is_some() {
            self.after(lasts, Happening::Recover(Recovery::Exchange { volume, copy, host }));
        }
    }

    /// Something is over.
    pub fn recover(&mut self, recovery: Recovery) {
        match recovery {
            Recovery::Start(host) => {
                if !self.agents[host].up && !self.agents[host].retired {
                    self.agents[host].start(&mut self.log);
                    self.after(200, Happening::Dial { host });
                }
            }
            Recovery::Behave(host) => self.agents[host].mood = Mood::Honest,
            Recovery::Join(host) => {
                self.cut_off.remove(&host);
            }
            Recovery::InTime => self.driver.late_ms = 0,
            Recovery::Mount(volume, host) => {
                if let Some(on) = self.truth.volumes.get_mut(&volume).filter(|on| on.mounted.is_empty()) {
                    on.mounted.insert(host);
                }
                self.relist();
            }
            Recovery::Unmount(volume, host) => {
                if let Some(on) = self.truth.volumes.get_mut(&volume).filter(|on| on.mounted.len() > 1) {
                    on.mounted.remove(&host);
                }
                self.relist();
            }
            // What heals decides which of the two stays.
            Recovery::Exchange { .. } if !self.unsafe_phase => {}
            Recovery::Exchange { volume, copy, host } => {
                if let Some(on) = self.truth.volumes.get_mut(&copy) {
                    on.mounted.remove(&host);
                }
                self.recover(Recovery::Mount(volume, host));
            }
            Recovery::Return(volume, shard) => {
                if let Some(content) = self.truth.content_mut(volume, shard) {
                    content.present = true;
                }
                self.relist();
            }
            Recovery::ReturnMailboxes(volume, shard, count) => {
                if let Some(content) = self.truth.content_mut(volume, shard) {
                    content.mailboxes += count;
                    content.generation += 1;
                }
                self.relist();
            }
            Recovery::SwapBack(volume, shard, count) => {
                if let Some(content) = self.truth.content_mut(volume, shard) {
                    content.newcomers = content.newcomers.saturating_sub(count);
                    content.generation += 1;
                }
                self.relist();
            }
        }
    }
}
