//! What the offline commands read, and how fast.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use rientro_mailstore::{Pace, READERS_MAX};
use rientro_types::ByteSize;

use super::detect::{self, Found};

/// Mail on this machine.
#[derive(Debug, Args)]
pub(super) struct Source {
    /// A mailbox, or a directory with mailboxes below it.
    pub(super) path: PathBuf,
    /// Where mailboxes stand below the path, such as '{domain}/{user}/Maildir'; seen by itself where that is plain.
    #[arg(long)]
    layout: Option<String>,
    /// Directory in which attachments are stored apart from their messages (Dovecot's mail_attachment_dir): its path below PATH,
    /// or, where PATH is one mailbox, below the directory that PATH is in.
    #[arg(long)]
    attachments: Option<String>,
    /// Where dboxes have moved older messages (ALT of Dovecot's mail_location): the directory of each, with the layout's variables,
    /// such as '/srv/old/{domain}/{user}'.
    #[arg(long)]
    alternative: Option<String>,
    /// Files read at once.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=READERS_MAX as i64))]
    readers: Option<u16>,
    /// Most bytes read a second, such as '50 MiB'.
    #[arg(long)]
    rate: Option<ByteSize>,
}

impl Source {
    /// Where the mailboxes stand.
    pub(super) fn find(&self) -> Result<Found> {
        let mut found = detect::layout(&self.path, self.layout.as_deref())?;
        if let Some(attachments) = &self.attachments {
            found.layout = found.layout.with_attachments(attachments)?;
        }
        if let Some(alternative) = &self.alternative {
            found.layout = found.layout.with_alternative(alternative)?;
        }
        Ok(found)
    }

    pub(super) fn pace(&self) -> Pace {
        let default = Pace::default();
        Pace {
            readers: self.readers.map_or(default.readers, usize::from),
            bytes_per_second: self.rate.map_or(0, ByteSize::bytes),
        }
    }
}
