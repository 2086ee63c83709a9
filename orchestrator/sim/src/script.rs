//! Worlds without chance faults, for scenarios: a few words to build one, to ask, and to look.
