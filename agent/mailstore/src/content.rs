//! What can be told of a message from its bytes alone: sizes, NUL runs, the compressed stream, header and MIME
//! structure; and what it is known by.

pub(crate) mod decode;
pub(crate) mod guid;
pub(crate) mod gzip;
pub(crate) mod identity;
pub(crate) mod judge;
pub(crate) mod nul;
pub(crate) mod plain;
pub(crate) mod scan;
pub(crate) mod sizes;
pub(crate) mod stream;
pub(crate) mod structure;
pub(crate) mod zstd;
