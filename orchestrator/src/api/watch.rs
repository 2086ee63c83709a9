//! One reader of what happens.

use std::collections::BTreeSet;
use std::sync::Arc;

use rientro_engine::Engine;
use rientro_types::{CampaignId, CampaignView, CellView, Entry, Record, ShardId};
use rientro_wire::limits::SHARDS_PER_PAGE_MAX;
use rientro_wire::operator::{Decided, Lagged, WatchEvent, WatchQuery};
use rientro_wire::v1;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, watch};
use tonic::{Response, Status};

use super::look::unknown_campaign;
use super::{Answers, Gone, Operators, Sink};
use crate::driver::{Handle, Unavailable};
use crate::journal::Journal;
use crate::metrics::Metrics;
use crate::watch::Shown;

/// A reader, and what it has been shown.
struct Reader {
    campaign: Option<CampaignId>,
    /// Shards of the campaign, when only decisions about them are wanted.
    shards: BTreeSet<ShardId>,
    cell: Option<CellView>,
    campaigns: Vec<CampaignView>,
    metrics: Metrics,
}

type WatchSink = Sink<v1::WatchResponse>;

impl<J: Journal> Operators<J> {
    pub(super) async fn watch_cell(
        &self,
        query: WatchQuery,
    ) -> Result<Response<Answers<v1::WatchResponse>>, Status> {
        let WatchQuery { campaign, include_decisions } = query;
        // Before the campaign's members are asked for, so that none that joins meanwhile is missed.
        let entries = include_decisions.then(|| self.published.entries());
        let mut reader = Reader {
            campaign,
            shards: BTreeSet::new(),
            cell: None,
            campaigns: Vec::new(),
            metrics: self.metrics.clone(),
        };
        let mut first = None;
        if let Some(id) = campaign {
            let view = self.handle.ask(move |engine| engine.campaign_view(id)).await?;
            first = Some(view.ok_or_else(|| unknown_campaign(id))?);
            if include_decisions {
                reader.shards = members(&self.handle, id).await?;
            }
        }
        let views = self.views.follow();
        self.stream(|sink| async move {
            // A reader that has left needs no answer.
            let _gone = reader.run(&sink, first, views, entries).await;
            Ok(())
        })
    }
}

/// Shards of a campaign, page by page, so that the driver is not held up.
async fn members(handle: &Handle, campaign: CampaignId) -> Result<BTreeSet<ShardId>, Unavailable> {
    let selector = rientro_types::Selector { campaign: Some(campaign), ..Default::default() };
    let (mut shards, mut after) = (BTreeSet::new(), None);
    loop {
        let selector = selector.clone();
        let names = move |engine: &Engine| {
            let page = engine.shard_views(&selector, after, SHARDS_PER_PAGE_MAX);
            page.into_iter().map(|view| view.shard.shard).collect::<Vec<_>>()
        };
        let page = handle.ask(names).await?;
        after = page.last().copied();
        shards.extend(&page);
        if page.len() < SHARDS_PER_PAGE_MAX {
            return Ok(shards);
        }
    }
}

impl Reader {
    async fn run(
        &mut self,
        sink: &WatchSink,
        first: Option<CampaignView>,
        mut views: watch::Receiver<Option<Arc<Shown>>>,
        mut entries: Option<broadcast::Receiver<Arc<Entry>>>,
    ) -> Result<(), Gone> {
        if let Some(view) = first {
            self.show_campaign(sink, &view).await?;
        }
        views.mark_changed();
        loop {
            // Cancel-safe: both receivers keep what they did not hand out.
            tokio::select! {
                changed = views.changed() => {
                    if changed.is_err() {
                        return Ok(());
                    }
                    let shown = views.borrow_and_update().clone();
                    if let Some(shown) = shown {
                        self.show(sink, &shown).await?;
                    }
                }
                entry = next_entry(&mut entries) => match entry {
                    Ok(entry) => self.tell(sink, &entry).await?,
                    Err(RecvError::Lagged(missed)) => {
                        self.metrics.watchers_lagged.inc_by(missed);
                        sink.send(WatchEvent::Lagged(Lagged { missed })).await?;
                    }
                    Err(RecvError::Closed) => return Ok(()),
                },
            }
        }
    }

