//! Real messages: CPython's samples of what mail programs have sent over the years, and seeded variations of them.
//!
//! The samples stay as they are, defects included; a variation wraps or extends one so that sizes, charsets, line lengths and MIME depth spread
//! as in a real mailbox. No clock and no randomness but the seed's: the same seed gives the same bytes.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::rng::Rng;
use crate::servers;

/// Largest attachment, in bytes before encoding.
const ATTACHMENT_BYTES_MAX: usize = 400_000;
/// Longest line written; mail programs that ignore the limit of 998 are common, and a paragraph per line is what they send.
const LINE_BYTES_MAX: usize = 12_000;

/// A charset's name and a line in it.
const TEXTS: [(&str, &[u8]); 8] = [
    ("utf-8", "Perché no? Così è più bello — grüße, здравствуйте, こんにちは".as_bytes()),
    ("iso-8859-1", b"Caf\xe9 cr\xe8me, d\xe9j\xe0 vu, cos\xec \xe8 pi\xf9 bello"),
    ("windows-1252", b"\x93quoted\x94 \x96 100 \x80, soit l\x92exp\xe9rience"),
    ("koi8-r", b"\xf0\xd2\xc9\xd7\xc5\xd4 \xf7\xc1\xd3\xc9\xcc\xc9\xca, \xd0\xc9\xd3\xd8\xcd\xcf"),
    ("shift_jis", b"\x82\xb1\x82\xf1\x82\xc9\x82\xbf\x82\xcd 2021 \x83\x81\x81[\x83\x8b"),
    ("iso-2022-jp", b"\x1b$B$3$s$K$A$O\x1b(B mail \x1b$B%a!<%k\x1b(B"),
    ("gb2312", b"\xc4\xe3\xba\xc3 \xd3\xca\xbc\xfe"),
    ("us-ascii", b"the quarterly report is attached, please reply above this line"),
];

/// Sample messages and files to attach.
#[derive(Clone, Debug)]
pub struct Samples {
    messages: Vec<Vec<u8>>,
    files: Vec<Vec<u8>>,
}

impl Samples {
    /// Brings and reads the samples.
    ///
    /// # Errors
    /// When they cannot be brought or read.
    pub fn load() -> Result<Self> {
        let folder = servers::samples()?;
        let messages = read_all(&folder, |name| name.starts_with("msg_"))?;
        let files = read_all(&folder, |name| name.starts_with("python.") || name.starts_with("sndhdr."))?;
        ensure!(!messages.is_empty() && !files.is_empty(), "{} holds no samples", folder.display());
        Ok(Self { messages, files })
    }

    /// One message: mostly a variation, one in six a sample as it is. The serial number makes it unlike every other variation.
    pub fn message(&self, rng: &mut Rng, serial: u32) -> Vec<u8> {
        let sample = rng.pick(&self.messages).clone();
        match rng.below(12) {
            0 | 1 => sample,
            2 | 3 => with_headers_before(serial, &sample),
            4 => nested(serial, &sample, rng.within(1, 4)),
            5 | 6 => self.with_attachment(rng, serial),
            7 => long_lines(rng, serial),
            8 => alternative(rng, serial),
            _ => plain_text(rng, serial),
        }
    }

    fn with_attachment(&self, rng: &mut Rng, serial: u32) -> Vec<u8> {
        let boundary = format!("=_mixed_{serial}");
        let mut out = headers(serial, &format!("multipart/mixed; boundary=\"{boundary}\""), "7bit");
        put(&mut out, format_args!("--{boundary}\nContent-Type: text/plain\n\nSee the attachments.\n"));
        for _ in 0..rng.within(1, 3) {
            let file = self.attachment(rng);
            put(
                &mut out,
                format_args!(
                    "--{boundary}\nContent-Type: application/octet-stream; name=\"file{serial}.bin\"\n"
                ),
            );
            put(
                &mut out,
                format_args!("Content-Disposition: attachment\nContent-Transfer-Encoding: base64\n\n"),
            );
            base64_lines(&mut out, &file);
        }
        put(&mut out, format_args!("--{boundary}--\n"));
        out
    }

    fn attachment(&self, rng: &mut Rng) -> Vec<u8> {
        if rng.one_in(3) {
            return rng.pick(&self.files).clone();
        }
        let bytes = rng.size(1_000, ATTACHMENT_BYTES_MAX);
        (0..bytes.div_ceil(8)).flat_map(|_| rng.bits().to_le_bytes()).take(bytes).collect()
    }
}

fn read_all(folder: &Path, wanted: impl Fn(&str) -> bool) -> Result<Vec<Vec<u8>>> {
    let listed = fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))?;
    let mut paths: Vec<_> = listed.flatten().map(|entry| entry.path()).collect();
    paths.retain(|path| path.file_name().and_then(|name| name.to_str()).is_some_and(&wanted));
    // The order of a directory differs between machines; the seed must not.
    paths.sort();
    paths.iter().map(|path| fs::read(path).with_context(|| format!("read {}", path.display()))).collect()
}

