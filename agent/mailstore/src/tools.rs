//! What a reader keeps from mailbox to mailbox.

use crate::dbox::{AttachmentRoot, DboxReader};
use crate::layout::AlternativePlace;
use crate::maildir::message::MessageReader;

/// Buffers and readers of messages.
pub(crate) struct Tools {
    /// Directories are listed through it.
    pub(crate) listing: Vec<u8>,
    pub(crate) maildir: MessageReader,
    dbox: Option<Box<DboxReader>>,
    attachments: AttachmentRoot,
    /// Where the mailbox at hand has moved older messages to, if it is a dbox.
    pub(crate) alternative: Option<AlternativePlace>,
}

impl Tools {
    pub(crate) fn new(attachments: AttachmentRoot) -> Self {
        Self {
            listing: Vec::new(),
            maildir: MessageReader::new(),
            dbox: None,
            attachments,
            alternative: None,
        }
    }

    /// The reader of dbox files, made on first need, and where attachments are.
    pub(crate) fn dbox(&mut self) -> (&mut DboxReader, &AttachmentRoot) {
        (self.dbox.get_or_insert_with(|| Box::new(DboxReader::new())), &self.attachments)
    }
}
