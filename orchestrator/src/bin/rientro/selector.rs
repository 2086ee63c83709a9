//! The flags with which every verb says which shards it is about.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};

use clap::Args;
use rientro_types::{
    CampaignId, FindingKind, FindingKinds, LabelKey, LabelValue, REASON_BYTES_MAX, Refusal, SHARDS_NAMED_MAX,
    Selector, ShardId, ShardState, WaveNo,
};
use rientro_wire::operator::ShardsQuery;

use crate::client::Client;
use crate::failure::Failure;
use crate::foreign::{clean, file_name};
use crate::human::plural;
use crate::session::refused;

/// Longest list of shards that is read: each name with a line end, and as much again for comments.
const LIST_BYTES_MAX: u64 = 2 * 48 * SHARDS_NAMED_MAX as u64;

/// What some editors write before a text.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();
/// How a list is written.
const LINES: &str = "write one shard a line, as `rientro shard list` shows it; # begins a comment";

/// Shards match when every part that is given matches.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct SelectorArgs {
    /// Shards by name
    #[arg(value_name = "SHARD")]
    names: Vec<ShardId>,
    /// A shard by name; may be repeated
    #[arg(long = "shard", value_name = "SHARD", help_heading = "Selection")]
    shards: Vec<ShardId>,
    /// A file with one shard a line, `#` begins a comment; `-` reads stdin
    #[arg(long, value_name = "FILE", help_heading = "Selection")]
    shards_from: Option<PathBuf>,
    /// Shards of this campaign
    #[arg(long, help_heading = "Selection")]
    campaign: Option<CampaignId>,
    /// Shards of this wave of the campaign
    #[arg(long, requires = "campaign", value_parser = wave, help_heading = "Selection")]
    wave: Option<WaveNo>,
    /// Shards on nodes with this label, such as rack=r12; all that are given must match
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label, help_heading = "Selection")]
    labels: Vec<(LabelKey, LabelValue)>,
    /// Shards in this state, or in one of several: held,failed
    #[arg(long = "state", value_name = "STATE", value_delimiter = ',', value_parser = state, help_heading = "Selection")]
    states: Vec<ShardState>,
    /// Shards whose newest verification found this, or one of several: zero-block,nul-run
    #[arg(long = "finding", value_name = "KIND", value_delimiter = ',', value_parser = kind, help_heading = "Selection")]
    findings: Vec<FindingKind>,
    /// Every shard of the cell
    #[arg(long, help_heading = "Selection")]
    all: bool,
}

impl SelectorArgs {
    /// The selector; reads the list of shards.
    pub(crate) fn selector(&self) -> Result<Selector, Failure> {
        let mut shards: Vec<ShardId> = self.names.iter().chain(&self.shards).copied().collect();
        if let Some(path) = &self.shards_from {
            shards.extend(listed(path)?);
        }
        let mut labels = BTreeMap::new();
        for (key, value) in &self.labels {
            if labels.insert(*key, *value).is_some_and(|before| before != *value) {
                let what = format!("--label {key} is given with two values; no node has both");
                return Err(Failure::Usage(what.into()));
            }
        }
        let mut findings = FindingKinds::NONE;
        self.findings.iter().for_each(|kind| findings.insert(*kind));
        Ok(Selector {
            all: self.all,
            campaign: self.campaign,
            wave: self.wave,
            labels,
            states: self.states.clone(),
            findings,
            shards,
        })
    }
}

