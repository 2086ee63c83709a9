//! How findings and the verdict of an offline verification are written, and the line that tells how far it is.

use std::fmt::Write as _;
use std::io::{IsTerminal, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rientro_mailstore::{Comparison, Control};
use rientro_types::{ByteSize, Finding, Outcome, Ppm, Severity, Tally, UnknownCause, Verdict, is_plain};
use serde_json::json;

use super::verify::Output;

/// Between two draws of the progress line.
const DRAW_EVERY: Duration = Duration::from_millis(200);

/// The terminal that a progress line is drawn on, if there is one.
#[derive(Debug)]
pub(super) struct Screen {
    live: Option<(Arc<Live>, JoinHandle<()>)>,
}

#[derive(Debug, Default)]
struct Live {
    over: AtomicBool,
    /// Held while anything is written, so that lines do not mix.
    pen: Mutex<()>,
}

impl Screen {
    /// Draws on standard error, when it is a terminal and that is wanted.
    pub(super) fn new(wanted: bool, control: &Control) -> Self {
        if !wanted || !std::io::stderr().is_terminal() {
            return Self { live: None };
        }
        let live = Arc::new(Live::default());
        let (drawn, control) = (Arc::clone(&live), control.clone());
        let thread = std::thread::spawn(move || drawn.draw(&control));
        Self { live: Some((live, thread)) }
    }

    /// Writes something else, above the progress line.
    fn above(&self, write: impl FnOnce() -> Result<()>) -> Result<()> {
        match &self.live {
            None => write(),
            Some((live, _)) => {
                let _pen = live.pen.lock().unwrap_or_else(PoisonError::into_inner);
                clear();
                write()
            }
        }
    }

    /// Takes the line away.
    pub(super) fn end(self) {
        if let Some((live, thread)) = self.live {
            live.over.store(true, Ordering::Relaxed);
            thread.thread().unpark();
            thread.join().ok();
            clear();
        }
    }
}

impl Live {
    fn draw(&self, control: &Control) {
        let start = now();
        while !self.over.load(Ordering::Relaxed) {
            let done = control.progress();
            let ms = u64::try_from(now().duration_since(start).as_millis()).unwrap_or(u64::MAX).max(1);
            let rate = ByteSize::from_bytes(done.bytes.saturating_mul(1000) / ms);
            let read = ByteSize::from_bytes(done.bytes);
            let (mailboxes, messages, findings) = (done.mailboxes, done.messages, done.findings);
            let line = format!(
                "{mailboxes} mailboxes, {messages} messages, {read} read, {rate}/s, {findings} findings"
            );
            {
                let _pen = self.pen.lock().unwrap_or_else(PoisonError::into_inner);
                clear();
                write!(std::io::stderr(), "{line}").ok();
            }
            std::thread::park_timeout(DRAW_EVERY);
        }
    }
}

/// Back to the beginning of the line, and nothing on it.
fn clear() {
    write!(std::io::stderr(), "\r\x1b[K").ok();
}

#[allow(clippy::disallowed_methods, reason = "a rate for people is against real time")]
fn now() -> Instant {
    Instant::now()
}

/// Writes findings as they come; nothing is kept.
pub(super) struct Report<'s> {
    output: Output,
    screen: &'s Screen,
    headed: bool,
}

impl<'s> Report<'s> {
    pub(super) fn new(output: Output, screen: &'s Screen) -> Self {
        Self { output, screen, headed: false }
    }

    /// Says what is done with which mail, to people.
    pub(super) fn begin(&self, doing: &str, path: &Path, layout: &str) -> Result<()> {
        if self.output == Output::Table {
            self.screen.above(|| {
                super::say(&format!("{doing} {} with layout {layout}", shown(path.as_os_str().as_bytes())));
                Ok(())
            })?;
        }
        Ok(())
    }

    pub(super) fn finding(&mut self, finding: &Finding) -> Result<()> {
        let mut text = String::new();
        match self.output {
            Output::Json => writeln!(text, "{}", as_json(finding))?,
            Output::Table => {
                if !std::mem::replace(&mut self.headed, true) {
                    writeln!(
                        text,
                        "{:<10}  {:<21}  {:<28}  {:<40}  DETAIL",
                        "SEVERITY", "KIND", "MAILBOX", "PATH"
                    )?;
                }
                let Finding { kind, mailbox, path, detail } = finding;
                let (mailbox, path) = (shown(mailbox), shown(path));
                let severity = severity(kind.severity());
                writeln!(text, "{severity:<10}  {kind:<21}  {mailbox:<28}  {path:<40}  {detail}")?;
            }
        }
        self.screen.above(|| super::write_out(&text))
    }
}

/// Takes findings until one cannot be written: a reader that went away, as `head` does, ends the work.
pub(super) struct Sink<'r, 's> {
    report: &'r mut Report<'s>,
    control: &'r Control,
    written: Result<()>,
}

impl<'r, 's> Sink<'r, 's> {
    pub(super) fn new(report: &'r mut Report<'s>, control: &'r Control) -> Self {
        Self { report, control, written: Ok(()) }
    }

    pub(super) fn take(&mut self, finding: &Finding) {
        if self.written.is_ok() {
            self.written = self.report.finding(finding).context("write a finding");
            if self.written.is_err() {
                self.control.cancel();
            }
        }
    }

    /// Whether all could be written.
    pub(super) fn end(self) -> Result<()> {
        self.written
    }
}

/// What was compared with a baseline.
#[derive(Debug)]
pub(super) struct Compared {
    /// What became of its messages.
    pub(super) comparison: Comparison,
    /// Least share of the messages that are there that must have been compared.
    pub(super) coverage_min: Ppm,
}

