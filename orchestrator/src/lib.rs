//! orchestrator
pub mod journal;
