//! Output that cannot be written, after what was asked was done.

use rientro_types::Receipt;

use crate::Cell;
use crate::server::Canned;

/// Nobody is told that nothing was decided, and to try again, after a decision that is in the journal.
#[tokio::test]
async fn a_decision_that_cannot_be_shown_is_told_as_made() {
    let cell = Cell::new(Canned::default()).await;
    let args = ["--yes", "shard", "close", "vol-01", "vol-02", "--reason", "x"];
    let run = cell.run_full(&args).await;
    assert_eq!(run.code, 1, "{}", run.stderr);
    let told = "rientro: cannot write the output: No space left on device (os error 28)\nThe decision was made, as journal record \
                4712: look at `rientro journal tail` before you try again.\n";
    assert!(run.stderr.ends_with(told), "{}", run.stderr);

    let run = cell.run_full(&[&args[..], &["-o", "json"]].concat()).await;
    let told: serde_json::Value =
        serde_json::from_str(run.stderr.lines().last().expect("a line")).expect("JSON");
    assert_eq!(told["error"]["code"], "output");
    assert!(told["error"]["next"].as_str().expect("advice").contains("record 4712"), "{told}");

    let unchanged = Receipt { changes: false, decided: None, ..Receipt::default() };
    let cell = Cell::new(Canned { act: Ok(unchanged), ..Canned::default() }).await;
    let run = cell.run_full(&args).await;
    assert!(run.stderr.ends_with("It was so already: nothing had to change.\n"), "{}", run.stderr);
}

/// A mere look may be taken again; a backup is there.
#[tokio::test]
async fn what_was_only_looked_at_or_is_whole_is_told_so() {
    let cell = Cell::new(Canned::default()).await;
    for form in ["table", "json"] {
        let run = cell.run_full(&["node", "list", "-o", form]).await;
        assert_eq!(run.code, 1);
        assert!(run.stderr.contains("Nothing was done but to look."), "{}", run.stderr);
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("copy");
        let run = cell.run_full(&["journal", "backup", file.to_str().expect("UTF-8"), "-o", form]).await;
        assert_eq!((run.code, file.exists()), (1, true));
        assert!(run.stderr.contains("The backup is whole, in"), "{}", run.stderr);
    }
}
