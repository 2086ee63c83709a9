//! The protocol of Rientro: generated messages and services, and their conversions to the words of `rientro-types`.
//!
//! Generated types stop at the shells of the orchestrator, the agent and the CLI; everything behind them speaks
//! `rientro-types`. What comes from outside is checked here, once, with the path of the field that is wrong.

pub mod limits;

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
