//! What conversions refuse, and the path they name.

use crate::fixtures;
use prost::Message;
use rientro_types::*;
use rientro_wire::codec::{decode_entry, encode_entry};
use rientro_wire::operator::{Act, MailboxQuery};
use rientro_wire::session::{AgentMessage, Hello, OrchestratorMessage, ServedShard};
use rientro_wire::{ConvertError, Problem, v1};

fn refused<T: std::fmt::Debug>(result: Result<T, ConvertError>) -> (String, Problem) {
    let ConvertError { field, problem } = result.unwrap_err();
    (field, problem)
}

fn plan(change: impl FnOnce(&mut v1::Plan)) -> (String, Problem) {
    let mut plan = v1::Plan::from(fixtures::plan());
    change(&mut plan);
    let verb = v1::verb::Verb::Start(v1::verb::Start { plan: Some(plan), source: vec![0; 32] });
    let verb = Some(v1::Verb { verb: Some(verb) });
    refused(Act::try_from(v1::ActRequest { actor: "mario".to_owned(), verb, dry_run: false }))
}

fn field(path: &str, problem: Problem) -> (String, Problem) {
    (format!("verb.start.plan.{path}"), problem)
}

/// T2: what is missing or unspecified refuses the plan; nothing is filled in.
#[test]
fn what_is_missing_is_not_guessed() {
    assert_eq!(plan(|plan| plan.policy = None), field("policy", Problem::Missing));
    assert_eq!(plan(|plan| plan.kind = 0), field("kind", Problem::Unspecified));
    assert_eq!(plan(|plan| plan.kind = 99), field("kind", Problem::ValueUnknown(99)));
    let no_way = |plan: &mut v1::Plan| plan.covers = Some(v1::Coverage { covers: None });
    assert_eq!(plan(no_way), field("covers", Problem::VariantUnknown));
    let no_level = |plan: &mut v1::Plan| plan.policy.as_mut().unwrap().level = 0;
    assert_eq!(plan(no_level), field("policy.level", Problem::Unspecified));
}

#[test]
fn names_and_numbers_have_their_bounds() {
    assert_eq!(plan(|plan| plan.name.clear()), field("name", Problem::Name(NameError::Empty)));
    let long = |plan: &mut v1::Plan| plan.name = "x".repeat(48);
    assert_eq!(plan(long), field("name", Problem::Name(NameError::TooLong { bytes: 48 })));
    assert_eq!(
        plan(|plan| plan.name = "a b".to_owned()),
        field("name", Problem::Name(NameError::Character { found: ' ', at: 1 }))
    );
    assert_eq!(
        plan(|plan| plan.waves.as_mut().unwrap().domain_caps[0].max_ppm = 1_000_001),
        field("waves.domain_caps[0].max_ppm", Problem::TooLarge { value: 1_000_001, max: 1_000_000 })
    );
    assert_eq!(
        plan(|plan| plan.seed = Some(vec![1; 31])),
        field("seed", Problem::Length { bytes: 31, wanted: 32 })
    );
}

#[test]
fn lists_have_their_bounds() {
    assert_eq!(
        plan(|plan| plan.opening.as_mut().unwrap().steps.clear()),
        field("opening.steps", Problem::Empty)
    );
    let classes = |plan: &mut v1::Plan| plan.classes = vec![plan.classes[0].clone(); CLASSES_MAX + 1];
    let too_many = Problem::TooMany { count: CLASSES_MAX + 1, max: CLASSES_MAX };
    assert_eq!(plan(classes), field("classes", too_many));

    let twice = |plan: &mut v1::Plan| plan.opening.as_mut().unwrap().steps[0].services = vec![1, 1];
    assert_eq!(plan(twice), field("opening.steps[0].services", Problem::Repeated));

    let empty = |plan: &mut v1::Plan| {
        let list = v1::schedule::List { shares: Vec::new() };
        let schedule = v1::Schedule { schedule: Some(v1::schedule::Schedule::List(list)) };
        plan.waves.as_mut().unwrap().schedule = Some(schedule);
    };
    assert_eq!(plan(empty), field("waves.schedule.list.shares", Problem::Empty));
}

