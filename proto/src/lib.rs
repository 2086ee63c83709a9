//! The protocol of Rientro: generated messages and services, and their conversions to the words of `rientro-types`.
//!
//! Generated types stop at the shells of the orchestrator, the agent and the CLI; everything behind them speaks
//! `rientro-types`. What comes from outside is checked here, once, with the path of the field that is wrong.
//!
//! - [`v1`]: messages, clients and servers as generated; the `.proto` files document them.
//! - [`session`], [`bulk`] and [`operator`]: what agents, the orchestrator and operators say, as typed words.
//! - [`codec`]: the journal's bytes.
//! - [`limits`]: how large messages and pages may be.
//! - `testing`, with the feature of that name: strategies that generate words for property tests.
//! - [`ConvertError`] and [`invalid_argument`]: what was wrong with a message, and how a server answers it.

#[macro_use]
mod convert;

pub mod bulk;
pub mod codec;
pub mod limits;
pub mod operator;
pub mod session;
mod status;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod tests;

pub use convert::{ConvertError, Problem};
pub use status::{advice, advised, advising, invalid_argument};

/// Messages and services of package `rientro.v1`, as generated from `proto/rientro/v1`.
#[allow(
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    rustdoc::all,
    clippy::all,
    clippy::pedantic,
    clippy::restriction,
    reason = "generated code; its documentation is in the .proto files"
)]
pub mod v1 {
    tonic::include_proto!("rientro.v1");
}

/// Descriptors of package `rientro.v1`, for the reflection service.
pub const FILE_DESCRIPTOR_SET: &[u8] = tonic::include_file_descriptor_set!("rientro.v1");
