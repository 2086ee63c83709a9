//! agent/mailstore
