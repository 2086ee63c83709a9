//! Where readers of the journal find a handle.
//!
//! An embedded journal can be opened again only when every handle is dropped, so a handle is lent together with a token that
//! says when to let go of it.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

use crate::journal::Journal;

/// There is no handle to lend; the status of the cell says why.
#[derive(Debug)]
pub(crate) struct NotLent;

/// The present term's journal, for readers.
#[derive(Debug)]
pub(crate) struct Shelf<J> {
    present: Arc<Mutex<Option<(J, CancellationToken)>>>,
}

impl<J> Clone for Shelf<J> {
    fn clone(&self) -> Self {
        Self { present: Arc::clone(&self.present) }
    }
}

impl<J> Default for Shelf<J> {
    fn default() -> Self {
        Self { present: Arc::default() }
    }
}

impl<J: Journal> Shelf<J> {
    pub(super) fn put(&self, journal: J, over: CancellationToken) {
        *self.lock() = Some((journal, over));
    }

    pub(super) fn clear(&self) {
        *self.lock() = None;
    }

    /// Runs `work` with a handle of the present term; gives it up when the term ends.
    ///
    /// # Errors
    /// [`NotLent`] when no journal is open, or it was closed meanwhile.
    pub(crate) async fn with<T, F>(&self, work: impl FnOnce(J) -> F) -> Result<T, NotLent>
    where
        F: Future<Output = T>,
    {
        let lent = self.lock().as_ref().map(|(journal, over)| (journal.handle(), over.clone()));
        let (journal, over) = lent.ok_or(NotLent)?;
        // Cancel-safe: readers change nothing, and a dropped future drops its handle.
        tokio::select! {
            () = over.cancelled() => Err(NotLent),
            done = work(journal) => Ok(done),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<(J, CancellationToken)>> {
        // Holders only copy and replace.
        self.present.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
