//! A small LMTP client (RFC 2033): one recipient a message, every answer checked.

use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::wire::{Lines, with_crlf};

/// A connection to an LMTP server.
pub struct Lmtp(Lines);

impl Lmtp {
    /// Connects and greets.
    ///
    /// # Errors
    /// When there is no server or it refuses.
    pub fn connect(socket: &Path) -> Result<Self> {
        let mut client = Self(Lines::connect(socket)?);
        client.expect("220").context("greeting")?;
        client.command("LHLO dev.rientro.test", "250")?;
        Ok(client)
    }

    /// Delivers a message to one recipient. Lines may end in LF or CRLF; a last line without an end gets one, as LMTP demands.
    ///
    /// # Errors
    /// When any step is refused.
    pub fn deliver(&mut self, from: &str, to: &str, message: &[u8]) -> Result<()> {
        self.command(&format!("MAIL FROM:<{from}>"), "250")?;
        self.command(&format!("RCPT TO:<{to}>"), "250")?;
        self.command("DATA", "354")?;
        self.0.write(&stuffed(message))?;
        self.expect("250").with_context(|| format!("deliver to {to}"))
    }

    fn command(&mut self, command: &str, code: &str) -> Result<()> {
        self.0.write(format!("{command}\r\n").as_bytes())?;
        self.expect(code).with_context(|| format!("send {command}"))
    }

    fn expect(&mut self, code: &str) -> Result<()> {
        loop {
            let line = self.0.read()?;
            ensure!(line.starts_with(code), "the server said: {line}");
            if line.as_bytes().get(3) != Some(&b'-') {
                return Ok(());
            }
        }
    }
}

/// The message as DATA wants it: CRLF ends, leading dots doubled, ended by a lone dot.
fn stuffed(message: &[u8]) -> Vec<u8> {
    let message = with_crlf(message);
    let mut out = Vec::with_capacity(message.len() + 64);
    for line in message.split_inclusive(|byte| *byte == b'\n') {
        if line.starts_with(b".") {
            out.push(b'.');
        }
        out.extend_from_slice(line);
    }
    if !out.ends_with(b"\n") {
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b".\r\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_are_doubled_and_the_end_is_marked() {
        assert_eq!(stuffed(b".a\nb."), b"..a\r\nb.\r\n.\r\n");
    }
}
