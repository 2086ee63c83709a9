//! What the node holds: its shards, how many mailboxes they have, and a digest that tells whether a list changed.
//!
//! Lists of mailboxes are not kept: a shard whose digest differs from the one told last is listed again while it is told.
//! A root without a volume, or one that cannot be listed or does not answer, holds nothing here; its shards are then missing,
//! never empty. So is a shard of which a part cannot be listed: it would look as if customers had left it.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use rientro_mailstore::{Control, Inventory, Mailbox, Shard, inventory};
use rientro_types::{Claim, Digest, MAILBOXES_PER_SHARD_MAX, MailboxId, ServiceSet, ShardId, VolumeId};

use crate::roots::{Place, Root, Roots, Seen};

/// One look at all roots.
#[derive(Clone, Debug, Default)]
pub struct Scan {
    /// By shard.
    pub shards: BTreeMap<ShardId, Entry>,
}

/// One shard that was seen.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Where.
    pub place: Place,
    /// On which volume.
    pub volume: VolumeId,
    /// On which volume it is a second time, where two roots show it.
    pub second: Option<VolumeId>,
    /// How many mailboxes.
    pub mailboxes: u64,
    /// Digest of their addresses in order.
    pub list: Digest,
}

/// Longest wait for the list of one root's shards, and of one shard's mailboxes: long enough for a cold disk with a million
/// directories, and an end for one that hangs.
const LIST_PATIENCE: Duration = Duration::from_secs(600);

/// Looks at every root.
#[must_use]
pub fn scan(roots: &Roots) -> Scan {
    let mut scan = Scan::default();
    for root in roots.all() {
        if let Some(volume) = root.volume() {
            let control = Control::default();
            let (asked, stop) = (Arc::clone(root), control.clone());
            let shown = root.questions.shards.ask(LIST_PATIENCE, move || shards_of(&asked, volume, &control));
            let Ok(shown) = shown else {
                stop.cancel();
                tracing::warn!(root = %root.path.display(), "root cannot be listed: the file system does not answer");
                continue;
            };
            shown.into_iter().for_each(|(id, entry)| add(&mut scan, id, entry));
        } else {
            tracing::warn!(root = %root.path.display(), "no volume is mounted here, or it has no identity that counts");
        }
    }
    let seen = |entry: &Entry| Seen { place: entry.place.clone(), list: entry.list };
    roots.remember(scan.shards.iter().map(|(id, entry)| (*id, seen(entry))).collect());
    scan
}

fn shards_of(root: &Arc<Root>, volume: VolumeId, control: &Control) -> BTreeMap<ShardId, Entry> {
    let mut shown = BTreeMap::new();
    let shards = match root.layout.shards(&root.path) {
        Ok(shards) => shards,
        Err(error) => {
            tracing::warn!(root = %root.path.display(), %error, "root cannot be listed");
            return shown;
        }
    };
    if shards.cut || !shards.unreadable.is_empty() {
        let unreadable = shards.unreadable.len();
        tracing::warn!(root = %root.path.display(), unreadable, cut = shards.cut, "root was not listed to its end");
    }
    for Shard { id, path } in shards.found {
        let place = Place { root: Arc::clone(root), path };
        match entry(place, volume, control) {
            Ok(entry) => drop(shown.insert(id, entry)),
            Err(error) => tracing::warn!(shard = %id, %error, "shard cannot be listed"),
        }
    }
    shown
}

fn add(scan: &mut Scan, id: ShardId, entry: Entry) {
    if let Some(first) = scan.shards.get_mut(&id) {
        let (one, other) = (first.place.root.path.display(), entry.place.root.path.display());
        tracing::warn!(shard = %id, %one, %other, "shard is on two roots; it is held until one of them lets go of it");
        first.second = first.second.or(Some(entry.volume));
    } else {
        scan.shards.insert(id, entry);
    }
}

fn entry(place: Place, volume: VolumeId, control: &Control) -> io::Result<Entry> {
    let (list, mailboxes) = list_of(&place, control)?;
    Ok(Entry { volume, second: None, mailboxes, list, place })
}

/// Digest of the addresses of a shard's mailboxes in order, and how many there are.
pub(crate) fn list_of(place: &Place, control: &Control) -> io::Result<(Digest, u64)> {
    // A chain of digests, so that nothing has to be kept.
    let mut list = Digest::ZERO;
    let mut each = |mailbox: Mailbox<'_>| list = list.chained(mailbox.address);
    let Root { path, layout, .. } = &*place.root;
    let counted = inventory(path, layout, &place.path, control, &mut each)?;
    check(&counted)?;
    Ok((list, counted.mailboxes))
}

