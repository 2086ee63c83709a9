//! `dovecot-keywords`: which keyword each letter in the names of messages stands for.
//!
//! One line each, `<index> <name>`. Dovecot passes over lines that are not like that and gives the letters away again, so the
//! keywords of all messages would change their meaning. Only what cannot have been written is called damage: an empty file
//! is not, nor a first line without a blank (of a converted `.customflags`), nor a last line without its end.
//!
//! Letters in names that the file does not define are no evidence, so a file that is lost is not missed. Dovecot gives messages
//! their names first and writes the file when the sync of the folder ends, and goes on where that fails: a server that was
//! killed in between leaves such letters in a store that is whole. Other programs put letters into names as well. Dovecot calls
//! what it does not know `unknown-<n>` from the next sync on.

use std::io::{self, Read};

/// Bytes that are looked at: 26 keywords, each with room for two KiB.
const BYTES_MAX: u64 = 64 << 10;

/// What is wrong with the file, if anything is.
pub(crate) fn fault(file: impl Read) -> io::Result<Option<&'static str>> {
    let mut bytes = Vec::new();
    file.take(BYTES_MAX).read_to_end(&mut bytes)?;
    if bytes.contains(&0) {
        return Ok(Some("NUL bytes"));
    }
    let whole = memchr::memrchr(b'\n', &bytes).unwrap_or(0);
    let mut lines = bytes[..whole].split(|b| *b == b'\n').enumerate().filter(|(_, line)| !line.is_empty());
    let odd = lines.any(|(at, line)| !is_keyword(line) && (at > 0 || line.contains(&b' ')));
    Ok(odd.then_some("a line is no keyword with its index"))
}

fn is_keyword(line: &[u8]) -> bool {
    let Some(blank) = memchr::memchr(b' ', line) else { return false };
    let (index, name) = (&line[..blank], &line[blank + 1..]);
    !index.is_empty() && index.iter().all(u8::is_ascii_digit) && !name.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_nobody_writes_is_a_fault() {
        for good in
            [&b""[..], b"x", b"0 $Label1\n", b"0 a b\n7 caf\xc3\xa9\n", b"customflags\n1 x\n", b"0 x\n1"]
        {
            assert_eq!(fault(good).unwrap(), None, "{good:?}");
        }
        for bad in [
            &[0; 40][..],
            b"0 x\n\0\0\0",
            b"0 x\nno index\n",
            b"0 x\n1\n2 y\n",
            b"0 x\n1 \n",
            b"\x7fELF \x02\n",
        ] {
            assert!(fault(bad).unwrap().is_some(), "{bad:?}");
        }
    }
}
