//! Where output goes: data to stdout, everything else to stderr; colour and width only for a terminal.

use std::fmt::Display;
use std::io::{self, ErrorKind, IsTerminal, Write};

use clap::ValueEnum;
use serde_json::Value;

use crate::failure::Failure;
use crate::foreign::{clean_json, clean_lines};
use crate::table::Grid;

/// Widest table that is laid out for a terminal whose size is not known.
const WIDTH_UNKNOWN: u16 = 80;

/// Form of the data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    /// Tables and sentences for people.
    #[default]
    Table,
    /// JSON for machines.
    Json,
}

/// What the process writes to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    form: Form,
    colour: bool,
    terminal: bool,
}

impl Output {
    /// Looks at the terminal and at `NO_COLOR` and `TERM`.
    pub(crate) fn new(form: Form) -> Self {
        let terminal = io::stdout().is_terminal();
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self { form, colour: terminal && !plain, terminal }
    }

    pub(crate) fn is_json(&self) -> bool {
        self.form == Form::Json
    }

    pub(crate) fn is_terminal(&self) -> bool {
        self.terminal
    }

    pub(crate) fn has_colour(&self) -> bool {
        self.colour
    }

    /// Columns and rows of the terminal; `None` when stdout is none.
    pub(crate) fn size(&self) -> Option<(u16, u16)> {
        if !self.terminal {
            return None;
        }
        let size = rustix::termios::tcgetwinsize(io::stdout()).ok();
        let size = size.map(|size| (size.ws_col, size.ws_row)).filter(|(columns, _)| *columns > 0);
        Some(size.unwrap_or((WIDTH_UNKNOWN, 24)))
    }

    /// One line of data, or several of our own making.
    pub(crate) fn line(&self, line: impl Display) -> Result<(), Failure> {
        write_line(&clean_lines(&line.to_string()))
    }

    /// Data that brings its own line ends, colours and cursor movements; texts from elsewhere in it are clean already.
    pub(crate) fn raw(&self, text: &str) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        written(out.write_all(text.as_bytes()).and_then(|()| out.flush()))
    }

    /// A table; nothing when it has no row.
    pub(crate) fn grid(&self, grid: &Grid) -> Result<(), Failure> {
        let rendered = grid.render(self.size().map(|(columns, _)| columns), self.colour);
        if rendered.is_empty() { Ok(()) } else { write_line(&rendered) }
    }

    /// A JSON document, for people to read too.
    pub(crate) fn json(&self, value: &Value) -> Result<(), Failure> {
        write_line(&clean_json(&format!("{value:#}")))
    }

    /// One JSON value of a stream, on a line of its own.
    pub(crate) fn json_line(&self, value: &Value) -> Result<(), Failure> {
        write_line(&clean_json(&value.to_string()))
    }
}

/// Says something that is not data.
pub(crate) fn note(text: impl Display) {
    // Nobody is left to tell when stderr is gone.
    drop(writeln!(io::stderr().lock(), "{}", clean_lines(&text.to_string())));
}

/// [`note`], for machines: one JSON value on a line of its own.
pub(crate) fn note_json(value: &Value) {
    drop(writeln!(io::stderr().lock(), "{}", clean_json(&value.to_string())));
}

fn write_line(line: &str) -> Result<(), Failure> {
    written(writeln!(io::stdout().lock(), "{line}"))
}

fn written(result: io::Result<()>) -> Result<(), Failure> {
    result.map_err(|error| {
        let closed = error.kind() == ErrorKind::BrokenPipe;
        if closed { Failure::OutputClosed } else { Failure::Output { done: None, source: error } }
    })
}