    /// Shows what differs from what was shown before.
    async fn show(&mut self, sink: &WatchSink, shown: &Shown) -> Result<(), Gone> {
        if self.cell.as_ref() != Some(&shown.cell) {
            self.cell = Some(shown.cell.clone());
            sink.send(WatchEvent::Cell(Box::new(shown.cell.clone()))).await?;
        }
        match self.campaign {
            Some(id) => {
                if let Some(view) = shown.campaign(id) {
                    self.show_campaign(sink, view).await?;
                }
            }
            None => {
                for view in &shown.campaigns {
                    self.show_campaign(sink, view).await?;
                }
                self.campaigns.retain(|view| shown.campaign(view.campaign).is_some());
            }
        }
        Ok(())
    }

    async fn show_campaign(&mut self, sink: &WatchSink, view: &CampaignView) -> Result<(), Gone> {
        match self.campaigns.iter_mut().find(|before| before.campaign == view.campaign) {
            Some(before) if before == view => return Ok(()),
            Some(before) => before.clone_from(view),
            None => self.campaigns.push(view.clone()),
        }
        sink.send(WatchEvent::Campaign(Box::new(view.clone()))).await
    }

    async fn tell(&mut self, sink: &WatchSink, entry: &Entry) -> Result<(), Gone> {
        let decisions: Vec<_> =
            entry.decisions.iter().filter(|decision| self.wants(&decision.record)).cloned().collect();
        if decisions.is_empty() {
            return Ok(());
        }
        sink.send(WatchEvent::Decided(Decided { seq: entry.seq, at: entry.at, decisions })).await
    }

    /// Whether a record is about the campaign watched, or its shards, or there is none watched.
    fn wants(&mut self, record: &Record) -> bool {
        let Some(watched) = self.campaign else { return true };
        match subject(record) {
            Subject::Campaign(id) => {
                if let Record::WaveFormed { shards, .. } = record
                    && id == watched
                {
                    self.shards.extend(shards);
                }
                id == watched
            }
            Subject::Shard(shard) => self.shards.contains(&shard),
            Subject::Selection => true,
            Subject::Cell => false,
        }
    }
}

async fn next_entry(entries: &mut Option<broadcast::Receiver<Arc<Entry>>>) -> Result<Arc<Entry>, RecvError> {
    match entries {
        Some(entries) => entries.recv().await,
        None => std::future::pending().await,
    }
}

/// What a record is about.
enum Subject {
    Campaign(CampaignId),
    Shard(ShardId),
    /// Whatever a selector matched.
    Selection,
    Cell,
}

fn subject(record: &Record) -> Subject {
    match record {
        Record::CellFounded { .. }
        | Record::CellRestored { .. }
        | Record::LeaderTook { .. }
        | Record::Absent { .. }
        | Record::ClockMarked
        | Record::LimitsSet { .. }
        | Record::NodeEnrolled { .. }
        | Record::NodeSilent { .. }
        | Record::NodeHeard { .. } => Subject::Cell,
        Record::Settled { .. }
        | Record::Closed { .. }
        | Record::Retried { .. }
        | Record::Accepted { .. }
        | Record::Prioritised { .. }
        | Record::Adopted { .. } => Subject::Selection,
        Record::CampaignStarted { plan, .. } => Subject::Campaign(plan.name),
        Record::CampaignRevised { plan, .. } => Subject::Campaign(plan.name),
        Record::WaveFormed { campaign, .. }
        | Record::CampaignReady { campaign }
        | Record::CampaignPaused { campaign, .. }
        | Record::CampaignResumed { campaign }
        | Record::CampaignAborted { campaign }
        | Record::CampaignEnded { campaign }
        | Record::WaveStarted { campaign, .. }
        | Record::WaveSettled { campaign, .. }
        | Record::WaveUnsettled { campaign, .. }
        | Record::WavePassed { campaign, .. } => Subject::Campaign(*campaign),
        Record::ShardMet { claim, .. } => Subject::Shard(claim.shard),
        Record::ShardMeasured { shard, .. }
        | Record::ShardPlaced { shard, .. }
        | Record::ShardHeld { shard, .. }
        | Record::ShardReleased { shard }
        | Record::ShardUnlisted { shard, .. }
        | Record::TaskStarted { shard, .. }
        | Record::TaskEnded { shard, .. }
        | Record::TaskReleased { shard, .. }
        | Record::VerificationExpired { shard }
        | Record::StepOpening { shard, .. }
        | Record::OpeningOverdue { shard }
        | Record::ServicesSeen { shard, .. }
        | Record::ShardOpened { shard }
        | Record::ExceptionSet { shard, .. } => Subject::Shard(*shard),
    }
}
