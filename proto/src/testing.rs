//! Strategies that generate words, for property tests here and in other rooms.
//!
//! [`any`] generates any word within the bounds of `rientro-types`, not only what an engine would make; [`each`] gives one strategy
//! a variant. Lists are short: what is at its bound is tested by hand. Tables like those of the conversions list every field and
//! variant, and do not compile when one is missing.

use std::borrow::Cow;
use std::collections::BTreeMap;

use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::{Arbitrary, BoxedStrategy, Strategy};
use rientro_types::{
    ActiveTime, AttemptNo, BootId, ByteSize, CampaignId, CellId, CellTime, Digest, Epoch, Incarnation,
    LabelKey, LabelValue, MAILBOXES_PER_SHARD_MAX, MailboxId, NodeId, NodeIncarnation, PlacementNo, Ppm,
    Revision, Seq, Service, ServiceSet, ShardId, Span, VolumeId, WaveNo,
};

/// A word that can be generated.
pub trait Generate: Sized + std::fmt::Debug {
    /// Any value of it.
    fn any() -> BoxedStrategy<Self>;
}

/// A word with variants.
pub trait Variants: Generate {
    /// One strategy for each variant, in the order of the type.
    fn each() -> Vec<BoxedStrategy<Self>>;
}

/// Any value of a word.
pub fn any<T: Generate>() -> BoxedStrategy<T> {
    T::any()
}

/// One strategy for each variant of a word, in the order of the type.
#[must_use]
pub fn each<T: Variants>() -> Vec<BoxedStrategy<T>> {
    T::each()
}

/// Strategies as nested pairs, so that a table may have any number of rows.
macro_rules! strategies {
    () => { Just(()) };
    ($field:ident $(, $($rest:tt)*)?) => { (Generate::any(), strategies!($($($rest)*)?)) };
    ($field:ident = $strategy:expr $(, $($rest:tt)*)?) => { ($strategy, strategies!($($($rest)*)?)) };
}

/// The values of [`strategies!`].
macro_rules! values {
    () => { () };
    ($field:ident $(, $($rest:ident),*)?) => { ($field, values!($($($rest),*)?)) };
}

/// Generates a struct from its fields; `field = strategy` where the field's type alone does not say enough.
macro_rules! generate_struct {
    ($($word:ident { $($field:ident $(= $strategy:expr)?),* $(,)? })*) => {$(
        impl Generate for $word {
            fn any() -> BoxedStrategy<Self> {
                strategies!($($field $(= $strategy)?),*)
                    .prop_map(|values!($($field),*)| $word { $($field),* })
                    .boxed()
            }
        }
    )*};
}

/// Generates an enum from its variants, written as in the conversion tables.
macro_rules! generate_enum {
    ($($word:ident {
        $($variant:ident
            $(($single:ident $(= $single_strategy:expr)?))?
            $({ $($field:ident $(= $strategy:expr)?),* $(,)? })?
        ),* $(,)?
    })*) => {$(
        impl Variants for $word {
            fn each() -> Vec<BoxedStrategy<Self>> {
                vec![$(
                    strategies!($($single $(= $single_strategy)?)? $($($field $(= $strategy)?),*)?)
                        .prop_map(|values!($($single)? $($($field),*)?)|
                            $word::$variant $(($single))? $({ $($field),* })?)
                        .boxed(),
                )*]
            }
        }
        impl Generate for $word {
            fn any() -> BoxedStrategy<Self> {
                proptest::strategy::Union::new(Self::each()).boxed()
            }
        }
        // A variant that is missing above is missing here, and the match is not exhaustive.
        const _: fn(&$word) = |word| match word {
            $($word::$variant { .. } => {})*
        };
    )*};
}

/// Generates what wraps something that can be generated already.
macro_rules! generate_map {
    ($($word:ty = $from:ty, $map:expr;)*) => {$(
        impl Generate for $word {
            fn any() -> BoxedStrategy<Self> {
                <$from>::arbitrary().prop_map($map).boxed()
            }
        }
    )*};
}

