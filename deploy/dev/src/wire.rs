//! Lines over a socket with bounds: what the LMTP and the IMAP client share.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

/// Silence longer than this means that the server hangs; its slowest answer here takes milliseconds.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// Longest line read. Dovecot's longest, the list of capabilities, stays below 1 KiB.
const LINE_BYTES_MAX: u64 = 64 * 1024;

/// A connection that speaks in lines.
pub(crate) struct Lines {
    reader: BufReader<UnixStream>,
}

impl Lines {
    pub(crate) fn connect(socket: &Path) -> Result<Self> {
        let stream =
            UnixStream::connect(socket).with_context(|| format!("connect to {}", socket.display()))?;
        stream.set_read_timeout(Some(SILENCE_MAX)).context("bound reads")?;
        stream.set_write_timeout(Some(SILENCE_MAX)).context("bound writes")?;
        Ok(Self { reader: BufReader::new(stream) })
    }

    /// The next line without its end.
    pub(crate) fn read(&mut self) -> Result<String> {
        let mut line = Vec::new();
        (&mut self.reader)
            .take(LINE_BYTES_MAX)
            .read_until(b'\n', &mut line)
            .context("read the server's answer")?;
        ensure!(
            line.ends_with(b"\n"),
            "the server hung up, or its line is longer than {LINE_BYTES_MAX} bytes"
        );
        Ok(String::from_utf8_lossy(line.trim_ascii_end()).into_owned())
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.reader.get_mut().write_all(bytes).context("write to the server")
    }
}

/// The message with CRLF line ends, whichever ends it has.
pub(crate) fn with_crlf(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len() + message.len() / 32);
    for line in message.split_inclusive(|byte| *byte == b'\n') {
        match line.strip_suffix(b"\n") {
            Some(text) => {
                out.extend_from_slice(text.strip_suffix(b"\r").unwrap_or(text));
                out.extend_from_slice(b"\r\n");
            }
            None => out.extend_from_slice(line),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_end_becomes_crlf_once() {
        assert_eq!(with_crlf(b"a\nb\r\n\nc"), b"a\r\nb\r\n\r\nc");
    }
}
