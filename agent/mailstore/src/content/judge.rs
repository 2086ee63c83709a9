//! What the content of a message shows, whatever format it stands in.
//!
//! A message delivered with matching sizes is whole as it was delivered, however odd its header or structure; a gzip stream
//! whose checksum holds is what was compressed. So header and structure are judged only where neither vouches, and what is
//! judged always is what no delivery leaves behind: runs of NUL bytes, and binary bytes where the header begins.

use rientro_types::FindingKind;

use super::decode::Encoding;
use super::nul::NulRuns;
use super::plain::PlainFacts;
use super::scan::Pass;
use super::sizes::Sizes;
use super::stream::StreamFault;
use super::structure::StructureFacts;
use crate::control::Stopped;
use crate::verify::Notes;

/// Where a message stands, as findings name it.
pub(crate) struct Spot {
    /// Path of its file inside the mailbox.
    pub(crate) path: Vec<u8>,
    /// Its position, where a file holds several.
    pub(crate) at: Option<u64>,
}

impl Spot {
    /// Notes a finding about the message.
    pub(crate) fn note(self, kind: FindingKind, detail: &str, notes: &mut Notes<'_>) {
        let detail = match self.at {
            Some(at) if detail.is_empty() => format!("at {at}"),
            Some(at) => format!("at {at}: {detail}"),
            None => detail.to_owned(),
        };
        notes.add(kind, self.path, detail);
    }

    /// Notes a finding about the message after it was looked at; `marked` when damage of it is counted already.
    pub(crate) fn remark(
        self,
        kind: FindingKind,
        detail: &str,
        marked: bool,
        notes: &mut Notes<'_>,
    ) -> Result<(), Stopped> {
        notes.begin_message();
        self.note(kind, detail, notes);
        if marked { notes.end_repeated_remark() } else { notes.end_remark() }
    }
}

/// What a pass is enough for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Judged {
    /// All of the message was looked at.
    Whole,
    /// All of it was looked at, and nothing vouches for it: header and structure are to be judged too.
    Unvouched,
    /// Not all of it could be looked at.
    Partly,
}

/// Notes what a pass shows. `sizes` is what is known of the message from elsewhere.
pub(crate) fn judge(spot: &dyn Fn() -> Spot, sizes: Sizes, pass: &Pass, notes: &mut Notes<'_>) -> Judged {
    if let Encoding::Foreign(name) = pass.encoding {
        spot().note(FindingKind::FileUnreadable, &format!("{name} streams are not decoded"), notes);
        return Judged::Partly;
    }
    if let Some(fault) = pass.fault {
        return note_fault(spot, fault, pass, notes);
    }
    if pass.facts.size_bytes == 0 && sizes.plain_bytes != Some(0) {
        let detail = sizes.plain_bytes.map_or(String::new(), |size| format!("S={size}"));
        spot().note(FindingKind::EmptyMessage, &detail, notes);
        return Judged::Whole;
    }
    let sizes_fit = note_sizes(spot, sizes, &pass.facts, notes);
    let whole_stream = pass.encoding == Encoding::Gzip && sizes_fit;
    if whole_stream {
        return Judged::Whole;
    }
    let as_stored = pass.encoding == Encoding::Plain && !pass.assembled;
    note_nuls(spot, &pass.facts.nuls, as_stored, notes);
    if !(sizes_fit && sizes.any()) {
        return Judged::Unvouched;
    }
    if pass.facts.head_binary {
        spot().note(FindingKind::HeaderMalformed, "binary bytes where the header begins", notes);
    }
    Judged::Whole
}

/// Notes what header and structure of an unvouched message show.
pub(crate) fn judge_structure(spot: &dyn Fn() -> Spot, facts: &StructureFacts, notes: &mut Notes<'_>) {
    if let Some(fault) = facts.header_fault {
        spot().note(FindingKind::HeaderMalformed, fault, notes);
    }
    if facts.unclosed {
        let detail = if facts.ends_in_line { "closing boundary is missing" } else { "ends inside a line" };
        spot().note(FindingKind::MimeTruncated, detail, notes);
    }
}

fn note_fault(spot: &dyn Fn() -> Spot, fault: StreamFault, pass: &Pass, notes: &mut Notes<'_>) -> Judged {
    if fault == StreamFault::TooLarge {
        spot().note(FindingKind::LimitReached, fault.text(), notes);
        return Judged::Partly;
    }
    spot().note(FindingKind::CompressedStream, fault.text(), notes);
    note_nuls(spot, &pass.stored_nuls, true, notes);
    Judged::Whole
}

/// Notes sizes that differ; whether those that are known fit.
fn note_sizes(spot: &dyn Fn() -> Spot, sizes: Sizes, facts: &PlainFacts, notes: &mut Notes<'_>) -> bool {
    let mut fit = true;
    for (what, known, found, kind) in [
        ("S", sizes.plain_bytes, facts.size_bytes, FindingKind::SizeMismatch),
        ("W", sizes.virtual_bytes, facts.virtual_bytes, FindingKind::VirtualSizeMismatch),
    ] {
        if let Some(known) = known.filter(|known| *known != found) {
            spot().note(kind, &format!("{what}={known}, {found} bytes found"), notes);
            fit = false;
        }
    }
    fit
}

/// Notes NUL runs. Lost blocks show by their alignment, which means something in the stored file only.
fn note_nuls(spot: &dyn Fn() -> Spot, nuls: &NulRuns, stored: bool, notes: &mut Notes<'_>) {
    if stored && nuls.blocks > 0 {
        let detail = format!("{} of 4096 bytes, the first at {}", nuls.blocks, nuls.first_block);
        spot().note(FindingKind::ZeroBlock, &detail, notes);
    } else if nuls.runs > 0 {
        let (at, length) = nuls.first;
        spot().note(
            FindingKind::NulRun,
            &format!("{} runs, the first of {length} at {at}", nuls.runs),
            notes,
        );
    }
}
