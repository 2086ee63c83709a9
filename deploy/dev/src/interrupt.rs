//! Notices Ctrl-C and requests to end, so that a program can end what it has started before it ends itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::{Context, Result};
use tokio::signal::unix::{SignalKind, signal};

/// Whether this process was asked to end.
#[derive(Clone, Debug)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// From here on SIGINT and SIGTERM no longer end the process: whoever called this looks at [`Interrupt::came`].
    ///
    /// # Errors
    /// When the system gives no way to listen.
    pub fn listen() -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()
            .context("start listening for signals")?;
        let listening = {
            let _within = runtime.enter();
            signal(SignalKind::interrupt()).and_then(|int| Ok((int, signal(SignalKind::terminate())?)))
        };
        let (mut interrupt, mut terminate) = listening.context("listen for signals")?;
        let came = Arc::new(AtomicBool::new(false));
        let note = Arc::clone(&came);
        // Ends with the process; there is nothing to wait for.
        thread::spawn(move || {
            runtime.block_on(async {
                // Cancel-safe: one signal is enough.
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
            });
            note.store(true, Ordering::SeqCst);
        });
        Ok(Self(came))
    }

    /// Whether one came.
    #[must_use]
    pub fn came(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}
