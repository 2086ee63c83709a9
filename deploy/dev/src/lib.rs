//! deploy/dev
