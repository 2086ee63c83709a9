//! How fast verification is, by structure and against a baseline, and the writing of the baseline of a shard that has not changed;
//! against others on the same files in the same run: the bare floor (open, fstat, read and close), the same with BLAKE3 over
//! what is read, a stat walk, and `xargs -0 -P2 b3sum`, which only hashes them.
//!
//! `cargo bench -p rientro-mailstore --bench verify` makes a corpus of its own. Without `b3sum` (`cargo install b3sum`) or `xargs`
//! the second comparison says so and is left out. Settings by environment:
//!
//! | variable | meaning | default |
//! | --- | --- | --- |
//! | `RIENTRO_BENCH_MESSAGES` | messages of the corpus that is made | 20000 |
//! | `RIENTRO_BENCH_MAILBOXES` | mailboxes of it | 200 |
//! | `RIENTRO_BENCH_FORMAT` | `maildir`, or `mdbox` for many short messages in few files | maildir |
//! | `RIENTRO_BENCH_ROOT` | a corpus that is there, laid out `{hash}/{user}/Maildir`; read only | none |
//! | `RIENTRO_BENCH_READERS` | readers, floor's threads and processes of `xargs` | 2 |
//! | `RIENTRO_BENCH_ROUNDS` | rounds, of which medians are told | 5 |
//! | `RIENTRO_BENCH_COLD` | `1` drops the page cache before each run (root only) | 0 |
//! | `RIENTRO_BENCH_ONLY` | `structure` or `baseline` leaves all else out, so that the peak memory is its own | all |

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark prints, and stops at the first error"
)]
#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

mod corpus;
mod floor;
mod hasher;
#[path = "../../tests/store/mod.rs"]
mod store;

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rientro_mailstore::{
    Baseline, Control, Layout, Manifest, Pace, Renewal, Target, Task, stat_walk, verify, verify_against,
    write_baseline,
};
use rientro_types::Level;

use self::floor::floor;
use self::hasher::Hasher;

fn setting(name: &str, default: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn main() {
    let (made, apart) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let root = std::env::var_os("RIENTRO_BENCH_ROOT").map_or_else(
        || {
            let (mailboxes, messages) =
                (setting("RIENTRO_BENCH_MAILBOXES", 200), setting("RIENTRO_BENCH_MESSAGES", 20_000));
            if std::env::var("RIENTRO_BENCH_FORMAT").is_ok_and(|format| format == "mdbox") {
                let count = |count: usize| u32::try_from(count).unwrap();
                corpus::make_mdbox(made.path(), count(mailboxes), count(messages));
            } else {
                corpus::make(made.path(), mailboxes, messages);
            }
            made.path().to_owned()
        },
        PathBuf::from,
    );
    let readers = setting("RIENTRO_BENCH_READERS", 2);
    let cold = setting("RIENTRO_BENCH_COLD", 0) == 1;
    let only = std::env::var("RIENTRO_BENCH_ONLY").ok();
    let is_asked = |what: &str| only.as_deref().is_none_or(|only| only == what);
    let layout = Layout::whole("{hash}/{user}/Maildir", "bench").unwrap();
    let task = Task { root: &root, layout: &layout, shard: b"", volume: None, expected: None };
    let path = apart.path().join("baseline");
    let control = || Control::new(Pace { readers, bytes_per_second: 0 });
    let write = |previous: Option<&Manifest>| {
        let target = Target { path: &path, previous, damaged_too: false, now_ms: 0 };
        write_baseline(&task, target, &control(), &mut |_| ()).unwrap()
    };
    let manifest = is_asked("baseline").then(|| {
        write(None);
        Manifest::open(&path).unwrap()
    });
    let hasher = only.is_none().then(|| Hasher::find(&root, readers)).flatten();
    let mut bench = Bench { cold, counted: true, figures: Vec::new() };
    for round in 0..setting("RIENTRO_BENCH_ROUNDS", 5) + usize::from(!cold) {
        // The first round warms the cache.
        bench.counted = cold || round > 0;
        if only.is_none() {
            bench.time("floor", || format!("{:?}", floor(&root, readers, false)));
            bench.time("floor with BLAKE3", || format!("{:?}", floor(&root, readers, true)));
            bench.time("stat walk", || stat_walk(&task, &control()).unwrap().to_string());
        }
        if is_asked("structure") {
            bench.time("structure", || {
                verify(&task, Level::Structure, &control(), &mut |_| ()).verdict.to_string()
            });
        }
        if let Some(manifest) = &manifest {
            let baseline = Baseline { manifest, scratch: apart.path() };
            bench.time("baseline", || {
                let compared = verify_against(&task, &baseline, &control(), &mut |_| ());
                format!("{}, {} intact", compared.report.verdict, compared.comparison.intact)
            });
            bench.time("baseline, written again", || {
                let control = control();
                let target = Target { path: &path, previous: Some(manifest), damaged_too: false, now_ms: 0 };
                let written = write_baseline(&task, target, &control, &mut |_| ()).unwrap();
                assert!(
                    written.renewal == Renewal::Unchanged && control.progress().bytes == 0,
                    "the corpus changed"
                );
                format!("{} messages", written.totals.messages)
            });
        }
        if let Some(hasher) = &hasher {
            bench.time("xargs b3sum", || hasher.run());
        }
    }
    bench.tell(readers);
    let status = fs::read_to_string("/proc/self/status").unwrap();
    println!("{}", status.lines().find(|line| line.starts_with("VmHWM")).unwrap());
}

/// What ran, and how long it took each time.
struct Bench {
    cold: bool,
    counted: bool,
    figures: Vec<(&'static str, Vec<Duration>)>,
}

impl Bench {
    /// Runs it once; what it gave is shown the first time.
    fn time(&mut self, what: &'static str, run: impl FnOnce() -> String) {
        if self.cold {
            rustix::fs::sync();
            fs::write("/proc/sys/vm/drop_caches", "3").unwrap();
        }
        let begun = Instant::now();
        let gave = run();
        let spent = begun.elapsed();
        let at = self.figures.iter().position(|(name, _)| *name == what).unwrap_or_else(|| {
            println!("{what}: {gave}");
            self.figures.push((what, Vec::new()));
            self.figures.len() - 1
        });
        self.figures[at].1.extend(self.counted.then_some(spent));
    }

    /// Shows medians, and what they are of each other.
    fn tell(&mut self, readers: usize) {
        println!("medians with {readers} readers, threads or processes:");
        let mut median = |what: &str| {
            let (_, times) = self.figures.iter_mut().find(|(name, _)| *name == what)?;
            times.sort_unstable();
            Some(times[times.len() / 2])
        };
        for (what, against) in [
            ("structure", &["floor", "xargs b3sum"][..]),
            ("baseline", &["floor with BLAKE3", "xargs b3sum"]),
            ("baseline, written again", &["stat walk"]),
        ] {
            let Some(time) = median(what) else { continue };
            println!("{what}: {time:?}");
            for other in against {
                let Some(beside) = median(other) else { continue };
                let ratio = time.as_micros() * 100 / beside.as_micros();
                println!("    {}.{:02} of {other}: {beside:?}", ratio / 100, ratio % 100);
            }
        }
    }
}
