//! Plans that are read, and plans that are refused: every refusal with its place, and no text that makes the reader panic.

use proptest::prelude::*;
use rientro_engine::{Engine, Event, Hello, Origin, SessionNo};
use rientro_types::{
    BootId, CellId, CellTime, Claim, Coverage, Digest, Epoch, LabelKey, LabelValue, Level, NodeId,
    NodeIncarnation, Ppm, Promotion, Schedule, ServiceSet, ShardId, Share, Span, VolumeId,
};

use super::*;

const SMALL: &str = "name = \"r\"\n[waves]\nlist = [\"1%\", \"2 shards\", \"rest\"]\n";

fn faults(text: &str) -> Vec<String> {
    read(text.as_bytes()).expect_err("refused").iter().map(ToString::to_string).collect()
}

#[test]
fn name_and_waves_are_enough_and_the_rest_is_safe() {
    let plan = read(SMALL.as_bytes()).expect("valid").plan;
    assert_eq!(plan.covers, Coverage::All);
    assert_eq!(plan.policy.level, Level::Structure);
    assert_eq!((plan.policy.coverage_min, plan.policy.damaged_per_million_max), (Ppm::ONE, 0));
    assert_eq!(plan.waves.error_budget_canary, Ppm::ZERO);
    assert_eq!(plan.waves.promotion, Promotion::Automatic);
    assert_eq!(plan.waves.bake, Span::from_secs(1800));
    assert_eq!(plan.opening.steps, [ServiceSet::ALL]);
    assert_eq!(plan.pace.bytes_per_second.bytes(), 0);
    let one = Ppm::new(10_000).expect("within bounds");
    assert_eq!(
        plan.waves.schedule,
        Schedule::List(vec![Share::Mailboxes(one), Share::Shards(2), Share::Rest])
    );
}

#[test]
fn a_growing_schedule_has_its_defaults() {
    let plan = read(b"name = \"r\"\nwaves = { first = \"1%\", growth = 1.5 }").expect("valid").plan;
    let (first, max) = (Ppm::new(10_000).expect("valid"), Ppm::new(250_000).expect("valid"));
    assert_eq!(plan.waves.schedule, Schedule::Growth { first, percent: 150, max });
}

/// T2: a malformed threshold refuses the plan.
#[test]
fn several_problems_are_told_at_once_each_with_its_place() {
    let text = r#"
nam = "r"
[covers]
labels = {}
[waves]
list = ["1%", "half", 7, "rest", "3%"]
error-budget = "1%"
error_budget = "101%"
[verify]
level = "deep"
damaged_per_million = "none"
[open]
steps = [["webmail"], ["imapp"]]
"#;
    insta::assert_snapshot!(faults(text).join("\n"));
}

#[test]
fn a_plan_has_one_of_three_levels() {
    for (text, wanted) in
        [("presence", Level::Presence), ("structure", Level::Structure), ("baseline", Level::Baseline)]
    {
        let plan = format!("{SMALL}[verify]\ncoverage = \"100%\"\nlevel = {text:?}\n");
        assert_eq!(read(plan.as_bytes()).expect("valid").plan.policy.level, wanted);
    }
}

#[test]
fn values_that_no_fleet_could_run_are_found_without_one() {
    let text = "name = \"r\"\n[waves]\nlist = [\"60%\", \"rest\", \"60%\"]\n[tries]\nattempts = 0\n\
                [open]\nsteps = [[\"imap\"], [\"imap\"], []]\n[waves.domain_caps]\nrack = \"0%\"\n";
    insta::assert_snapshot!(faults(text).join("\n"));
}

#[test]
fn what_contradicts_itself_is_refused() {
    let text = "name = \"r\"\n[covers]\nall = true\nshards = [\"a\"]\n[[class]]\nweight = 2\n\
                [waves]\nlist = [\"rest\"]\nmax = \"3%\"\n[open]\nsteps = []\nservices = [\"imap\", \"imap\"]\n\
                [pace]\nbytes_per_second = \"0 B\"\nreaders = -1\n";
    insta::assert_snapshot!(faults(text).join("\n"));
}