/// Says why there is no answer: the last line on standard error.
pub(super) fn failed(output: Output, error: &anyhow::Error) -> ExitCode {
    let what = format!("{error:#}");
    super::say(&match output {
        Output::Table => format!("rientro-agent: {what}"),
        Output::Json => json!({ "error": { "code": "could-not-tell", "what": what } }).to_string(),
    });
    super::COULD_NOT_TELL.into()
}

/// Writes the verdict, with its level and coverage, and what became of the messages of the baseline.
pub(super) fn verdict(output: Output, verdict: &Verdict, compared: Option<&Compared>) -> Result<()> {
    let text = match output {
        Output::Json => {
            let mut json = verdict_as_json(verdict);
            if let Some(Compared { comparison, coverage_min }) = compared {
                json["coverage_ppm_min"] = json!(coverage_min.raw());
                json["comparison"] = comparison_as_json(comparison);
            }
            format!("{json}\n")
        }
        Output::Table => {
            let covered = if verdict.coverage == Ppm::ONE { ", 100% covered" } else { "" };
            let Tally { mailboxes, messages, bytes, findings, .. } = verdict.tally;
            let read = ByteSize::from_bytes(bytes);
            let mut text = format!(
                "{verdict}{covered}: {messages} messages in {mailboxes} mailboxes, {read} read, {findings} findings\n"
            );
            if let Some(Compared { comparison, coverage_min }) = compared {
                writeln!(text, "of the baseline: {}", in_words(comparison))?;
                if verdict.outcome == Outcome::Clean && verdict.coverage < *coverage_min {
                    writeln!(
                        text,
                        "{} of the messages were compared, and {coverage_min} are asked for: whether the others are what they were \
                         cannot be told (--coverage)",
                        verdict.coverage
                    )?;
                }
            }
            text
        }
    };
    super::write_out(&text)
}

/// What is none is left out, but for what is intact.
fn in_words(comparison: &Comparison) -> String {
    let Comparison { intact, altered, truncated, moved, expunged, missing, gone, uncompared, unlisted, new } =
        *comparison;
    let mut text = format!("{intact} intact");
    for (count, words) in [
        (altered - truncated, "altered"),
        (truncated, "truncated"),
        (moved, "moved"),
        (expunged, "removed by their owner"),
        (missing, "lost"),
        (gone, "gone, nobody knows why"),
        (uncompared, "not compared"),
        (unlisted, "in mailboxes that are neither there nor on the list"),
    ] {
        if count > 0 {
            text.push_str(&format!(", {count} {words}"));
        }
    }
    if new > 0 {
        text.push_str(&format!("; {new} came since"));
    }
    text
}

fn comparison_as_json(comparison: &Comparison) -> serde_json::Value {
    let Comparison { intact, altered, truncated, moved, expunged, missing, gone, uncompared, unlisted, new } =
        comparison;
    json!({
        "intact": intact,
        "altered": altered,
        "truncated": truncated,
        "moved": moved,
        "expunged": expunged,
        "missing": missing,
        "gone": gone,
        "uncompared": uncompared,
        "unlisted": unlisted,
        "new": new,
    })
}

fn as_json(finding: &Finding) -> serde_json::Value {
    let Finding { kind, mailbox, path, detail } = finding;
    json!({
        "type": "finding",
        "kind": kind.code(),
        "severity": severity(kind.severity()),
        "mailbox": shown(mailbox),
        "path": shown(path),
        "detail": detail,
    })
}

fn verdict_as_json(verdict: &Verdict) -> serde_json::Value {
    let Verdict { outcome, level, coverage, tally } = verdict;
    let (outcome, cause) = match outcome {
        Outcome::Clean => ("clean", None),
        Outcome::Damaged => ("damaged", None),
        Outcome::Unreadable => ("unreadable", None),
        Outcome::Unknown(UnknownCause::Empty) => ("unknown", Some("empty")),
        Outcome::Unknown(UnknownCause::Incomplete) => ("unknown", Some("incomplete")),
        Outcome::Unknown(UnknownCause::LevelUnavailable) => ("unknown", Some("level-unavailable")),
    };
    json!({
        "type": "verdict",
        "outcome": outcome,
        "cause": cause,
        "level": level.name(),
        "coverage_ppm": coverage.raw(),
        "mailboxes": tally.mailboxes,
        "messages": tally.messages,
        "bytes": tally.bytes,
        "messages_damaged": tally.messages_damaged,
        "messages_unreadable": tally.messages_unreadable,
        "mailboxes_damaged": tally.mailboxes_damaged,
        "mailboxes_broken": tally.mailboxes_broken,
        "mailboxes_unreadable": tally.mailboxes_unreadable,
        "findings": tally.findings,
    })
}

const fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Note => "note",
        Severity::Damage => "damage",
        Severity::Unreadable => "unreadable",
    }
}

/// A path that a terminal cannot be steered with, and that tells every byte: what is not plain text is `\xNN`.
pub(super) fn shown(path: &[u8]) -> String {
    let mut text = String::with_capacity(path.len());
    for chunk in path.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\\' => text.push_str("\\\\"),
                c if !is_plain(c) => c.to_string().bytes().for_each(|byte| escape(&mut text, byte)),
                c => text.push(c),
            }
        }
        chunk.invalid().iter().for_each(|byte| escape(&mut text, *byte));
    }
    text
}

fn escape(text: &mut String, byte: u8) {
    write!(text, "\\x{byte:02x}").expect("writing to a string does not fail");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_steer_a_terminal() {
        assert_eq!(shown(b"a\x1b[2J\xff\\b\xc3\xa9\n"), "a\\x1b[2J\\xff\\\\b\u{e9}\\x0a");
        assert_eq!(shown("a\u{202e}fdp.b".as_bytes()), "a\\xe2\\x80\\xaefdp.b", "nor turn its text around");
    }
}
