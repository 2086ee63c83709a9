//! Faults of one message.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rientro_types::FindingKind;
use rientro_types::FindingKind::{
    CompressedStream, DuplicateName, EmptyMessage, FileUnreadable, HeaderMalformed, MessageMissing,
    MimeTruncated, NulRun, SizeMismatch, SpecialFile, SymbolicLink, VirtualSizeMismatch, ZeroBlock,
};
use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::MessageFault::{
    self, BitFlipped, BlockZeroed, Duplicated, Emptied, Fifo, FirstBlockZeroed, GzipBitFlipped,
    GzipBlockZeroed, GzipFirstBlockZeroed, GzipTruncated, Lost, Swapped, Symlink, Truncated, Unreadable,
};
use super::{BLOCK_BYTES, Damage, Fault, kinds, stem};
use crate::rng::Rng;
use crate::store::{Mailbox, is_gzip};

/// What any change of a message's bytes may show besides what it must show.
const CONSEQUENCES: [FindingKind; 7] =
    [SizeMismatch, VirtualSizeMismatch, HeaderMalformed, MimeTruncated, NulRun, ZeroBlock, CompressedStream];
/// Bytes of a gzip header whose content no checksum covers.
const GZIP_HEADER_BYTES: usize = 10;
/// Checksum and length at a gzip stream's end, and the byte before them, whose last bits may be padding.
const GZIP_END_BYTES: usize = 9;

/// A message that may be broken.
#[derive(Clone, Debug)]
pub(super) struct Message {
    mailbox: Mailbox,
    path: PathBuf,
    folder: PathBuf,
    bytes: usize,
    gzip: bool,
    /// The uidlist lists it and an index exists, so its loss can be seen.
    listed: bool,
}

/// Messages with a single link, in a fixed order.
pub(super) fn candidates(mailboxes: &[Mailbox]) -> Result<Vec<Message>> {
    let mut found = Vec::new();
    for mailbox in mailboxes {
        for folder in mailbox.folders()? {
            let place = mailbox.folder().join(&folder);
            let uidlist = fs::read_to_string(place.join("dovecot-uidlist")).unwrap_or_default();
            let indexed = place.join("dovecot.index.log").exists() || place.join("dovecot.index").exists();
            for path in mailbox.messages(&folder)? {
                let full = mailbox.folder().join(&path);
                let metadata =
                    fs::symlink_metadata(&full).with_context(|| format!("stat {}", full.display()))?;
                if !metadata.is_file() || metadata.nlink() != 1 {
                    continue;
                }
                let listed =
                    indexed && stem(&path).is_some_and(|stem| uidlist.contains(&format!(" :{stem}\n")));
                let bytes = usize::try_from(metadata.len()).context("a message fits in memory")?;
                let gzip = begins_as_gzip(&full).with_context(|| format!("read {}", full.display()))?;
                found.push(Message {
                    mailbox: mailbox.clone(),
                    path,
                    folder: folder.clone(),
                    bytes,
                    gzip,
                    listed,
                });
            }
        }
    }
    Ok(found)
}

impl Message {
    /// Makes the fault and says what it did; nothing when the fault does not fit this message.
    pub(super) fn apply(
        &self,
        fault: MessageFault,
        partner: Option<&Self>,
        rng: &mut Rng,
    ) -> Result<Vec<Damage>> {
        if self.bytes == 0 || stored_as(fault).is_some_and(|gzip| gzip != self.gzip) {
            return Ok(Vec::new());
        }
        let made = self.change(fault, partner, rng);
        let made = made.with_context(|| format!("make fault {fault:?} in {}", self.full().display()))?;
        let Some(expected) = made else { return Ok(Vec::new()) };
        Ok([self].into_iter().chain(partner).map(|message| message.damage(fault, expected)).collect())
    }

    /// Whether exchanging the two files shows in both: same folder, both plain, sizes that differ.
    pub(super) fn swappable(&self, other: &Self) -> bool {
        self.mailbox == other.mailbox
            && self.folder == other.folder
            && !self.gzip
            && !other.gzip
            && self.bytes != other.bytes
    }