generate_map! {
    bool = bool, |is| is;
    u8 = u8, |count| count;
    u32 = u32, |count| count;
    u64 = u64, |count| count;
    [u8; 32] = [u8; 32], |bytes| bytes;
    Digest = [u8; 32], Digest::from_raw;
    MailboxId = [u8; 16], MailboxId::from_raw;
    CellTime = u64, CellTime::from_unix_ms;
    ActiveTime = u64, ActiveTime::from_ms;
    Span = u64, Span::from_ms;
    ByteSize = u64, ByteSize::from_bytes;
    NodeIncarnation = u64, NodeIncarnation::from_raw;
    BootId = u64, |raw| BootId::from_raw(raw.max(1)).expect("it is at least 1");
    Epoch = u64, Epoch::from_raw;
    Seq = u64, Seq::from_raw;
    Incarnation = u32, Incarnation::from_raw;
    AttemptNo = u32, AttemptNo::from_raw;
    WaveNo = u32, WaveNo::from_raw;
    Revision = u32, Revision::from_raw;
    PlacementNo = u32, PlacementNo::from_raw;
    Ppm = u32, |raw| Ppm::ratio(u64::from(raw), u64::from(u32::MAX));
    ServiceSet = [bool; 5], |bits| Service::ALL.into_iter().zip(bits).filter(|(_, is)| *is).map(|(s, _)| s).collect();
}

macro_rules! generate_names {
    ($($id:ident)*) => {$(
        impl Generate for $id {
            fn any() -> BoxedStrategy<Self> {
                "[a-zA-Z0-9][a-zA-Z0-9._:@+-]{0,46}"
                    .prop_map(|text| $id::new(&text).expect("the pattern is that of names"))
                    .boxed()
            }
        }
    )*};
}

generate_names! { CellId NodeId ShardId CampaignId VolumeId LabelKey LabelValue }

impl<T: Generate + Clone + 'static> Generate for Option<T> {
    fn any() -> BoxedStrategy<Self> {
        option::of(T::any()).boxed()
    }
}

impl<T: Generate + 'static> Generate for Box<T> {
    fn any() -> BoxedStrategy<Self> {
        T::any().prop_map(Box::new).boxed()
    }
}

impl<T: Generate + 'static> Generate for Vec<T> {
    fn any() -> BoxedStrategy<Self> {
        vec(T::any(), 0..4).boxed()
    }
}

impl<K: Generate + Ord + 'static, V: Generate + 'static> Generate for BTreeMap<K, V> {
    fn any() -> BoxedStrategy<Self> {
        btree_map(K::any(), V::any(), 0..4).boxed()
    }
}

/// A text, which may be empty: explanations and details.
impl Generate for String {
    fn any() -> BoxedStrategy<Self> {
        proptest::string::string_regex("\\PC{0,20}").expect("the pattern is valid").boxed()
    }
}

impl Generate for Cow<'static, str> {
    fn any() -> BoxedStrategy<Self> {
        String::any().prop_map(Cow::Owned).boxed()
    }
}

/// A text that says something: the id of an actor, the name of a build, a reason.
fn word() -> BoxedStrategy<String> {
    "[a-z]{1,12}".prop_map(|text| text).boxed()
}

/// Mailboxes of a shard, up to the most it may have.
fn mailboxes() -> BoxedStrategy<u64> {
    (0..=MAILBOXES_PER_SHARD_MAX as u64).boxed()
}

/// A list that holds something.
fn some<T: Generate + 'static>() -> BoxedStrategy<Vec<T>> {
    vec(T::any(), 1..4).boxed()
}

/// Labels of which there is one.
fn some_labels() -> BoxedStrategy<BTreeMap<LabelKey, LabelValue>> {
    btree_map(LabelKey::any(), LabelValue::any(), 1..4).boxed()
}

/// Services of which there is one.
fn services() -> BoxedStrategy<ServiceSet> {
    ServiceSet::any().prop_filter("is empty", |set| !set.is_empty()).boxed()
}

/// A path or an address: bytes that need not be UTF-8.
fn path() -> BoxedStrategy<Vec<u8>> {
    vec(u8::any(), 0..20).boxed()
}

mod common;
mod durable;
mod spoken;