/// A shard of which nobody knows what is in it is not claimed, and none with more mailboxes than a claim may name: the
/// orchestrator would refuse the whole inventory.
fn check(counted: &Inventory) -> io::Result<()> {
    let Inventory { mailboxes, others: _, unreadable, cancelled } = *counted;
    if cancelled {
        return Err(io::ErrorKind::TimedOut.into());
    }
    if unreadable > 0 {
        return Err(io::Error::other(unlisted(unreadable)));
    }
    if mailboxes > MAILBOXES_PER_SHARD_MAX as u64 {
        return Err(io::Error::other(too_many(mailboxes)));
    }
    Ok(())
}

/// What to say of a shard in which so many directories cannot be listed.
pub(crate) fn unlisted(directories: u64) -> String {
    let (directories, end) = if directories == 1 {
        ("1 directory".to_owned(), "its")
    } else {
        (format!("{directories} directories"), "their")
    };
    format!("{directories} in it cannot be listed to {end} end: what is below is not known, and may be lost")
}

/// What to say of a shard that has so many mailboxes.
pub(crate) fn too_many(mailboxes: u64) -> String {
    format!(
        "it has {mailboxes} mailboxes; at most {MAILBOXES_PER_SHARD_MAX} can be counted: make smaller shards"
    )
}

impl Scan {
    /// What to claim, in the order of shards.
    #[must_use]
    pub fn claims(&self, served: &BTreeMap<ShardId, ServiceSet>) -> Vec<Claim> {
        let claim = |(id, entry): (&ShardId, &Entry)| Claim {
            shard: *id,
            volume: entry.volume,
            second: entry.second,
            mailboxes: entry.mailboxes,
            services: served.get(id).copied().unwrap_or(ServiceSet::NONE),
        };
        self.shards.iter().map(claim).collect()
    }

    /// Changes when a shard, its volume or its mailboxes do; not when services open.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let mut text = Vec::new();
        for (id, entry) in &self.shards {
            let second = entry.second.as_ref().map_or("", VolumeId::as_str);
            for name in [id.as_str(), entry.volume.as_str(), second] {
                text.extend_from_slice(name.as_bytes());
                text.push(0);
            }
            text.extend_from_slice(&entry.mailboxes.to_le_bytes());
            text.extend_from_slice(entry.list.raw());
        }
        Digest::of(&text)
    }
}

impl Entry {
    /// The ids of the shard's mailboxes, ascending.
    ///
    /// # Errors
    /// The error of listing, [`io::ErrorKind::TimedOut`] when the file system does not answer.
    pub fn mailbox_ids(&self, key: &[u8; 32]) -> io::Result<Vec<MailboxId>> {
        let (place, key) = (self.place.clone(), *key);
        let ids = self.place.root.questions.mailboxes.ask(LIST_PATIENCE, move || ids_in(&place, &key));
        ids.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }
}

fn ids_in(place: &Place, key: &[u8; 32]) -> io::Result<Vec<MailboxId>> {
    let mut ids = Vec::new();
    let mut each = |mailbox: Mailbox<'_>| ids.push(MailboxId::of_address(key, mailbox.address));
    let Root { path, layout, .. } = &*place.root;
    let counted = inventory(path, layout, &place.path, &Control::default(), &mut each)?;
    check(&counted)?;
    ids.sort_unstable();
    ids.dedup();
    Ok(ids)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The orchestrator refuses more: a shard that has them is left out, in words that tell what to do.
    #[test]
    fn a_shard_is_claimed_up_to_the_most_mailboxes() {
        let most = MAILBOXES_PER_SHARD_MAX as u64;
        let with = |mailboxes| check(&Inventory { mailboxes, ..Inventory::default() });
        assert!(with(most).is_ok());
        let refused = with(most + 1).unwrap_err().to_string();
        assert_eq!(refused, "it has 1048577 mailboxes; at most 1048576 can be counted: make smaller shards");
    }

    /// R7: what was not looked at is not told as if it were not there.
    #[test]
    fn a_shard_that_was_not_listed_whole_is_not_claimed() {
        let seen = Inventory { mailboxes: 3, ..Inventory::default() };
        assert!(check(&seen).is_ok());
        let refused = check(&Inventory { unreadable: 1, ..seen }).unwrap_err().to_string();
        assert!(refused.starts_with("1 directory in it cannot be listed"), "{refused}");
        assert!(check(&Inventory { cancelled: true, ..seen }).is_err());
    }
}