    fn damage(&self, fault: MessageFault, expected: &[FindingKind]) -> Damage {
        let allowed: &[FindingKind] = match fault {
            BitFlipped | Lost | Duplicated | Unreadable => &[],
            Symlink | Fifo => &[MessageMissing],
            BlockZeroed | FirstBlockZeroed | Truncated | Emptied | Swapped | GzipBitFlipped
            | GzipTruncated | GzipBlockZeroed | GzipFirstBlockZeroed => &CONSEQUENCES,
        };
        let (mailbox, path) = (self.mailbox.clone(), self.path.clone());
        Damage {
            fault: Fault::Message(fault),
            mailbox,
            path,
            expected: kinds(expected),
            allowed: kinds(allowed),
        }
    }

    /// Makes the fault; the kinds a verifier must report one of, or `None` when the fault does not fit.
    fn change(
        &self,
        fault: MessageFault,
        partner: Option<&Self>,
        rng: &mut Rng,
    ) -> Result<Option<&'static [FindingKind]>> {
        let (made, expected): (bool, &[FindingKind]) = match fault {
            BlockZeroed => (self.zero_block(rng, false)?, &[ZeroBlock, NulRun]),
            FirstBlockZeroed => (self.zero_block(rng, true)?, &[ZeroBlock, NulRun, HeaderMalformed]),
            Truncated => (self.truncate(rng, 1)?, &[SizeMismatch]),
            Emptied => (self.truncate_to(0)?, &[EmptyMessage, SizeMismatch]),
            Swapped => (self.swap(partner)?, &[SizeMismatch]),
            BitFlipped => (self.flip_text_bit(rng)?, &[]),
            Lost => (self.listed && self.remove()?, &[MessageMissing]),
            Unreadable => (self.forbid()?, &[FileUnreadable]),
            Symlink => (self.link()?, &[SymbolicLink]),
            Fifo => (self.become_fifo()?, &[SpecialFile]),
            Duplicated => (self.duplicate()?, &[DuplicateName]),
            GzipBitFlipped => (self.flip_stream_bit(rng)?, &[CompressedStream]),
            GzipTruncated => (self.truncate(rng, GZIP_HEADER_BYTES)?, &[CompressedStream]),
            GzipBlockZeroed => (self.zero_block(rng, false)?, &[CompressedStream]),
            GzipFirstBlockZeroed => (self.zero_block(rng, true)?, &[ZeroBlock, NulRun, SizeMismatch]),
        };
        Ok(made.then_some(expected))
    }

    fn swap(&self, partner: Option<&Self>) -> Result<bool> {
        let Some(partner) = partner else { return Ok(false) };
        let aside = self.aside()?;
        fs::rename(self.full(), &aside)?;
        fs::rename(partner.full(), self.full())?;
        fs::rename(&aside, partner.full())?;
        Ok(true)
    }

    fn remove(&self) -> Result<bool> {
        fs::remove_file(self.full())?;
        Ok(true)
    }

    fn forbid(&self) -> Result<bool> {
        let works = !rustix::process::geteuid().is_root();
        if works {
            fs::set_permissions(self.full(), fs::Permissions::from_mode(0o000))?;
        }
        Ok(works)
    }

    fn link(&self) -> Result<bool> {
        let aside = self.aside()?;
        fs::rename(self.full(), &aside)?;
        symlink(&aside, self.full())?;
        Ok(true)
    }

    fn become_fifo(&self) -> Result<bool> {
        self.remove()?;
        mknodat(CWD, self.full(), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?;
        Ok(true)
    }

    fn duplicate(&self) -> Result<bool> {
        fs::copy(self.full(), self.with_other_flags())?;
        Ok(true)
    }

    fn full(&self) -> PathBuf {
        self.mailbox.folder().join(&self.path)
    }

    /// A path outside the node's root with the same name.
    fn aside(&self) -> Result<PathBuf> {
        let folder = self.mailbox.root.with_extension("aside");
        fs::create_dir_all(&folder)?;
        Ok(folder.join(self.path.file_name().expect("a message has a name")))
    }

    /// The same message's name in `cur` with flags it does not have.
    fn with_other_flags(&self) -> PathBuf {
        let stem = stem(&self.path).expect("a message has a name");
        let cur = self.mailbox.folder().join(&self.folder).join("cur");
        let other = ["FT", "FRT"].map(|flags| cur.join(format!("{stem}:2,{flags}")));
        let taken = self.full() == other[0];
        let [first, second] = other;
        if taken { second } else { first }
    }

    fn zero_block(&self, rng: &mut Rng, first: bool) -> Result<bool> {
        let blocks = self.bytes / BLOCK_BYTES;
        let start = match blocks {
            0 => return Ok(false),
            1 if !first => return Ok(false),
            _ if first => 0,
            _ => rng.within(1, blocks - 1) * BLOCK_BYTES,
        };
        let mut block = [0; BLOCK_BYTES];
        let file = open(&self.full())?;
        file.read_exact_at(&mut block, start as u64)?;
        if block == [0; BLOCK_BYTES] {
            return Ok(false);
        }
        file.write_all_at(&[0; BLOCK_BYTES], start as u64)?;
        Ok(true)
    }

    fn truncate(&self, rng: &mut Rng, least: usize) -> Result<bool> {
        if self.bytes <= least {
            return Ok(false);
        }
        self.truncate_to(rng.within(least, self.bytes - 1))
    }

    fn truncate_to(&self, bytes: usize) -> Result<bool> {
        open(&self.full())?.set_len(bytes as u64)?;
        Ok(true)
    }

    /// Changes a letter or digit of the text: never a header, a boundary or a line end, so that nothing but the content tells.
    fn flip_text_bit(&self, rng: &mut Rng) -> Result<bool> {
        let mut stored = fs::read(self.full())?;
        let Some(body) = stored.windows(2).position(|pair| pair == b"\n\n").map(|at| at + 2) else {
            return Ok(false);
        };
        let mut places = Vec::new();
        let mut start = body;
        for line in stored[body..].split_inclusive(|byte| *byte == b'\n') {
            if !line.starts_with(b"--") {
                places.extend((start..start + line.len()).filter(|at| stored[*at].is_ascii_alphanumeric()));
            }
            start += line.len();
        }
        if places.is_empty() {
            return Ok(false);
        }
        stored[*rng.pick(&places)] ^= 1;
        fs::write(self.full(), stored)?;
        Ok(true)
    }

    fn flip_stream_bit(&self, rng: &mut Rng) -> Result<bool> {
        if self.bytes <= GZIP_HEADER_BYTES + GZIP_END_BYTES {
            return Ok(false);
        }
        let mut stored = fs::read(self.full())?;
        let at = rng.within(GZIP_HEADER_BYTES, self.bytes - GZIP_END_BYTES - 1);
        stored[at] ^= 1 << rng.below(8);
        fs::write(self.full(), stored)?;
        Ok(true)
    }
}

/// Whether the fault is one of compressed messages or of plain ones; `None` when either will do.
fn stored_as(fault: MessageFault) -> Option<bool> {
    match fault {
        GzipBitFlipped | GzipTruncated | GzipBlockZeroed | GzipFirstBlockZeroed => Some(true),
        BlockZeroed | FirstBlockZeroed | Truncated | Swapped | BitFlipped => Some(false),
        Emptied | Lost | Unreadable | Symlink | Fifo | Duplicated => None,
    }
}

fn begins_as_gzip(path: &Path) -> Result<bool> {
    let mut magic = [0; 2];
    let read = fs::File::open(path)?.read_at(&mut magic, 0)?;
    Ok(is_gzip(&magic[..read]))
}

fn open(path: &Path) -> Result<fs::File> {
    Ok(OpenOptions::new().read(true).write(true).open(path)?)
}
