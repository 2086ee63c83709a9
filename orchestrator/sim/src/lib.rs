//! orchestrator/sim
