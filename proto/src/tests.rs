//! Properties of all conversions.

use std::fmt::Debug;

use proptest::prelude::*;
use prost::Message;
use rientro_types::{
    CampaignView, CellView, Entry, MailboxView, NodeView, Plan, Receipt, Record, Refusal, ShardView,
    SnapshotRecord, Verb, WaveForecast,
};

use crate::codec::{decode_entry, decode_snapshot_record, encode_entry, encode_snapshot_record};
use crate::testing::{Generate, Variants, any, each};
use crate::{bulk, operator, session, v1};

/// Cases of one property; every variant of an enum has as many of its own.
const CASES: u32 = 32;

/// A word goes into a message, the message over the wire, and the same word comes out.
fn there_and_back<W, T>(strategy: &BoxedStrategy<T>)
where
    T: Generate + Clone + PartialEq + TryFrom<W, Error = crate::ConvertError>,
    W: From<T> + Message + Default + PartialEq + Debug,
{
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(CASES));
    let check = |word: T| {
        let message = W::from(word.clone());
        let received = W::decode(message.encode_to_vec().as_slice()).expect("was encoded as such");
        prop_assert_eq!(&received, &message);
        prop_assert_eq!(T::try_from(received), Ok(word));
        Ok(())
    };
    runner.run(strategy, check).unwrap_or_else(|failure| panic!("{failure}"));
}

fn each_there_and_back<W, T>()
where
    T: Variants + Clone + PartialEq + TryFrom<W, Error = crate::ConvertError>,
    W: From<T> + Message + Default + PartialEq + Debug,
{
    for strategy in each::<T>() {
        there_and_back::<W, T>(&strategy);
    }
}

#[test]
fn plans_and_verbs_survive_the_wire() {
    there_and_back::<v1::Plan, _>(&any::<Plan>());
    each_there_and_back::<v1::Verb, Verb>();
    each_there_and_back::<v1::Refusal, Refusal>();
    there_and_back::<v1::Receipt, _>(&any::<Receipt>());
    there_and_back::<v1::ActRequest, _>(&any::<operator::Act>());
    each_there_and_back::<v1::ActResponse, operator::ActAnswer>();
}

#[test]
fn records_and_snapshots_survive_the_wire() {
    each_there_and_back::<v1::Record, Record>();
    each_there_and_back::<v1::SnapshotRecord, SnapshotRecord>();
    there_and_back::<v1::JournalEntry, _>(&any::<Entry>());
}

#[test]
fn views_survive_the_wire() {
    there_and_back::<v1::CellView, _>(&any::<CellView>());
    there_and_back::<v1::NodeView, _>(&any::<NodeView>());
    there_and_back::<v1::ShardView, _>(&any::<ShardView>());
    there_and_back::<v1::MailboxView, _>(&any::<MailboxView>());
    there_and_back::<v1::CampaignView, _>(&any::<CampaignView>());
    there_and_back::<v1::WaveForecast, _>(&any::<WaveForecast>());
}

#[test]
fn what_agents_and_orchestrator_say_survives_the_wire() {
    each_there_and_back::<v1::SessionRequest, session::AgentMessage>();
    each_there_and_back::<v1::SessionResponse, session::OrchestratorMessage>();
    each_there_and_back::<v1::ReportInventoryRequest, bulk::InventoryPart>();
    each_there_and_back::<v1::ReportMailboxesRequest, bulk::MailboxesPart>();
    each_there_and_back::<v1::UploadFindingsRequest, bulk::FindingsPart>();
}