/// A header section of our own, ended by its empty line.
fn headers(serial: u32, content_type: &str, encoding: &str) -> Vec<u8> {
    let (day, hour, minute) = (serial % 28 + 1, serial % 24, serial % 60);
    format!(
        "From: Sender {serial} <sender{serial}@example.test>
To: someone@example.test
Subject: Message {serial}
Date: {day:02} Mar 2021 {hour:02}:{minute:02}:00 +0000
Message-ID: <{serial}.dev@example.test>
MIME-Version: 1.0
Content-Type: {content_type}
Content-Transfer-Encoding: {encoding}

"
    )
    .into_bytes()
}

fn with_headers_before(serial: u32, sample: &[u8]) -> Vec<u8> {
    let mut out =
        format!("X-Sample: {serial}\nX-Folded: one line\n\tand its continuation {serial}\n").into_bytes();
    out.extend_from_slice(sample);
    out
}

/// The sample inside message/rfc822 parts inside multiparts, so many levels deep.
fn nested(serial: u32, sample: &[u8], levels: usize) -> Vec<u8> {
    let mut inner = sample.to_vec();
    for level in 0..levels {
        let boundary = format!("=_level{level}_{serial}");
        let mut outer = headers(serial, &format!("multipart/mixed;\n boundary=\"{boundary}\""), "8bit");
        put(
            &mut outer,
            format_args!("--{boundary}\nContent-Type: text/plain\n\nForwarded, level {level}.\n"),
        );
        put(&mut outer, format_args!("--{boundary}\nContent-Type: message/rfc822\n\n"));
        outer.extend_from_slice(&inner);
        put(&mut outer, format_args!("\n--{boundary}--\n"));
        inner = outer;
    }
    inner
}

fn plain_text(rng: &mut Rng, serial: u32) -> Vec<u8> {
    let (charset, text) = *rng.pick(&TEXTS);
    let encoding = if text.is_ascii() { "7bit" } else { "8bit" };
    let mut out = headers(serial, &format!("text/plain; charset={charset}"), encoding);
    let end = out.len() + rng.size(100, 60_000);
    while out.len() < end {
        out.extend_from_slice(text);
        put(&mut out, format_args!(" {:x}\n", rng.bits() & 0xffff));
        if rng.one_in(8) {
            // Lines that begin with a dot or with From are those that transports and mailbox formats have mangled.
            out.extend_from_slice(if rng.one_in(2) { b".\n..two dots\n" } else { b"From here on\n\n" });
        }
    }
    out
}

fn long_lines(rng: &mut Rng, serial: u32) -> Vec<u8> {
    let (charset, text) = *rng.pick(&TEXTS);
    let mut out = headers(serial, &format!("text/html; charset={charset}"), "8bit");
    for _ in 0..rng.within(1, 6) {
        let end = out.len() + rng.size(1_000, LINE_BYTES_MAX);
        while out.len() < end {
            out.extend_from_slice(text);
            put(&mut out, format_args!(" {} ", rng.below(10_000)));
        }
        out.push(b'\n');
    }
    out
}

fn alternative(rng: &mut Rng, serial: u32) -> Vec<u8> {
    let boundary = format!("alt-{serial}");
    let mut out = headers(serial, &format!("multipart/alternative; boundary={boundary}"), "8bit");
    for kind in ["plain", "html"] {
        let (charset, text) = *rng.pick(&TEXTS);
        put(&mut out, format_args!("--{boundary}\nContent-Type: text/{kind}; charset={charset}\n\n"));
        for _ in 0..rng.within(1, 40) {
            out.extend_from_slice(text);
            out.push(b'\n');
        }
    }
    put(&mut out, format_args!("--{boundary}--"));
    // Some programs end a message without a line end.
    if rng.one_in(2) {
        out.push(b'\n');
    }
    out
}

pub(crate) fn base64_lines(out: &mut Vec<u8>, bytes: &[u8]) {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for line in bytes.chunks(57) {
        for three in line.chunks(3) {
            let word =
                three.iter().fold(0, |word, byte| word << 8 | usize::from(*byte)) << (8 * (3 - three.len()));
            let digits = [18, 12, 6, 0].map(|shift| DIGITS[word >> shift & 63]);
            out.extend_from_slice(&digits[..=three.len()]);
            out.extend_from_slice(&b"=="[..3 - three.len()]);
        }
        out.push(b'\n');
    }
}

pub(crate) fn put(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a Vec takes every write");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_padded_and_broken_into_lines() {
        let mut out = Vec::new();
        base64_lines(&mut out, b"Man");
        base64_lines(&mut out, b"Ma");
        base64_lines(&mut out, b"M");
        assert_eq!(out, b"TWFu\nTWE=\nTQ==\n");
    }

    #[test]
    fn a_seed_gives_the_same_messages_and_sizes_spread() {
        let samples = Samples::load().unwrap();
        let draw = || {
            let mut rng = Rng::new(3);
            (0..300).map(|serial| samples.message(&mut rng, serial)).collect::<Vec<_>>()
        };
        let messages = draw();
        assert_eq!(messages, draw());
        assert!(messages.iter().any(|message| message.len() < 1_000));
        assert!(messages.iter().any(|message| message.len() > 200_000));
        assert!(messages.iter().all(|message| !message.contains(&0)), "IMAP takes no NUL");
    }
}
