//! Actors, orders, selectors, findings and the enums that many messages share.

use rientro_types::{
    ACTOR_ID_BYTES_MAX, Actor, ActorKind, Authentication, Claim, DETAIL_BYTES_MAX, Exception, Finding,
    FindingKind, FleetLimits, LABELS_MAX, LocatedFinding, MAILBOXES_PER_SHARD_MAX, Order, PATH_BYTES_MAX,
    Placement, Progress, SHARDS_NAMED_MAX, Selector, Service, ShardState, Witness,
};

use super::{ConvertError, Inside, Problem, Put, Take, TakeWithin};
use crate::v1;

choices!(v1::ActorKind => ActorKind { Operator, Agent, Orchestrator });
choices!(v1::Authentication => Authentication { Internal, Loopback, UnixPeer });
choices!(v1::Service => Service { Webmail, Imap, Pop, Submission, Delivery });
choices!(v1::Exception => Exception { Closed, Accepted });
choices!(v1::ShardState => ShardState {
    Closed, Waiting, Verifying, Backoff, Verified, Confirming, Opening, Open, Held, Failed,
});
choices!(v1::FindingKind => FindingKind {
    SizeMismatch, VirtualSizeMismatch, CompressedStream, EmptyMessage, HeaderMalformed, NulRun, ZeroBlock,
    MimeTruncated, FileUnreadable, DirectoryUnreadable, DirectoryMissing, MailboxMissing, MailboxUnrecognised,
    MessageMissing, UidlistMissing, UidlistMalformed, UidlistStale, IndexMalformed, DuplicateName, StrayFile,
    SymbolicLink, SpecialFile, NameNotUtf8, VolumeEmpty, VolumeWrong, ChangedWhileRead, LimitReached,
    FrameMalformed, IndexMissing, IndexStale, MapMismatch, UnmappedMessage, ReferenceMismatch, GuidMismatch,
    AttachmentMissing, AttachmentDamaged, MessageAltered, MessageTruncated, MessageGone, FolderGone, UidChanged,
    GuidChanged, BaselineUnreadable,
});

message!(v1::Actor => Actor { kind, id in 1..=ACTOR_ID_BYTES_MAX, authentication });
message!(v1::Order => Order { cell, incarnation, epoch, seq });
message!(v1::Witness => Witness { order, entry });
message!(v1::Placement => Placement { no, node, volume });
message!(v1::Claim => Claim {
    shard,
    volume,
    mailboxes in 0..=MAILBOXES_PER_SHARD_MAX,
    services,
    second,
});
message!(v1::Progress => Progress { mailboxes, messages, bytes, findings });

message!(v1::FleetLimits => FleetLimits {
    verifies_per_node,
    confirms_per_node,
    verifies_per_domain in 0..=LABELS_MAX,
    silence as silence_ms,
});

message!(v1::Selector => Selector {
    all,
    campaign,
    wave,
    labels in 0..=LABELS_MAX,
    states in 0..=ShardState::ALL.len(),
    findings,
    shards in 0..=SHARDS_NAMED_MAX,
});

message!(v1::Finding => Finding {
    kind,
    mailbox in 0..=PATH_BYTES_MAX,
    path in 0..=PATH_BYTES_MAX,
    detail in 0..=DETAIL_BYTES_MAX,
});

message!(v1::LocatedFinding => LocatedFinding { mailbox_id, address in 0..=PATH_BYTES_MAX, finding });
