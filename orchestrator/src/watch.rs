//! Tells readers what happens, without ever waiting for one.
//!
//! Decisions go through a ring: a reader that is too slow loses the oldest, learns how many, and goes on with the present.
//! Views are made a few times a second while somebody watches, once for all readers; a reader sees the newest only.

use std::sync::Arc;
use std::time::Duration;

use rientro_engine::Engine;
use rientro_types::{CampaignId, CampaignView, CellView, Entry, Seq};
use tokio::sync::{broadcast, watch};
use tokio_util::sync::CancellationToken;

use crate::driver::Handle;

/// Entries kept for slow readers. An entry is at most one MiB encoded and usually far less; at full speed this is a second.
pub const ENTRIES_KEPT: usize = 64;
/// Time between two views; people see two a second as live.
const VIEWS_EVERY: Duration = Duration::from_millis(500);

/// What the driver publishes.
#[derive(Clone, Debug)]
pub(crate) struct Published {
    decided: broadcast::Sender<Arc<Entry>>,
    seq_next: Arc<watch::Sender<Seq>>,
}

impl Default for Published {
    fn default() -> Self {
        let (decided, _) = broadcast::channel(ENTRIES_KEPT);
        Self { decided, seq_next: Arc::new(watch::channel(Seq::from_raw(1)).0) }
    }
}

impl Published {
    /// An entry became durable.
    pub(crate) fn decided(&self, entry: Entry) {
        self.durable(entry.seq_next());
        if self.decided.receiver_count() > 0 {
            // The last reader may leave at this moment.
            let _nobody = self.decided.send(Arc::new(entry));
        }
    }

    /// Everything before this record is durable.
    pub(crate) fn durable(&self, seq_next: Seq) {
        self.seq_next.send_replace(seq_next);
    }

    /// Entries from here on.
    pub(crate) fn entries(&self) -> broadcast::Receiver<Arc<Entry>> {
        self.decided.subscribe()
    }

    /// Follows the number of the next record.
    pub(crate) fn seq_changes(&self) -> watch::Receiver<Seq> {
        self.seq_next.subscribe()
    }
}

/// The cell and its live campaigns at one moment.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) cell: CellView,
    /// Live campaigns, and those that were live the time before, so that their end is seen.
    pub(crate) campaigns: Vec<CampaignView>,
}

impl Shown {
    /// The view of a campaign.
    pub(crate) fn campaign(&self, id: CampaignId) -> Option<&CampaignView> {
        self.campaigns.iter().find(|view| view.campaign == id)
    }

    fn of(engine: &Engine, before: &[CampaignId]) -> Option<Self> {
        let shown = engine.campaign_states().filter(|(id, state)| state.is_live() || before.contains(id));
        let campaigns = shown.filter_map(|(id, _)| engine.campaign_view(id)).collect();
        Some(Self { cell: engine.cell_view()?, campaigns })
    }

    fn live(&self) -> Vec<CampaignId> {
        self.campaigns.iter().filter(|view| view.state.is_live()).map(|view| view.campaign).collect()
    }
}

/// The newest views, while somebody watches.
#[derive(Clone, Debug)]
pub(crate) struct Views {
    shown: Arc<watch::Sender<Option<Arc<Shown>>>>,
    readers: Arc<tokio::sync::Notify>,
}

impl Default for Views {
    fn default() -> Self {
        Self { shown: Arc::new(watch::channel(None).0), readers: Arc::default() }
    }
}

impl Views {
    /// Follows the views.
    pub(crate) fn follow(&self) -> watch::Receiver<Option<Arc<Shown>>> {
        let receiver = self.shown.subscribe();
        self.readers.notify_one();
        receiver
    }

    /// Makes views until stopped, only while somebody follows.
    pub(crate) async fn run(self, handle: Handle, stop: CancellationToken) {
        // Cancel-safe: a view half made is dropped.
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.show(handle) => {}
        }
    }

    async fn show(&self, handle: Handle) {
        let mut live = Vec::new();
        loop {
            if self.shown.receiver_count() == 0 {
                self.shown.send_replace(None);
                self.readers.notified().await;
                continue;
            }
            let before = live.clone();
            if let Ok(Some(shown)) = handle.ask(move |engine| Shown::of(engine, &before)).await {
                live = shown.live();
                self.shown.send_if_modified(|present| {
                    let changed = present.as_deref() != Some(&shown);
                    if changed {
                        *present = Some(Arc::new(shown));
                    }
                    changed
                });
            }
            tokio::time::sleep(VIEWS_EVERY).await;
        }
    }
}
