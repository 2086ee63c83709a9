//! Header section and top-level MIME structure of a message.
//!
//! Only asked where no size vouches for the message: real mail is full of headers and multiparts that break every rule and
//! were delivered like that. Reads line by line, keeps at most one cut line and one Content-Type value, and judges two
//! things: does a header section stand at the beginning, and is the closing boundary of a top-level multipart there.

use memchr::memchr;

/// Bytes of a line that are kept; boundaries have at most 70 (RFC 2046 section 5.1.1), field names are shorter.
const LINE_BYTES_MAX: usize = 1024;

/// Bytes of a Content-Type value that are kept.
const CONTENT_TYPE_BYTES_MAX: usize = 8192;

/// What the structure of a message shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StructureFacts {
    /// Why the header section does not parse, if it does not.
    pub(crate) header_fault: Option<&'static str>,
    /// A top-level multipart whose closing boundary is missing.
    pub(crate) unclosed: bool,
    /// The last line has a line end.
    pub(crate) ends_in_line: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    FirstLine,
    Header,
    /// In a header field named Content-Type: continuation lines belong to its value.
    ContentType,
    Body,
}

/// Gathers [`StructureFacts`] from a message that comes in pieces.
#[derive(Debug)]
pub(crate) struct Structure {
    place: Place,
    line: Vec<u8>,
    line_started: bool,
    content_type: Vec<u8>,
    /// Fields named Content-Type: only a single one gives a message one clear structure.
    content_types: u32,
    boundary: Option<Vec<u8>>,
    closed: bool,
    header_fault: Option<&'static str>,
}

impl Structure {
    pub(crate) fn new() -> Self {
        Self {
            place: Place::FirstLine,
            line: Vec::new(),
            line_started: false,
            content_type: Vec::new(),
            content_types: 0,
            boundary: None,
            closed: false,
            header_fault: None,
        }
    }

    pub(crate) fn feed(&mut self, mut piece: &[u8]) {
        while let Some(end) = memchr(b'\n', piece) {
            self.keep(&piece[..end]);
            self.end_line();
            piece = &piece[end + 1..];
        }
        if !piece.is_empty() {
            self.keep(piece);
        }
    }

    pub(crate) fn finish(mut self) -> StructureFacts {
        let ends_in_line = !self.line_started;
        if self.line_started {
            self.end_line();
        }
        match self.place {
            Place::FirstLine => self.header_fault = Some("no header section"),
            Place::ContentType | Place::Header => {}
            Place::Body => {}
        }
        let unclosed = self.place == Place::Body && self.boundary.is_some() && !self.closed;
        StructureFacts { header_fault: self.header_fault, unclosed, ends_in_line }
    }

    fn keep(&mut self, part: &[u8]) {
        self.line_started = true;
        let room = LINE_BYTES_MAX.saturating_sub(self.line.len());
        self.line.extend_from_slice(&part[..part.len().min(room)]);
    }

    fn end_line(&mut self) {
        let mut line = std::mem::take(&mut self.line);
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        match self.place {
            Place::FirstLine => self.first_line(&line),
            Place::Header | Place::ContentType => self.header_line(&line),
            Place::Body => self.body_line(&line),
        }
        line.clear();
        self.line = line;
        self.line_started = false;
    }

    fn first_line(&mut self, line: &[u8]) {
        self.place = Place::Header;
        if line.starts_with(b"From ") || line.starts_with(b">From ") {
            return;
        }
        if field_name(line).is_none() {
            self.header_fault = Some("the first line is no header field");
        }
        self.header_line(line);
    }

    fn header_line(&mut self, line: &[u8]) {
        if line.contains(&0) && self.header_fault.is_none() {
            self.header_fault = Some("NUL bytes in the header section");
        }
        if line.is_empty() {
            self.boundary = boundary_of(&self.content_type).filter(|_| self.content_types == 1);
            self.place = Place::Body;
        } else if line[0] == b' ' || line[0] == b'\t' {
            if self.place == Place::ContentType {
                self.keep_content_type(line);
            }
        } else if let Some(name) = field_name(line).filter(|name| name.eq_ignore_ascii_case(b"content-type"))
        {
            self.content_types = self.content_types.saturating_add(1);
            self.content_type.clear();
            let value = memchr(b':', &line[name.len()..]).map_or(&[][..], |at| &line[name.len() + at + 1..]);
            self.keep_content_type(value);
            self.place = Place::ContentType;
        } else {
            self.place = Place::Header;
        }
    }

    fn keep_content_type(&mut self, part: &[u8]) {
        let room = CONTENT_TYPE_BYTES_MAX.saturating_sub(self.content_type.len());
        self.content_type.extend_from_slice(&part[..part.len().min(room)]);
    }

    fn body_line(&mut self, line: &[u8]) {
        let Some(boundary) = &self.boundary else { return };
        let after = line.strip_prefix(b"--").and_then(|rest| rest.strip_prefix(&boundary[..]));
        self.closed |= after.is_some_and(|rest| rest.starts_with(b"--"));
    }
}

/// The name of a header field: printable characters up to a colon, with blanks allowed before it (RFC 5322 section 4.5.8).
fn field_name(line: &[u8]) -> Option<&[u8]> {
    let name = line[..memchr(b':', line)?].trim_ascii_end();
    (!name.is_empty() && name.iter().all(u8::is_ascii_graphic)).then_some(name)
}