#[test]
fn questions_and_answers_of_operators_survive_the_wire() {
    there_and_back::<v1::GetCellResponse, _>(&any::<operator::CellAnswer>());
    there_and_back::<v1::ListShardsRequest, _>(&any::<operator::ShardsQuery>());
    each_there_and_back::<v1::FindMailboxRequest, operator::MailboxQuery>();
    there_and_back::<v1::GetShardResponse, _>(&any::<operator::ShardAnswer>());
    there_and_back::<v1::FindMailboxResponse, _>(&any::<operator::MailboxAnswer>());
    each_there_and_back::<v1::CheckPlanResponse, operator::ForecastPart>();
    there_and_back::<v1::StreamFindingsRequest, _>(&any::<operator::FindingsQuery>());
    each_there_and_back::<v1::StreamFindingsResponse, operator::FindingsAnswer>();
    there_and_back::<v1::WatchRequest, _>(&any::<operator::WatchQuery>());
    each_there_and_back::<v1::WatchResponse, operator::WatchEvent>();
    there_and_back::<v1::TailJournalResponse, _>(&any::<operator::TailedEntry>());
    each_there_and_back::<v1::VerifyJournalResponse, operator::JournalCheck>();
    each_there_and_back::<v1::BackupJournalResponse, operator::BackupPart>();
}

/// Bytes that are no message, or no valid one, are an error or, where chance made them valid, read the same again.
fn take<W, T>(bytes: &[u8])
where
    W: Message + Default + From<T>,
    T: TryFrom<W, Error = crate::ConvertError> + Clone + PartialEq + Debug,
{
    if let Ok(word) =
        W::decode(bytes).map_err(|_| ()).and_then(|message| T::try_from(message).map_err(|_| ()))
    {
        assert_eq!(T::try_from(W::from(word.clone())), Ok(word));
    }
}

fn take_as_everything(bytes: &[u8]) {
    take::<v1::SessionRequest, session::AgentMessage>(bytes);
    take::<v1::SessionResponse, session::OrchestratorMessage>(bytes);
    take::<v1::ReportInventoryRequest, bulk::InventoryPart>(bytes);
    take::<v1::ReportMailboxesRequest, bulk::MailboxesPart>(bytes);
    take::<v1::UploadFindingsRequest, bulk::FindingsPart>(bytes);
    take::<v1::ActRequest, operator::Act>(bytes);
    take::<v1::ListShardsRequest, operator::ShardsQuery>(bytes);
    take::<v1::FindMailboxRequest, operator::MailboxQuery>(bytes);
    take::<v1::StreamFindingsRequest, operator::FindingsQuery>(bytes);
    take::<v1::WatchRequest, operator::WatchQuery>(bytes);
    take::<v1::WatchResponse, operator::WatchEvent>(bytes);
    take::<v1::Plan, Plan>(bytes);
}

/// Whatever the journal's decoder accepts, it would have written itself: so nothing was skipped.
fn read_as_journal(bytes: &[u8]) -> Result<(), TestCaseError> {
    if let Ok(entry) = decode_entry(bytes) {
        prop_assert_eq!(encode_entry(&entry), bytes);
    }
    if let Ok(record) = decode_snapshot_record(bytes) {
        prop_assert_eq!(encode_snapshot_record(&record), bytes);
    }
    Ok(())
}

proptest! {
    #[test]
    fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        take_as_everything(&bytes);
        read_as_journal(&bytes)?;
    }

    #[test]
    fn changed_bytes_never_panic_and_nothing_is_skipped(
        entry in any::<Entry>(), at in any::<u32>(), to in any::<u8>(), cut in any::<bool>(),
    ) {
        let mut bytes = encode_entry(&entry);
        let at = at as usize % bytes.len();
        bytes[at] = to;
        if cut {
            bytes.truncate(at);
        }
        take_as_everything(&bytes);
        read_as_journal(&bytes)?;
    }

    #[test]
    fn journal_bytes_are_read_as_they_were_written(entry in any::<Entry>(), record in any::<SnapshotRecord>()) {
        let bytes = encode_entry(&entry);
        prop_assert_eq!(decode_entry(&bytes), Ok(entry));
        let bytes = encode_snapshot_record(&record);
        prop_assert_eq!(decode_snapshot_record(&bytes), Ok(record));
    }
}
