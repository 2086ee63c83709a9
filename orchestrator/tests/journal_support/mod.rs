//! What the tests of faults share: seeded numbers, and this test binary run as a child.

#![allow(dead_code, reason = "each test file uses its part")]

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};

/// A seeded run of numbers (SplitMix64).
pub(crate) struct Seeded(pub(crate) u64);

impl Seeded {
    /// The next number below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (x ^ (x >> 31)) % bound
    }

    /// The next coin.
    pub(crate) fn coin(&mut self) -> bool {
        self.below(2) == 1
    }
}

/// The variable that makes the test `child` of a test binary do its work; without it that test has nothing to do.
pub(crate) const CHILD: &str = "RIENTRO_JOURNAL_CHILD";

/// A child that talks line by line.
pub(crate) struct Talker {
    pub(crate) child: Child,
    pub(crate) lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Talker {
    /// Starts `command`, which ends in the path of a test binary, at its test `child`.
    pub(crate) fn start(mut command: Command, work: &str) -> Self {
        command.args(["--exact", "child", "--nocapture", "--test-threads=1"]).env(CHILD, work);
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the test binary starts");
        let lines = BufReader::new(child.stdout.take().expect("its output is piped")).lines();
        Self { child, lines }
    }

    /// The next number that the child said after `word`; `None` once it has ended.
    pub(crate) fn heard(&mut self, word: &str) -> Option<u64> {
        loop {
            let line = self.lines.next()?.expect("the child's output is text");
            let number = line.split_once(word).map(|(_, rest)| rest.trim().parse());
            if let Some(Ok(number)) = number {
                return Some(number);
            }
        }
    }
}
