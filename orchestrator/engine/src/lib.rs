//! orchestrator/engine
