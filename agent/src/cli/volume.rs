//! `rientro-agent volume`: which volume a path is on, and enrolling one. Enrolling is the one thing here that writes.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Subcommand;
use rientro_mailstore::volume;

use crate::durable;

#[derive(Debug, Subcommand)]
pub(super) enum VolumeCommand {
    /// Show the identity of the volume mounted at a path.
    Show {
        /// Root of the volume.
        path: PathBuf,
    },
    /// Give the volume mounted at a path a marker of its own: the file .rientro-volume at its root.
    Enrol {
        /// Root of the volume.
        path: PathBuf,
    },
}

pub(super) fn run(command: &VolumeCommand) -> Result<()> {
    let id = match command {
        VolumeCommand::Show { path } => volume::identify(path)?,
        VolumeCommand::Enrol { path } => volume::enrol(path, &uuid().context("draw a UUID")?)?,
    };
    super::print(&format!("{id}\n"))
}

/// A random UUID, RFC 9562 section 5.4.
fn uuid() -> std::io::Result<String> {
    let mut bytes: [u8; 16] = durable::random()?;
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok([&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-"))
}
