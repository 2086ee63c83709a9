//! How many connections each listener may have.
//!
//! Every connection takes a file descriptor, and a process without one can accept nobody: not the operator who wants to know
//! why, and not its own journal when that has to be opened anew. So descriptors are dealt out before anything listens: first
//! what the process needs for itself, then a few for each local socket that only operators use and for the metrics, and what
//! is left in equal parts to the rest. Whoever fills one listener takes nothing from another.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Most connections of one listener: two for each of the most sessions.
pub const CONNECTIONS_MAX: usize = 8_192;
/// Descriptors of the process itself: its listeners, journal, directory, copies of the journal under way, log and event
/// queues are some thirty; the rest is room.
const OWN_FILES: usize = 64;
/// Connections of a Unix socket that only operators use: people and scripts of this host.
const LOCAL_PLACES: usize = 64;
/// Connections of the metrics: a few scrapers.
const METRICS_PLACES: usize = 16;
/// A listener with fewer is told of at the start: it serves some thirty agents.
const PLACES_ENOUGH: usize = 64;

/// What a listener is for, as far as its share is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Share {
    /// A Unix socket that only operators use.
    Local,
    /// Metrics.
    Metrics,
    /// Agents, or anybody over TCP.
    Equal,
}

/// Connections of each kind of listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Places {
    equal: usize,
}

impl Places {
    /// Deals out the descriptors that this process may have.
    pub(crate) fn deal(listeners: &[Share]) -> Self {
        let files = getrlimit(Resource::Nofile).current;
        let places = Self::of(files, listeners);
        if places.equal < PLACES_ENOUGH {
            tracing::warn!(
                files,
                connections = places.equal,
                "few connections fit under the limit of open files; raise it (LimitNOFILE= of the service, or ulimit -n)"
            );
        }
        places
    }

    /// Deals out so many descriptors; `None` is without limit. A listener has at least one connection.
    fn of(files: Option<u64>, listeners: &[Share]) -> Self {
        let files = files.and_then(|files| usize::try_from(files).ok()).unwrap_or(usize::MAX);
        let count = |share| listeners.iter().filter(|each| **each == share).count();
        let kept = OWN_FILES + count(Share::Local) * LOCAL_PLACES + count(Share::Metrics) * METRICS_PLACES;
        let equal = files.saturating_sub(kept) / count(Share::Equal).max(1);
        Self { equal: equal.clamp(1, CONNECTIONS_MAX) }
    }

    /// Most connections of a listener.
    pub(crate) const fn for_one(self, share: Share) -> usize {
        match share {
            Share::Local => LOCAL_PLACES,
            Share::Metrics => METRICS_PLACES,
            Share::Equal => self.equal,
        }
    }
}

/// Lets this process open as many files as the system allows it. The usual soft limit of 1,024 would stop at some hundred
/// agents, each of which takes two connections.
pub fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// However many there are, the local socket and the process itself keep what they need.
    #[test]
    fn descriptors_are_dealt_out_and_never_twice() {
        let listeners = [Share::Equal, Share::Equal, Share::Local, Share::Metrics];
        for files in [200, 256, 1_024, 4_096] {
            let places = Places::of(Some(files), &listeners);
            let all: usize = listeners.iter().map(|share| places.for_one(*share)).sum();
            assert!(all + OWN_FILES <= usize::try_from(files).unwrap(), "{files}: {places:?}");
        }
        assert_eq!(Places::of(Some(1_024), &listeners).for_one(Share::Equal), 440);
        assert_eq!(Places::of(None, &listeners).for_one(Share::Equal), CONNECTIONS_MAX);
        assert_eq!(Places::of(Some(10), &listeners).for_one(Share::Equal), 1);
    }
}
