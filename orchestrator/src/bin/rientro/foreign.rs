//! Texts from elsewhere, such that they can be shown: names and paths in mail, plans, reasons, what a server says.
//!
//! A terminal obeys control characters, reorders text around bidirectional controls, and shows nothing for a good many other
//! characters: a path could overwrite what stands before it, read backwards, or look like another one. What is not a visible
//! character of its own line is therefore spelled out (`\u{202e}`). Where texts enter a sentence [`clean`] does that; every
//! table, line, note and error does it once more on its way out, so that no text gets by. Spelling out twice changes nothing.
//!
//! Letters of scripts that run from right to left are left alone: names are written in them.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rientro_types::is_plain;

fn spell(text: &str, is_plain: impl Fn(char) -> bool, out: &mut String) {
    for c in text.chars() {
        if is_plain(c) { out.push(c) } else { out.extend(c.escape_default()) }
    }
}

/// A text in one line.
pub(crate) fn clean(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    spell(text, is_plain, &mut out);
    out
}

/// A text whose line ends are our own.
pub(crate) fn clean_lines(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    spell(text, |c| c == '\n' || is_plain(c), &mut out);
    out
}

/// Bytes from a file system in one line: readable where they are text, spelled out where they are not. A backslash is
/// doubled, so that each text stands for one path.
pub(crate) fn path(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        spell(chunk.valid(), |c| c != '\\' && is_plain(c), &mut out);
        chunk.invalid().iter().for_each(|byte| out.push_str(&format!("\\x{byte:02x}")));
    }
    out
}

/// The name of a file of this machine.
pub(crate) fn file_name(file: &Path) -> String {
    path(file.as_os_str().as_bytes())
}

/// A JSON document that says the same, with escapes for what a terminal would not show. Such characters stand in its strings
/// only, where JSON takes an escape for any of them.
pub(crate) fn clean_json(document: &str) -> String {
    let mut out = String::with_capacity(document.len());
    for c in document.chars() {
        if c == '\n' || is_plain(c) {
            out.push(c);
        } else {
            let mut units = [0; 2];
            c.encode_utf16(&mut units).iter().for_each(|unit| out.push_str(&format!("\\u{unit:04x}")));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// C0, DEL and C1 controls, bidirectional overrides and isolates, zero-width characters, separators, tags.
    const UNSEEN: &str = "\u{0}\u{7}\u{8}\t\r\u{1b}\u{7f}\u{85}\u{9b}\u{ad}\u{61c}\u{200b}\u{200c}\u{200d}\u{200e}\u{200f}\
        \u{2028}\u{2029}\u{202a}\u{202b}\u{202c}\u{202d}\u{202e}\u{2060}\u{2066}\u{2067}\u{2068}\u{2069}\u{3164}\u{fe0f}\
        \u{feff}\u{fffb}\u{e0041}\u{10fffd}";

    /// T25: nothing that comes from elsewhere steers a terminal, hides in it or ends a line.
    #[test]
    fn what_is_not_seen_is_spelled_out() {
        for c in UNSEEN.chars().chain(['\n']) {
            let text = format!("a{c}b");
            let spelled = format!("a{}b", c.escape_default());
            assert_eq!(clean(&text), spelled);
            assert_eq!(path(text.as_bytes()), spelled);
            assert_eq!(clean_lines(&text), if c == '\n' { text.clone() } else { spelled.clone() });
            assert_eq!(clean(&spelled), spelled, "once is enough");
        }
        assert!((0..=0x10_ffff).filter_map(char::from_u32).filter(|c| !is_plain(*c)).all(|c| {
            let shown = clean(&c.to_string());
            shown.is_ascii() && !shown.contains(|c: char| c.is_ascii_control())
        }));
    }

    #[test]
    fn what_is_seen_stays() {
        for text in ["Entwürfe/2023 \"alt\"", "e\u{301}té", "почта", "דואר", "メール", "📬", "a\\b"]
        {
            assert_eq!((clean(text), clean_lines(text)), (text.to_owned(), text.to_owned()));
        }
        assert_eq!(path("a\\u{202e}".as_bytes()), "a\\\\u{202e}", "no path looks like another one");
        assert_eq!(path(b"caf\xe9/\xc3\xa9"), "caf\\xe9/é");
    }

    #[test]
    fn json_says_the_same() {
        let value = serde_json::json!({ "text": format!("{UNSEEN}\n\"é\""), "list": [1, "x"] });
        for document in [value.to_string(), format!("{value:#}")] {
            let shown = clean_json(&document);
            assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).expect("JSON"), value);
            assert!(shown.chars().all(|c| c == '\n' || is_plain(c)), "{shown}");
        }
    }
}