/// The boundary parameter of a multipart Content-Type; `None` for any other type or where none can be told.
fn boundary_of(content_type: &[u8]) -> Option<Vec<u8>> {
    let value = content_type.trim_ascii_start();
    let kind = value.get(..10)?;
    if !kind.eq_ignore_ascii_case(b"multipart/") {
        return None;
    }
    let mut rest = &value[10..];
    loop {
        rest = &rest[next_parameter(rest)?..];
        let name_end = rest.iter().position(|b| matches!(b, b'=' | b';'))?;
        let name = rest[..name_end].trim_ascii();
        if rest[name_end] == b'=' && name.eq_ignore_ascii_case(b"boundary") {
            return parameter_value(rest[name_end + 1..].trim_ascii_start());
        }
        rest = &rest[name_end..];
    }
}

/// Position after the next semicolon outside quotes and comments.
fn next_parameter(text: &[u8]) -> Option<usize> {
    let (mut quoted, mut depth, mut escaped) = (false, 0_u32, false);
    for (at, byte) in text.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted || depth > 0 => escaped = true,
            b'"' if depth == 0 => quoted = !quoted,
            b'(' if !quoted => depth += 1,
            b')' if !quoted => depth = depth.saturating_sub(1),
            b';' if !quoted && depth == 0 => return Some(at + 1),
            _ => {}
        }
    }
    None
}

fn parameter_value(text: &[u8]) -> Option<Vec<u8>> {
    let value = if let Some(inner) = text.strip_prefix(b"\"") {
        let mut value = Vec::new();
        let mut bytes = inner.iter();
        loop {
            match bytes.next()? {
                b'"' => break value,
                b'\\' => value.push(*bytes.next()?),
                byte => value.push(*byte),
            }
        }
    } else {
        let end = text
            .iter()
            .position(|b| b.is_ascii_whitespace() || matches!(b, b';' | b'('))
            .unwrap_or(text.len());
        text[..end].to_vec()
    };
    let trimmed = value.trim_ascii_end();
    (!trimmed.is_empty() && trimmed.len() < LINE_BYTES_MAX - 4).then(|| trimmed.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn facts(message: &[u8]) -> StructureFacts {
        let mut structure = Structure::new();
        structure.feed(message);
        structure.finish()
    }

    #[test]
    fn boundaries_are_read_as_mailers_write_them() {
        for (value, boundary) in [
            ("multipart/mixed; boundary=abc", Some("abc")),
            (" Multipart/Mixed;\tcharset=x; BOUNDARY = \"a b;\\\"c \"", Some("a b;\"c")),
            ("multipart/mixed (a; boundary=no); boundary=yes (really)", Some("yes")),
            ("multipart/mixed; name=\"x; boundary=no\"; boundary=yes;", Some("yes")),
            ("multipart/mixed; boundary=", None),
            ("multipart/mixed; boundary*0=a; boundary*1=b", None),
            ("text/plain; boundary=abc", None),
        ] {
            assert_eq!(boundary_of(value.as_bytes()).as_deref(), boundary.map(str::as_bytes), "{value}");
        }
    }

    #[test]
    fn a_cut_multipart_shows() {
        let whole = b"From: a\nContent-Type: multipart/mixed;\n\tboundary=\"=b\"\n\n--=b\n\ntext\n--=b--\n";
        assert_eq!(facts(whole), StructureFacts { header_fault: None, unclosed: false, ends_in_line: true });
        let cut = facts(&whole[..whole.len() - 10]);
        assert_eq!((cut.unclosed, cut.ends_in_line), (true, false));
        assert!(!facts(b"Subject: no multipart\n\n--=b\n").unclosed);
    }

    /// Readers disagree on which of two Content-Type fields holds.
    #[test]
    fn two_content_types_are_not_judged() {
        let text = "Content-Type: text/plain\n";
        let parts = "Content-Type: multipart/mixed; boundary=b\n";
        for (header, unclosed) in
            [(parts.to_owned(), true), ([text, parts].concat(), false), ([parts, parts].concat(), false)]
        {
            assert_eq!(facts(format!("{header}\n--b\n\ncut").as_bytes()).unclosed, unclosed, "{header}");
        }
    }

    #[test]
    fn a_header_is_a_field_or_none() {
        for good in [&b"Subject: x\n\n"[..], b"From mario Mon\nSubject: x\n", b"X-Only: header"] {
            assert_eq!(facts(good).header_fault, None, "{good:?}");
        }
        for bad in [&b""[..], b"\nbody", b"no colon here\n", b": empty\n", b"A: b\nC: \0\0\n\n"] {
            assert!(facts(bad).header_fault.is_some(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn noise_does_no_harm_and_cutting_changes_nothing(noise in "(Content-Type: multipart/x; ?(boundary=b?\"?)?\n?|[a:\r\n ;\"-]|--b-?-?\n){0,30}", cut in 0_usize..100) {
            let bytes = noise.as_bytes();
            let (a, b) = bytes.split_at(cut.min(bytes.len()));
            let mut structure = Structure::new();
            structure.feed(a);
            structure.feed(b);
            prop_assert_eq!(structure.finish(), facts(bytes));
        }
    }
}
