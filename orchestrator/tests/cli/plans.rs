//! Plans: problems with their places, the waves, and the start of a campaign.

use std::path::PathBuf;

use rientro_types::{PlanProblem, Refusal, Verb};

use crate::server::Canned;
use crate::{Cell, fixtures, run};

struct PlanOnDisk {
    _dir: tempfile::TempDir,
    path: PathBuf,
}

impl PlanOnDisk {
    fn new(text: &str) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("plan.toml");
        std::fs::write(&path, text).expect("written");
        Self { _dir: dir, path }
    }

    fn path(&self) -> &str {
        self.path.to_str().expect("UTF-8")
    }

    fn hide(&self, text: &str) -> String {
        text.replace(self.path(), "plan.toml")
    }
}

fn problem() -> PlanProblem {
    let problem = "shard vol-07 alone holds 800 of the 900 mailboxes of rack r1; 60% of them can never be taken at once";
    PlanProblem { field: "waves.domain_caps.rack".to_owned(), problem: problem.to_owned() }
}

#[tokio::test]
async fn a_good_plan_shows_its_waves() {
    let plan = PlanOnDisk::new(fixtures::PLAN);
    let cell = Cell::new(Canned::default()).await;
    let shown = cell.run(&["plan", "check", plan.path()]).await.transcript();
    let local = run("http://127.0.0.1:1", &["plan", "check", "--local", plan.path()]).await.transcript();
    insta::assert_snapshot!(plan.hide(&format!("{shown}\n{local}")));
}

#[tokio::test]
async fn a_bad_plan_is_refused_with_line_and_column_and_without_a_cell() {
    let plan = PlanOnDisk::new("name = \"return-1\"\n[waves]\nlist = [\"120%\", \"rest\"]\nbakes = \"3\"\n");
    let table = run("http://127.0.0.1:1", &["plan", "check", plan.path()]).await.transcript();
    let json = run("http://127.0.0.1:1", &["-o", "json", "plan", "check", plan.path()]).await.transcript();
    insta::assert_snapshot!(plan.hide(&format!("{table}\n{json}")));
    let missing = run("http://127.0.0.1:1", &["plan", "check", "/nonexistent.toml"]).await;
    assert_eq!(missing.code, 1);
    assert!(missing.stderr.contains("cannot read the plan /nonexistent.toml"));
}

/// The size that is told is the file's.
#[tokio::test]
async fn a_plan_that_is_too_long_is_refused_by_its_size() {
    let plan = PlanOnDisk::new(&"#".repeat(3_000_000));
    for args in [["plan", "check", plan.path()], ["campaign", "start", plan.path()]] {
        let run = run("http://127.0.0.1:1", &args).await;
        let told = run.stderr.contains("has 3,000,000 bytes, at most 1,048,576 are taken");
        assert!(run.code == 1 && told && run.stderr.contains("by label"), "{}", run.transcript());
    }
}

/// A problem that only the fleet shows is placed in the text all the same.
#[tokio::test]
async fn problems_found_by_the_cell_have_line_and_column_too() {
    let plan = PlanOnDisk::new(fixtures::PLAN);
    let canned = Canned { forecast: Err(Refusal::Plan(vec![problem()])), ..Canned::default() };
    let check = Cell::new(canned).await.run(&["plan", "check", plan.path()]).await;
    assert_eq!(check.code, 1);
    let text = plan.hide(&check.stderr);
    assert!(text.contains("plan.toml:8:8: waves.domain_caps.rack: shard vol-07 alone"), "{text}");

    let canned = Canned { act: Err(Refusal::Plan(vec![problem()])), ..Canned::default() };
    let start = Cell::new(canned).await.run(&["--yes", "campaign", "start", plan.path()]).await;
    assert_eq!(start.code, 1);
    assert!(plan.hide(&start.stderr).contains("plan.toml:8:8: waves.domain_caps.rack"));
}

/// Machines are told what to do about a plan or its file as people are.
#[tokio::test]
async fn what_to_do_about_a_plan_is_said_to_machines_too() {
    let nowhere = "http://127.0.0.1:1";
    let bad = PlanOnDisk::new("name = \"return-1\"\n");
    let folder = tempfile::tempdir().expect("a directory");
    let (folder, absent) = (folder.path().to_str().expect("UTF-8"), "/nonexistent.toml");
    let starts = [bad.path(), folder, absent].map(|file| vec!["--yes", "campaign", "start", file]);
    let others = [vec!["plan", "check", absent], vec!["shard", "retry", "--shards-from", absent]];
    for args in starts.into_iter().chain(others) {
        let told = run(nowhere, &args).await.stderr;
        let json = run(nowhere, &[&["-o", "json"], args.as_slice()].concat()).await.stderr;
        let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
        let next = json["error"]["next"].as_str().unwrap_or_else(|| panic!("no advice in {json}"));
        assert!(!next.is_empty() && told.trim_end().ends_with(next), "{next} is not in {told}");
    }
    let check = run(nowhere, &["-o", "json", "plan", "check", bad.path()]).await;
    let json: serde_json::Value = serde_json::from_str(&check.stdout).expect("JSON");
    let next = json["next"].as_str().expect("advice");
    assert!(next.contains("plan check") && check.stderr.is_empty(), "{json}");
}