/// Refuses names that the cell does not know: what is asked of them has no answer, and none is not nothing.
pub(crate) async fn known(client: &mut Client, selector: &Selector) -> Result<(), Failure> {
    if let Some(campaign) = selector.campaign {
        let view = client.campaign(campaign).await?;
        if let Some(wave) = selector.wave.filter(|wave| view.waves.iter().all(|known| known.wave != *wave)) {
            let next = format!("it has {}, from 0", plural(view.waves.len() as u64, "wave"));
            return Err(Failure::refused(format!("campaign {campaign} has no wave {wave}"), next));
        }
    }
    if !selector.labels.is_empty() {
        let nodes = client.nodes().await?;
        let carried = |key, value| nodes.iter().any(|node| node.labels.get(key) == Some(value));
        if let Some((key, value)) = selector.labels.iter().find(|(key, value)| !carried(key, value)) {
            let what = format!("no node has the label {key}={value}");
            return Err(Failure::refused(what, "`rientro node list` shows the labels"));
        }
    }
    if !selector.shards.is_empty() {
        let named = Selector { shards: selector.shards.clone(), ..Selector::default() };
        let found = client.shards(ShardsQuery { selector: named, after: None, max: 0 }).await?;
        let found: BTreeSet<ShardId> = found.iter().map(|view| view.shard.shard).collect();
        if let Some(shard) = selector.shards.iter().find(|shard| !found.contains(shard)) {
            return Err(refused(&Refusal::ShardUnknown(*shard)));
        }
    }
    Ok(())
}

/// The shards that a file names. One that names none is refused: beside another part of a selection it would widen that to
/// all it matches, and a list that came out empty means the opposite.
fn listed(path: &Path) -> Result<Vec<ShardId>, Failure> {
    let name = file_name(path);
    let mut bytes = Vec::new();
    let read = if path.as_os_str() == "-" {
        std::io::stdin().take(LIST_BYTES_MAX).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(LIST_BYTES_MAX).read_to_end(&mut bytes))
    };
    read.map_err(|source| Failure::io(format!("read the list of shards {name}"), source))?;
    if bytes.len() as u64 == LIST_BYTES_MAX {
        let next = format!("at most {SHARDS_NAMED_MAX} shards can be named at once");
        return Err(Failure::usage(format!("{name} is too long"), next));
    }
    let mut shards = Vec::new();
    let text = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&bytes);
    for (line, bytes) in (1..).zip(text.split(|byte| *byte == b'\n')) {
        let wrong = |what: String| Failure::usage(format!("{name}:{line}: {what}"), LINES);
        let text = str::from_utf8(bytes).map_err(|_| wrong("is not UTF-8".to_owned()))?;
        let word = text.split('#').next().unwrap_or_default().trim();
        if !word.is_empty() {
            shards.push(word.parse().map_err(|error| wrong(format!("{} {error}", clean(word))))?);
        }
    }
    if shards.is_empty() {
        return Err(Failure::usage(format!("{name} names no shard"), "nothing is selected by an empty list"));
    }
    Ok(shards)
}

pub(crate) fn wave(text: &str) -> Result<WaveNo, String> {
    text.parse().map(WaveNo::from_raw).map_err(|_| "is not the number of a wave".to_owned())
}

fn label(text: &str) -> Result<(LabelKey, LabelValue), String> {
    let (key, value) = text.split_once('=').ok_or("write it as KEY=VALUE, such as rack=r12")?;
    let key = key.parse().map_err(|error| format!("the key {error}"))?;
    let value = value.parse().map_err(|error| format!("the value {error}"))?;
    Ok((key, value))
}

fn state(text: &str) -> Result<ShardState, String> {
    text.parse().map_err(|_| {
        let known: Vec<_> = ShardState::ALL.iter().map(|state| state.name()).collect();
        format!("the states are {}", known.join(", "))
    })
}

/// Why something is decided, as the journal takes it.
pub(crate) fn reason(text: &str) -> Result<String, String> {
    if text.trim().is_empty() {
        return Err("say why, in a few words: the decision stands in the journal with it".to_owned());
    }
    if text.len() > REASON_BYTES_MAX {
        let bytes = text.len();
        return Err(format!("it has {bytes} bytes; shorten it to at most {REASON_BYTES_MAX} bytes"));
    }
    Ok(text.to_owned())
}

pub(crate) fn kind(text: &str) -> Result<FindingKind, String> {
    text.parse().map_err(|_| {
        let known: Vec<_> = FindingKind::ALL.iter().map(|kind| kind.code()).collect();
        format!("the kinds are {}", known.join(", "))
    })
}