#[test]
fn names_given_twice_and_names_that_are_none_are_pointed_at() {
    let text =
        "name = \"a b\"\n[covers]\nshards = [\"v1\", \"v2\", \"v1\", \"a/b\", 3]\n[waves]\nfirst = 3\n";
    insta::assert_snapshot!(faults(text).join("\n"));
}

#[test]
fn what_is_not_toml_or_not_text_or_too_long_says_where() {
    let broken = faults("name = \"r\nx");
    assert!(broken.len() == 1 && broken[0].starts_with("1:"), "{broken:?}");
    assert!(faults("name = \"r\"\nname = \"s\"").join("\n").starts_with("2:1: is not TOML"));
    let bytes = read(b"name = \"r\"\n\xff").expect_err("not UTF-8");
    assert_eq!((bytes[0].line, bytes[0].column), (2, 1));
    let long = vec![b'#'; PLAN_TEXT_BYTES_MAX + 1];
    assert!(read(&long).expect_err("too long")[0].problem.contains("at most 1048576"));
    assert_eq!(faults("").len(), 2);
}

#[test]
fn more_shards_than_a_plan_may_name_are_refused() {
    let names = |count| (0..count).map(|n| format!("\"v{n}\",")).collect::<String>();
    let text = format!(
        "name = \"r\"\ncovers = {{ shards = [{}] }}\nwaves = {{ list = [\"rest\"] }}\n[[class]]\nshards = [\"x\"]\n",
        names(10_000)
    );
    assert_eq!(
        faults(&text),
        ["5:10: class[0].shards: brings the plan above 10000 named shards; select by label"]
    );
}

/// T2: at its borders a number is right, and one beyond is refused where it stands, with the range.
#[test]
fn numbers_are_held_to_their_borders() {
    let borders: [(&str, &str, [u64; 2]); 6] = [
        ("tries", "attempts", [1, 1_000]),
        ("open", "in_flight", [1, u32::MAX.into()]),
        ("pace", "readers", [1, 128]),
        ("verify", "damaged_per_million", [0, 999_999]),
        ("verify", "unreadable_mailboxes", [0, u64::MAX]),
        ("class", "weight", [0, u32::MAX.into()]),
    ];
    for (section, key, [least, most]) in borders {
        let head = match section {
            "class" => "[[class]]\nshards = [\"a\"]\n".to_owned(),
            other => format!("[{other}]\n"),
        };
        let text = |number: i128| format!("{SMALL}{head}{key} = {number}\n");
        for number in [least, most] {
            assert!(read(text(number.into()).as_bytes()).is_ok(), "{key} = {number}");
        }
        for number in [i128::from(least) - 1, i128::from(most) + 1, i128::from(u64::MAX) * 9, -1] {
            let [said] = faults(&text(number)).try_into().expect("one problem");
            let range = format!("{key}: must be a whole number from {least} to {most}");
            let borders = ["at least 1", "at most 128", "at most 1000", "below 1000000"]
                .map(|b| format!("{key}: must be {b}"));
            assert!(said.contains(&range) || borders.iter().any(|border| said.contains(border)), "{said}");
        }
    }
}

/// T2, R12: what fails at once is not tried without pause and end.
#[test]
fn tries_without_pause_or_end_are_refused() {
    let tries = |text: &str| format!("{SMALL}[tries]\n{text}\n");
    assert!(read(tries("backoff = \"1s\"\nattempts = 1000\nbackoff_max = \"1s\"").as_bytes()).is_ok());
    assert_eq!(
        faults(
            "name = \"r\"\nwaves = { list = [\"rest\"] }\n[tries]\nbackoff = \"0s\"\n  attempts = 4294967295\n"
        ),
        [
            "4:11: tries.backoff: must be at least 1s: what fails at once is tried again and again",
            "5:14: tries.attempts: must be at most 1000",
        ]
    );
    let short = faults(&tries("backoff = \"999ms\""));
    assert!(short.len() == 1 && short[0].contains("tries.backoff: must be at least 1s"), "{short:?}");
}

