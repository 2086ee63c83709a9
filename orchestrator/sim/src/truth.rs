//! What is really so: which volumes there are, where they are mounted, and what is on them.
//!
//! Agents read it, honestly or not; the monitor judges by it. The engine never sees it.

use std::collections::{BTreeMap, BTreeSet};

use rientro_types::{
    Claim, Digest, Level, Outcome, Ppm, ServiceSet, ShardId, Tally, UnknownCause, Verdict, VolumeId,
};

/// Position of an agent's machine in the world.
pub type Host = usize;

/// Condition of one shard's mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// All of it is well.
    Clean,
    /// So many messages are damaged.
    Damaged(u64),
    /// So many mailboxes have lost a folder or an index.
    Broken(u64),
    /// So many mailboxes cannot be read.
    Unreadable(u64),
    /// Nothing is there where mailboxes should be.
    Empty,
}

/// One copy of a shard.
#[derive(Clone, Debug)]
pub struct Content {
    /// Mailboxes in it.
    pub mailboxes: u64,
    /// Of these, so many came in place of others that were there from the start.
    pub newcomers: u64,
    /// Messages in it.
    pub messages: u64,
    /// How it is.
    pub condition: Condition,
    /// Grows with every change of names, sizes or times.
    pub generation: u64,
    /// Whether its directory is there.
    pub present: bool,
}

impl Content {
    /// What an honest verification of `level` says of it.
    #[must_use]
    pub fn verdict(&self, level: Level) -> Verdict {
        let mut tally = Tally {
            mailboxes: self.mailboxes,
            messages: self.messages,
            bytes: self.messages * 4096,
            ..Tally::default()
        };
        let outcome = match self.condition {
            Condition::Clean => Outcome::Clean,
            Condition::Damaged(messages) => {
                tally.messages_damaged = messages;
                tally.mailboxes_damaged = 1;
                tally.findings = messages;
                Outcome::Damaged
            }
            Condition::Broken(mailboxes) => {
                tally.mailboxes_damaged = mailboxes;
                tally.mailboxes_broken = mailboxes;
                tally.findings = mailboxes;
                Outcome::Damaged
            }
            Condition::Unreadable(mailboxes) => {
                tally.mailboxes_unreadable = mailboxes;
                tally.findings = mailboxes;
                Outcome::Unreadable
            }
            Condition::Empty => {
                tally = Tally { mailboxes: self.mailboxes, ..Tally::default() };
                Outcome::Unknown(UnknownCause::Empty)
            }
        };
        Verdict { outcome, level, coverage: Ppm::ONE, tally }
    }

    /// Mailboxes in it that were there from the start.
    #[must_use]
    pub const fn listed(&self) -> u64 {
        self.mailboxes.saturating_sub(self.newcomers)
    }

    /// Digest of names, sizes and times.
    #[must_use]
    pub fn stat_walk(&self, shard: ShardId) -> Digest {
        Digest::of(shard.as_str().as_bytes()).chained(&self.generation.to_le_bytes())
    }
}

/// One volume.
#[derive(Clone, Debug, Default)]
pub struct Volume {
    /// The shards on it.
    pub shards: BTreeMap<ShardId, Content>,
    /// Where it is mounted: nowhere, on one machine, or wrongly on two.
    pub mounted: BTreeSet<Host>,
}

/// What a machine finds when it looks for a shard on a volume.
#[derive(Clone, Debug)]
pub enum Found<'a> {
    /// It is there.
    Here(&'a Content),
    /// The volume is there and the directory is not.
    Missing,
    /// The volume is not mounted; another one may show the shard.
    Wrong(Option<VolumeId>),
}

/// Every volume.
#[derive(Clone, Debug, Default)]
pub struct Truth {
    /// By identity.
    pub volumes: BTreeMap<VolumeId, Volume>,
}

impl Truth {
    /// What `host` finds of `shard` on `volume`.
    #[must_use]
    pub fn find(&self, host: Host, shard: ShardId, volume: VolumeId) -> Found<'_> {
        match self.volumes.get(&volume).filter(|volume| volume.mounted.contains(&host)) {
            Some(volume) => match volume.shards.get(&shard).filter(|content| content.present) {
                Some(content) => Found::Here(content),
                None => Found::Missing,
            },
            None => Found::Wrong(self.shown(host).find(|(id, _, _)| *id == shard).map(|(_, v, _)| v)),
        }
    }

    /// Every shard that shows on `host`, by volume.
    pub fn shown(&self, host: Host) -> impl Iterator<Item = (ShardId, VolumeId, &Content)> {
        let mounted = self.volumes.iter().filter(move |(_, volume)| volume.mounted.contains(&host));
        mounted.flat_map(|(id, volume)| {
            volume.shards.iter().filter(|(_, c)| c.present).map(|(shard, content)| (*shard, *id, content))
        })
    }

    /// What `host` says it holds: one claim for each shard, with `served` telling what it serves.
    #[must_use]
    pub fn claims(&self, host: Host, served: impl Fn(ShardId) -> ServiceSet) -> Vec<Claim> {
        let mut claims = BTreeMap::new();
        for (shard, volume, content) in self.shown(host) {
            let mailboxes = content.mailboxes;
            let services = served(shard);
            let first = Claim { shard, volume, second: None, mailboxes, services };
            claims
                .entry(shard)
                .and_modify(|claim: &mut Claim| claim.second = claim.second.or(Some(volume)))
                .or_insert(first);
        }
        claims.into_values().collect()
    }

    /// One copy of a shard, wherever it is mounted.
    pub fn content_mut(&mut self, volume: VolumeId, shard: ShardId) -> Option<&mut Content> {
        self.volumes.get_mut(&volume)?.shards.get_mut(&shard)
    }
}