/// T2: a field that must not be empty is refused by its path, wherever it stands.
#[test]
fn what_must_not_be_empty_is_refused_everywhere() {
    let tries = [verbs(), refusals(), records(), snapshots(), plans(), questions(), sessions()].concat();
    for (path, tried) in &tries {
        assert_eq!(tried, &Err((path.to_string(), Problem::Empty)), "{path}");
    }
    let sources = [
        include_str!("../../src/bulk.rs"),
        include_str!("../../src/codec.rs"),
        include_str!("../../src/operator.rs"),
        include_str!("../../src/session.rs"),
        include_str!("../../src/convert/common.rs"),
        include_str!("../../src/convert/held.rs"),
        include_str!("../../src/convert/plan.rs"),
        include_str!("../../src/convert/record.rs"),
        include_str!("../../src/convert/snapshot.rs"),
        include_str!("../../src/convert/task.rs"),
        include_str!("../../src/convert/verb.rs"),
        include_str!("../../src/convert/view.rs"),
    ];
    let bounds: usize = sources.iter().map(|source| source.matches("1..=").count()).sum();
    assert_eq!(tries.len(), bounds, "each bound that begins at 1 has its try");
}

/// The path of a field that must not be empty, and what came of sending it empty.
type Try = (&'static str, Result<(), (String, Problem)>);

/// Sends a word in a message of type `W`.
fn send<W, T: Into<W> + TryFrom<W, Error = ConvertError>>(word: T) -> Result<(), (String, Problem)> {
    take::<W, T>(word.into())
}

/// Takes a message as a word of type `T`.
fn take<W, T: TryFrom<W, Error = ConvertError>>(message: W) -> Result<(), (String, Problem)> {
    T::try_from(message).map(drop).map_err(|ConvertError { field, problem }| (field, problem))
}

fn shard() -> ShardId {
    ShardId::new("a").unwrap()
}

fn node() -> NodeId {
    NodeId::new("n1").unwrap()
}

fn verbs() -> Vec<Try> {
    let send = send::<v1::Verb, Verb>;
    let selector = Selector { all: true, ..Selector::default() };
    let (shard, node, mailbox, none) = (shard(), node(), MailboxId::from_raw([1; 16]), String::new);
    let adopt = |services, reason| Verb::Adopt { selector: selector.clone(), services, reason };
    vec![
        ("close.reason", send(Verb::Close { selector: selector.clone(), reason: none() })),
        ("accept.reason", send(Verb::Accept { selector: selector.clone(), reason: none() })),
        ("adopt.services", send(adopt(ServiceSet::NONE, "why".to_owned()))),
        ("adopt.reason", send(adopt(ServiceSet::ALL, none()))),
        ("settle.reason", send(Verb::Settle { selector: selector.clone(), node, reason: none() })),
        ("except.reason", send(Verb::Except { shard, mailbox, exception: None, reason: none() })),
    ]
}

fn refusals() -> Vec<Try> {
    let send = send::<v1::Refusal, Refusal>;
    let (shard, node) = (shard(), node());
    let problems = v1::check_plan_response::Problems { problems: Vec::new() };
    let checked = v1::check_plan_response::Answer::Problems(problems);
    let checked = v1::CheckPlanResponse { answer: Some(checked) };
    vec![
        ("plan.problems", send(Refusal::Plan(Vec::new()))),
        ("not_claimed.claimed_by", send(Refusal::NotClaimed { shard, node, claimed_by: Vec::new() })),
        ("by_name_only.shards", send(Refusal::ByNameOnly { node, shards: Vec::new(), total: 1 })),
        ("problems.problems", take::<_, rientro_wire::operator::ForecastPart>(checked)),
    ]
}

fn records() -> Vec<Try> {
    let send = send::<v1::Record, Record>;
    let selector = Selector { all: true, ..Selector::default() };
    let (shard, node, mailbox, none) = (shard(), node(), MailboxId::from_raw([1; 16]), String::new);
    let (campaign, wave) = (CampaignId::new("c").unwrap(), WaveNo::from_raw(0));
    let (services, timeout) = (ServiceSet::NONE, Span::from_secs(1));
    let adopted = |services, reason| Record::Adopted { selector: selector.clone(), services, reason };
    let entry = encode_entry(&fixtures::entry(Record::ClockMarked));
    let entry = v1::JournalEntry { decisions: Vec::new(), ..v1::JournalEntry::decode(&entry[..]).unwrap() };
    let entry = decode_entry(&entry.encode_to_vec());
    let nameless = Actor { id: none(), ..fixtures::entry(Record::ClockMarked).decisions[0].actor.clone() };
    vec![
        ("wave_formed.shards", send(Record::WaveFormed { campaign, wave, shards: Vec::new() })),
        ("step_opening.services", send(Record::StepOpening { shard, services, timeout })),
        ("settled.reason", send(Record::Settled { selector: selector.clone(), node, reason: none() })),
        ("closed.reason", send(Record::Closed { selector: selector.clone(), reason: none() })),
        ("accepted.reason", send(Record::Accepted { selector: selector.clone(), reason: none() })),
        ("adopted.services", send(adopted(ServiceSet::NONE, "why".to_owned()))),
        ("adopted.reason", send(adopted(ServiceSet::ALL, none()))),
        (
            "exception_set.reason",
            send(Record::ExceptionSet { shard, mailbox, exception: None, reason: none() }),
        ),
        ("id", self::send::<v1::Actor, _>(nameless)),
        ("decisions", entry.map(drop).map_err(|ConvertError { field, problem }| (field, problem))),
    ]
}

fn snapshots() -> Vec<Try> {
    let accepted = |by: &str, reason: &str| Acceptance { by: by.to_owned(), reason: reason.to_owned() };
    vec![
        ("by", send::<v1::Acceptance, _>(accepted("", "why"))),
        ("reason", send::<v1::Acceptance, _>(accepted("mario", ""))),
    ]
}

fn plans() -> Vec<Try> {
    let covers = |covers| send::<v1::Coverage, _>(covers);
    let schedule = Schedule::List(Vec::new());
    let steps = |steps| send::<v1::Opening, _>(Opening { steps, in_flight_max: 1 });
    vec![
        ("labels.labels", covers(Coverage::Labels(Default::default()))),
        ("shards.shards", covers(Coverage::Shards(Vec::new()))),
        ("list.shares", send::<v1::Schedule, _>(schedule)),
        ("steps", steps(Vec::new())),
        ("steps[1].services", steps(vec![ServiceSet::ALL, ServiceSet::NONE])),
    ]
}

fn questions() -> Vec<Try> {
    let (actor, verb) = (String::new(), Verb::Pause { campaign: CampaignId::new("c").unwrap() });
    vec![
        ("actor", send::<v1::ActRequest, _>(Act { actor, verb, dry_run: false })),
        ("address", send::<v1::FindMailboxRequest, _>(MailboxQuery::Address(Vec::new()))),
    ]
}

fn sessions() -> Vec<Try> {
    let hello = Hello {
        protocol: 1,
        build: String::new(),
        node: node(),
        incarnation: NodeIncarnation::from_raw(1),
        labels: Default::default(),
        newest: None,
        inventory: None,
        witness: None,
        boot: BootId::from_raw(1).unwrap(),
    };
    let served = vec![ServedShard { shard: shard(), services: ServiceSet::NONE }];
    let send = send::<v1::SessionRequest, AgentMessage>;
    vec![
        ("hello.build", send(AgentMessage::Hello(hello))),
        ("served.shards[0].services", send(AgentMessage::Served(served))),
    ]
}

/// Every coverage is within its bound, and still the plan names too many shards: it would not fit into a journal entry.
#[test]
fn a_plan_names_so_many_shards_in_all_its_parts_together() {
    let many = |plan: &mut v1::Plan| {
        let shards = (0..6_000).map(|no| format!("s{no}")).collect();
        let covers = v1::coverage::Covers::Shards(v1::coverage::Shards { shards });
        let class = v1::Class { covers: Some(v1::Coverage { covers: Some(covers) }), weight: 1 };
        plan.classes = vec![class.clone(), class];
    };
    assert_eq!(plan(many), field("classes", Problem::TooMany { count: 12_000, max: SHARDS_NAMED_MAX }));
}

#[test]
fn texts_have_their_bounds() {
    let verb = Verb::Close { selector: Selector::default(), reason: "x".repeat(REASON_BYTES_MAX + 1) };
    let (path, problem) = refused(Verb::try_from(v1::Verb::from(verb)));
    let too_long = Problem::TooLong { bytes: REASON_BYTES_MAX + 1, max: REASON_BYTES_MAX };
    assert_eq!((path.as_str(), problem), ("close.reason", too_long));

    let request = v1::ActRequest { actor: String::new(), verb: None, dry_run: false };
    assert_eq!(refused(Act::try_from(request)), ("actor".to_owned(), Problem::Empty));

    let who = v1::find_mailbox_request::Who::Address(Vec::new());
    let request = v1::FindMailboxRequest { who: Some(who) };
    assert_eq!(refused(MailboxQuery::try_from(request)), ("address".to_owned(), Problem::Empty));
}

#[test]
fn a_session_message_must_say_something() {
    let nothing = Problem::VariantUnknown;
    assert_eq!(refused(AgentMessage::try_from(v1::SessionRequest { message: None })).1, nothing);
    assert_eq!(refused(OrchestratorMessage::try_from(v1::SessionResponse { message: None })).1, nothing);

    let stopped = v1::session_request::TaskStopped { shard: "a/b".to_owned(), attempt: 1 };
    let message = Some(v1::session_request::Message::TaskStopped(stopped));
    let (path, _) = refused(AgentMessage::try_from(v1::SessionRequest { message }));
    assert_eq!(path, "task_stopped.shard");
}

/// Mailboxes are added up over shards: a count above what one shard may have is refused wherever an agent says one.
#[test]
fn counts_of_mailboxes_have_their_bound() {
    let most = MAILBOXES_PER_SHARD_MAX as u64;
    let too_large = Problem::TooLarge { value: most + 1, max: most };
    let inventory = |mailboxes| {
        let claim = |mailboxes| v1::Claim { mailboxes, ..v1::Claim::from(fixtures::claim()) };
        let claims = vec![claim(most), claim(mailboxes)];
        let page = v1::report_inventory_request::Page { claims, complete: true, inventory: None };
        let part = Some(v1::report_inventory_request::Part::Page(page));
        rientro_wire::bulk::InventoryPart::try_from(v1::ReportInventoryRequest { part })
    };
    assert!(inventory(most).is_ok());
    assert_eq!(refused(inventory(most + 1)), ("page.claims[1].mailboxes".to_owned(), too_large.clone()));

    for name in ["mailboxes", "mailboxes_damaged", "mailboxes_broken", "mailboxes_unreadable"] {
        let mut verification = fixtures::verification();
        let mut result = |mailboxes| {
            let tally = &mut verification.verdict.tally;
            match name {
                "mailboxes" => tally.mailboxes = mailboxes,
                "mailboxes_damaged" => tally.mailboxes_damaged = mailboxes,
                "mailboxes_broken" => tally.mailboxes_broken = mailboxes,
                _ => tally.mailboxes_unreadable = mailboxes,
            }
            let end = TaskEnd::Verified { verification: verification.clone(), damaged: Vec::new() };
            let (shard, attempt) = (ShardId::new("a").unwrap(), AttemptNo::from_raw(1));
            let within = verification.verdict.tally.is_within_bounds();
            let said = v1::SessionRequest::from(AgentMessage::TaskResult { shard, attempt, end });
            (within, AgentMessage::try_from(said))
        };
        assert!(matches!(result(most), (true, Ok(_))), "{name}");
        let path = format!("task_result.end.verified.verification.verdict.tally.{name}");
        let (within, said) = result(most + 1);
        assert_eq!((within, refused(said)), (false, (path, too_large.clone())));
    }
}

/// T28: an agent that does not tell which run of its process it is could not be told from another one with its state directory.
#[test]
fn an_agent_without_a_boot_is_refused() {
    let hello = v1::session_request::Hello {
        protocol: 1,
        build: "x".to_owned(),
        node: "n1".to_owned(),
        incarnation: 1,
        boot: 0,
        ..Default::default()
    };
    let said = |hello| {
        AgentMessage::try_from(v1::SessionRequest {
            message: Some(v1::session_request::Message::Hello(hello)),
        })
    };
    assert_eq!(refused(said(hello.clone())), ("hello.boot".to_owned(), Problem::Missing));
    assert!(said(v1::session_request::Hello { boot: 1, ..hello }).is_ok());
}

/// A run of mailbox ids that is cut within an id is no list of ids.
#[test]
fn mailbox_ids_are_whole() {
    let page =
        v1::report_mailboxes_request::Page { shard: "a".to_owned(), mailboxes: vec![0; 17], complete: true };
    let part = Some(v1::report_mailboxes_request::Part::Page(page));
    let refusal = refused(rientro_wire::bulk::MailboxesPart::try_from(v1::ReportMailboxesRequest { part }));
    assert_eq!(refusal, ("page.mailboxes".to_owned(), Problem::Length { bytes: 17, wanted: 32 }));
}

/// An explanation longer than a response may carry is cut between two characters, and arrives.
#[test]
fn long_explanations_are_cut_and_not_refused() {
    let problem = format!("x{}", "é".repeat(EXPLANATION_BYTES_MAX));
    let problems = vec![PlanProblem { field: String::new(), problem }; PLAN_PROBLEMS_MAX + 1];
    let Ok(Refusal::Plan(problems)) = Refusal::try_from(v1::Refusal::from(Refusal::Plan(problems))) else {
        panic!("a cut refusal is accepted")
    };
    assert_eq!((problems.len(), problems[0].problem.len()), (PLAN_PROBLEMS_MAX, EXPLANATION_BYTES_MAX - 1));
}
