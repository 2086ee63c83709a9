//! How a stored message is packed, and its plain form.
//!
//! Dovecot packs each message into one stream of its own, told by its first bytes. No message begins like that by itself.

use super::gzip::{self, Gzip};
use super::stream::StreamFault;
use super::zstd::{self, Zstd};

/// First bytes of compressed streams that are known and not decoded here.
const FOREIGN: [(&[u8], &str); 3] =
    [(b"\xfd7zXZ\0", "xz"), (b"BZh", "bzip2"), (b"Dovecot-LZ4\x0d\x2a\x9b\xc5", "lz4")];

/// How a message is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// As it is.
    Plain,
    /// A gzip stream, whose checksum and length vouch for what is in it.
    Gzip,
    /// A zstd stream, which vouches for nothing but its own form.
    Zstd,
    /// A stream of another kind, by its name.
    Foreign(&'static str),
}

impl Encoding {
    fn of(start: &[u8]) -> Self {
        if start.starts_with(&gzip::MAGIC) {
            Self::Gzip
        } else if start.starts_with(&zstd::MAGIC) {
            Self::Zstd
        } else {
            let foreign = FOREIGN.iter().find(|(magic, _)| start.starts_with(magic));
            foreign.map_or(Self::Plain, |(_, name)| Self::Foreign(name))
        }
    }
}

/// Decodes stored messages, one after the other; decoders are made on first need and kept.
#[derive(Default)]
pub(crate) struct Decoder {
    gzip: Option<Box<Gzip>>,
    zstd: Option<Box<Zstd>>,
    encoding: Option<Encoding>,
    fault: Option<StreamFault>,
}

impl Decoder {
    /// Takes the next piece of a message and hands plain bytes to `plain`; gives how the message is stored. The first piece
    /// must hold the first bytes of the stream. What follows a fault is passed over.
    pub(crate) fn feed(&mut self, piece: &[u8], plain: &mut dyn FnMut(&[u8])) -> Encoding {
        let encoding = self.encoding(piece);
        let fed = match (encoding, &mut self.gzip, &mut self.zstd) {
            (Encoding::Gzip, Some(gzip), _) => gzip.feed(piece, plain),
            (Encoding::Zstd, _, Some(zstd)) => zstd.feed(piece, plain),
            (Encoding::Plain, ..) => {
                plain(piece);
                Ok(())
            }
            (Encoding::Gzip | Encoding::Zstd | Encoding::Foreign(_), ..) => Ok(()),
        };
        self.fault = self.fault.or(fed.err());
        encoding
    }

    /// How the message is stored of which this is the next piece.
    pub(crate) fn encoding(&mut self, piece: &[u8]) -> Encoding {
        match self.encoding {
            Some(encoding) => encoding,
            None => self.begin(piece),
        }
    }

    fn begin(&mut self, piece: &[u8]) -> Encoding {
        let encoding = Encoding::of(piece);
        match encoding {
            Encoding::Gzip => self.gzip.get_or_insert_with(|| Box::new(Gzip::new())).reset(),
            Encoding::Zstd => {
                self.zstd = self.zstd.take().or_else(|| Zstd::new().map(Box::new));
                match &mut self.zstd {
                    Some(zstd) => zstd.reset(),
                    None => self.fault = Some(StreamFault::TooLarge),
                }
            }
            Encoding::Plain | Encoding::Foreign(_) => {}
        }
        self.encoding = Some(encoding);
        encoding
    }

    /// Ends the message and makes ready for the next one: how it was stored, and what was wrong with its stream.
    pub(crate) fn finish(&mut self) -> (Encoding, Option<StreamFault>) {
        let encoding = self.encoding.take().unwrap_or(Encoding::Plain);
        let ended = match (self.fault.take(), encoding, &mut self.gzip, &mut self.zstd) {
            (Some(fault), ..) => Err(fault),
            (None, Encoding::Gzip, Some(gzip), _) => gzip.finish(),
            (None, Encoding::Zstd, _, Some(zstd)) => zstd.finish(),
            (None, ..) => Ok(()),
        };
        (encoding, ended.err())
    }
}