/// What only the fleet knows to be wrong stands where the setting is: a label, a class's shard, a number.
#[tokio::test]
async fn problems_found_by_the_cell_are_where_the_setting_is() {
    let text = format!(
        "{}\n[[class]]\nweight = 9\nshards = [\"vol-1\", \"vol-x\"]\n\n[pace]\nreaders = 20\n",
        fixtures::PLAN
    );
    let plan = PlanOnDisk::new(&text);
    let fields = ["waves.domain_caps.rack", "class[0].shards", "pace.readers"];
    let problems = fields.map(|field| PlanProblem { field: field.to_owned(), problem: "no".to_owned() });
    let canned = Canned { forecast: Err(Refusal::Plan(problems.to_vec())), ..Canned::default() };
    let check = Cell::new(canned).await.run(&["plan", "check", plan.path()]).await;
    let said = plan.hide(&check.stderr);
    let places = ["8:8: waves.domain_caps.rack: no", "12:10: class[0].shards: no", "15:11: pace.readers: no"];
    for place in places {
        assert!(said.contains(&format!("plan.toml:{place}")), "{place} in {said}");
    }
}

/// A revision shows the waves it makes, asked for as one, before it is decided.
#[tokio::test]
async fn a_revision_shows_its_waves() {
    let plan = PlanOnDisk::new(fixtures::PLAN);
    for args in [&["plan", "check", "--revision"][..], &["--yes", "campaign", "revise"]] {
        let cell = Cell::new(Canned::default()).await;
        let run = cell.run(&[args, &[plan.path()]].concat()).await;
        assert_eq!(run.code, 0, "{}", run.stderr);
        assert!(format!("{}{}", run.stdout, run.stderr).contains("0 (canary)"), "{}", run.stderr);
        let checks = cell.server.asked.lock().expect("not poisoned").checks.clone();
        assert_eq!(checks, [(fixtures::plan().into(), true)]);
    }
}

/// A name that is taken is refused with its place and what to do, and no waves are shown that will never be.
#[tokio::test]
async fn a_name_that_is_taken_shows_no_waves() {
    let plan = PlanOnDisk::new(fixtures::PLAN);
    let refusal = Refusal::CampaignExists(fixtures::campaign_id());
    let taken = PlanProblem { field: "name".to_owned(), problem: refusal.to_string() };
    for args in [&["plan", "check"][..], &["--yes", "campaign", "start"]] {
        let canned = Canned { forecast: Err(Refusal::Plan(vec![taken.clone()])), ..Canned::default() };
        let cell = Cell::new(canned).await;
        let run = cell.run(&[args, &[plan.path()]].concat()).await;
        assert_eq!((run.code, run.stdout.as_str()), (1, ""), "{}", run.stderr);
        let said = plan.hide(&run.stderr);
        assert!(
            said.contains("plan.toml:1:8: name: campaign return-1 exists; give the plan another"),
            "{said}"
        );
        assert!(!said.contains("WAVE") && !said.contains("This would"), "{said}");
        assert!(cell.server.asked.lock().expect("not poisoned").acts.is_empty(), "nothing is asked for");
    }
}

#[tokio::test]
async fn a_campaign_starts_after_its_waves_were_shown() {
    let plan = PlanOnDisk::new(fixtures::PLAN);
    let cell = Cell::new(Canned::default()).await;
    let transcript = cell.run(&["--yes", "campaign", "start", plan.path()]).await.transcript();
    insta::assert_snapshot!(plan.hide(&transcript));
    let asked = cell.server.asked.lock().expect("not poisoned");
    let [rehearsal, decision] = asked.acts.as_slice() else { panic!("a rehearsal and a decision") };
    assert!(rehearsal.dry_run && !decision.dry_run);
    assert_eq!(rehearsal.verb, decision.verb);
    let Verb::Start { plan, source } = &decision.verb else { panic!("a start") };
    assert!(plan.seed.is_some(), "the order is drawn before it is shown");
    assert_eq!(asked.checks, [((**plan).clone().into(), false)], "what is shown is what is started");
    assert_eq!(rientro_types::Plan { seed: None, ..(**plan).clone() }, fixtures::plan());
    assert_eq!(*source, rientro_types::Digest::of(fixtures::PLAN.as_bytes()));
}