/// Durations, sizes and shares at their borders.
#[test]
fn quantities_are_held_to_their_borders() {
    let bake = |text: &str| format!("{SMALL}bake = {text:?}\n");
    let rate = |text: &str| format!("{SMALL}[pace]\nbytes_per_second = {text:?}\n");
    let first = |text: &str| format!("name = \"r\"\nwaves = {{ first = {text:?} }}");
    let share = |text: &str| format!("name = \"r\"\nwaves = {{ list = [{text:?}, \"rest\"] }}");
    let growth = |text: &str| format!("name = \"r\"\nwaves = {{ first = \"1%\", growth = {text} }}");
    let good = [
        bake("0s"),
        bake("18446744073709551615ms"),
        rate("1 B"),
        rate("18446744073709551615 B"),
        first("0.0001%"),
        first("100%"),
        share("1 shard"),
        share("4294967295 shards"),
        growth("1"),
        growth("1000.00"),
    ];
    for text in good {
        assert!(read(text.as_bytes()).is_ok(), "{text}: {:?}", faults(&text));
    }
    let bad = [
        (bake("18446744073709551616ms"), "is not a duration"),
        (bake("213503982335d"), "is not a duration"),
        (bake("-1s"), "is not a duration"),
        (bake(""), "\"\" is not a duration"),
        (bake(" 1s"), "\" 1s\" is not a duration"),
        (rate("18446744073709551616 B"), "is not a size"),
        (rate("16777216 TiB"), "is not a size"),
        (first("0%"), "must be above 0%"),
        (first("100.0001%"), "is not a percentage"),
        (first("1.2345678%"), "at most four decimals"),
        (share("0 shards"), "at least one shard"),
        (share("4294967296 shards"), "is not a wave"),
        (share("rest "), "\"rest \" is not a wave"),
        (share("r\u{435}st"), "r\\u{435}st is not a wave"),
        (growth("0.99"), "at least 1: waves never shrink"),
        (growth("1000.01"), "from 1 to 1000"),
        (growth("1.001"), "at most two decimals"),
    ];
    for (text, said) in bad {
        let faults = faults(&text);
        assert!(faults.len() == 1 && faults[0].contains(said), "{said}: {faults:?}");
    }
}

/// What a text is wrapped in changes no place: line ends of other systems, a mark before it. Nesting without end is refused.
#[test]
fn wrappings_and_depths_are_survived() {
    let crlf = |text: &str| text.replace('\n', "\r\n");
    assert!(read(crlf(SMALL).as_bytes()).is_ok() && read(format!("\u{feff}{SMALL}").as_bytes()).is_ok());
    let wrong = format!("{SMALL}bake = 3\n");
    let said = faults(&wrong);
    assert!(said[0].starts_with("4:8: waves.bake: "), "{said:?}");
    assert_eq!([faults(&crlf(&wrong)), faults(&format!("\u{feff}{wrong}"))], [said.clone(), said]);
    assert_eq!(faults("\u{feff}name = 3\nwaves = { list = [\"rest\"] }").len(), 1);
    assert!(faults("\u{feff}name = 3\nwaves = { list = [\"rest\"] }")[0].starts_with("1:8: name: "));
    let deep = PLAN_TEXT_BYTES_MAX / 2 - 100;
    let depths = [
        format!("x = {}{}", "[".repeat(deep), "]".repeat(deep)),
        format!("x = {}", "{a=".repeat(deep / 2)),
        format!("{} = 1", vec!["a"; deep].join(".")),
        format!("[{}]", vec!["a"; deep].join(".")),
    ];
    for text in depths {
        let said = faults(&text);
        assert!(said.len() == 1 && said[0].contains("is not TOML"), "{said:?}");
    }
}

/// A problem that the orchestrator finds is shown at the setting it is about.
#[test]
fn problems_of_the_fleet_are_found_in_the_text() {
    let text = "name = \"r\"\n[waves]\nlist = [\"rest\"]\n[waves.domain_caps]\nrack = \"5%\"\n";
    let file = read(text.as_bytes()).expect("valid");
    let problem = |field: &str| PlanProblem { field: field.to_owned(), problem: "p".to_owned() };
    let places: Vec<_> = file
        .locate(&[
            problem("waves.list"),
            problem("waves.domain_caps.rack"),
            problem("waves.domain_caps"),
            problem("covers"),
        ])
        .iter()
        .map(|fault| (fault.line, fault.field.clone()))
        .collect();
    let expected =
        [(1, "covers"), (3, "waves.list"), (4, "waves.domain_caps"), (5, "waves.domain_caps.rack")];
    assert_eq!(places, expected.map(|(line, field)| (line, field.to_owned())));
}

fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        "[0-9]{1,12}(\\.[0-9]{1,3})?",
        "\"[0-9a-z%. ]{0,12}\"",
        "\"\\PC{0,6}\"",
        Just("[]".to_owned()),
        Just("{}".to_owned()),
        Just("[[\"imap\"],{a=1}]".to_owned()),
        Just("true".to_owned()),
        Just("1979-05-27".to_owned()),
        Just("-inf".to_owned()),
    ]
}

fn line() -> impl Strategy<Value = String> {
    let key = prop::sample::select(vec![
        "name",
        "kind",
        "seed",
        "covers",
        "class",
        "waves",
        "verify",
        "tries",
        "open",
        "pace",
        "list",
        "first",
        "growth",
        "max",
        "bake",
        "domain_caps",
        "level",
        "coverage",
        "attempts",
        "backoff",
        "steps",
        "services",
        "readers",
        "labels",
        "shards",
        "all",
        "weight",
        "\"é\"",
    ]);
    prop_oneof![
        (key.clone(), value()).prop_map(|(key, value)| format!("{key} = {value}")),
        key.clone().prop_map(|key| format!("[{key}]")),
        key.prop_map(|key| format!("[[{key}]]")),
    ]
}

proptest! {
    /// No text makes the reader panic, and what it refuses it places inside the text.
    #[test]
    fn any_text_is_read_or_refused(lines in prop::collection::vec(line(), 0..12)) {
        let text = lines.join("\n");
        if let Err(faults) = read(text.as_bytes()) {
            prop_assert!(!faults.is_empty());
            prop_assert!(faults.iter().all(|fault| fault.line >= 1 && fault.line <= lines.len().max(1)));
        }
    }

    #[test]
    fn any_bytes_are_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(read(&bytes).is_err());
    }
}

/// A cell of so many racks, a node each, with as many shards of 800 mailboxes.
fn cell(racks: u64, shards: usize) -> Engine {
    let mut engine = Engine::new();
    let mut step = |event| drop(engine.step(CellTime::from_unix_ms(1_000), event));
    let origin = Origin::Founded { cell: CellId::new("test").expect("a name"), mailbox_key: Digest::ZERO };
    step(Event::Lead { epoch: Epoch::from_raw(1), origin });
    for rack in 1..=racks {
        let (node, incarnation) =
            (NodeId::new(&format!("n{rack}")).expect("a name"), NodeIncarnation::from_raw(1));
        let label = LabelValue::new(&format!("r{rack}")).expect("a value");
        let labels = [(LabelKey::new("rack").expect("a key"), label)].into();
        let (boot, session) = (BootId::from_raw(1).expect("not 0"), SessionNo(rack));
        let (running, served) = (Vec::new(), Vec::new());
        step(Event::Hello(Hello { session, node, incarnation, boot, labels, running, served }));
        let volume = VolumeId::new(&format!("fs:{rack}")).expect("a name");
        let claim = |no| Claim {
            shard: ShardId::new(&format!("s{rack}-{no}")).expect("a name"),
            volume,
            second: None,
            mailboxes: 800,
            services: ServiceSet::NONE,
        };
        let claims = (0..shards).map(claim).collect();
        step(Event::Inventory { node, incarnation, first: true, claims, last: true });
    }
    engine
}

/// The plan that the README shows is one that can be carried out, whatever order is drawn.
#[test]
fn the_plan_of_the_readme_forms_waves() {
    let readme = include_str!("../../../README.md");
    let (_, rest) = readme.split_once("```toml\n").expect("it shows a plan");
    let (text, _) = rest.split_once("```").expect("that ends");
    let text: Vec<&str> = text.lines().map(str::trim_start).collect();
    let plan = read(text.join("\n").as_bytes()).expect("valid").plan;
    let engine = cell(8, 100);
    for seed in 0..32 {
        let waves = engine.forecast(&plan, [seed; 32]).expect("it fits");
        assert!(waves.len() > 4, "{} waves", waves.len());
    }
}
