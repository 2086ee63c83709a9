//! What can be told of a message from its bytes alone: sizes, NUL runs, the compressed stream, header and MIME structure.

pub(crate) mod gzip;
pub(crate) mod nul;
pub(crate) mod plain;
pub(crate) mod structure;
