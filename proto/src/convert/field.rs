//! How single fields go into messages and come out: numbers, names, digests, texts, lists, maps and sets.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use rientro_types::{
    ActiveTime, AttemptNo, BootId, ByteSize, CampaignId, CellId, CellTime, Digest, Epoch, FindingKind,
    FindingKinds, Incarnation, LabelKey, LabelValue, MailboxId, NodeId, NodeIncarnation, PlacementNo, Ppm,
    Revision, Seq, Service, ServiceSet, ShardId, Span, VolumeId, WaveNo,
};

use super::{ConvertError, Inside, Problem};

/// Goes into a field of type `W`.
pub(crate) trait Put<W> {
    /// The field's value.
    fn put(self) -> W;
}

/// Comes out of a field of type `W`.
pub(crate) trait Take<W>: Sized {
    /// The word, or why the field holds none.
    fn take(wire: W) -> Result<Self, ConvertError>;
}

/// Comes out of a field of type `W` that has a bound. Words that have a length have no [`Take`]: none is ever read without
/// its bound.
pub(crate) trait TakeWithin<W>: Sized {
    /// The word, or why the field holds none within `bound`.
    fn take_within(wire: W, bound: &RangeInclusive<usize>) -> Result<Self, ConvertError>;
}

/// Words that are one number, text or run of bytes: the type, its field, the way in and the way out.
macro_rules! plain {
    ($($word:ty, $wire:ty, |$out:ident| $put:expr, |$in:ident| $take:expr;)*) => {$(
        impl Put<$wire> for $word {
            fn put(self) -> $wire {
                let $out = self;
                $put
            }
        }
        impl Take<$wire> for $word {
            fn take($in: $wire) -> Result<Self, ConvertError> {
                $take
            }
        }
    )*};
}

plain! {
    bool, bool, |is| is, |is| Ok(is);
    u32, u32, |count| count, |count| Ok(count);
    u64, u64, |count| count, |count| Ok(count);
    u8, u32, |count| count.into(), |count| small(count);
    Ppm, u32, |ppm| ppm.raw(), |ppm| share(ppm);
    ByteSize, u64, |size| size.bytes(), |bytes| Ok(Self::from_bytes(bytes));
    Span, u64, |span| span.ms(), |ms| Ok(Self::from_ms(ms));
    CellTime, u64, |time| time.unix_ms(), |ms| Ok(Self::from_unix_ms(ms));
    ActiveTime, u64, |time| time.ms(), |ms| Ok(Self::from_ms(ms));
    NodeIncarnation, u64, |life| life.raw(), |raw| Ok(Self::from_raw(raw));
    BootId, u64, |boot| boot.raw(), |raw| Ok(Self::from_raw(raw).ok_or(Problem::Missing)?);
    Epoch, u64, |epoch| epoch.raw(), |raw| Ok(Self::from_raw(raw));
    Seq, u64, |seq| seq.raw(), |raw| Ok(Self::from_raw(raw));
    Incarnation, u32, |life| life.raw(), |raw| Ok(Self::from_raw(raw));
    AttemptNo, u32, |no| no.raw(), |raw| Ok(Self::from_raw(raw));
    WaveNo, u32, |no| no.raw(), |raw| Ok(Self::from_raw(raw));
    Revision, u32, |no| no.raw(), |raw| Ok(Self::from_raw(raw));
    PlacementNo, u32, |no| no.raw(), |raw| Ok(Self::from_raw(raw));
    CellId, String, |name| name.to_string(), |text| Ok(Self::new(&text).map_err(Problem::from)?);
    NodeId, String, |name| name.to_string(), |text| Ok(Self::new(&text).map_err(Problem::from)?);
    ShardId, String, |name| name.to_string(), |text| Ok(Self::new(&text).map_err(Problem::from)?);
    CampaignId, String, |name| name.to_string(), |text| Ok(Self::new(&text).map_err(Problem::from)?);
    VolumeId, String, |name| name.to_string(), |text| Ok(Self::new(&text).map_err(Problem::from)?);
    LabelKey, String, |name| name.to_string(), |text| Ok(Self::new(&text).map_err(Problem::from)?);
    LabelValue, String, |name| name.to_string(), |text| Ok(Self::new(&text).map_err(Problem::from)?);
    Digest, Vec<u8>, |digest| digest.raw().to_vec(), |bytes| Ok(Self::from_raw(exactly(&bytes)?));
    MailboxId, Vec<u8>, |id| id.raw().to_vec(), |bytes| Ok(Self::from_raw(exactly(&bytes)?));
    [u8; 32], Vec<u8>, |bytes| bytes.to_vec(), |bytes| exactly(&bytes);
    ServiceSet, Vec<i32>, |set| set.iter().map(Put::put).collect(), |wire| services(wire);
    FindingKinds, Vec<i32>, |set| set.iter().map(Put::put).collect(), |wire| finding_kinds(wire);
}

fn small(count: u32) -> Result<u8, ConvertError> {
    let too_large = Problem::TooLarge { value: count.into(), max: u8::MAX.into() };
    u8::try_from(count).map_err(|_| too_large.into())
}

fn share(ppm: u32) -> Result<Ppm, ConvertError> {
    let too_large = Problem::TooLarge { value: ppm.into(), max: Ppm::ONE.raw().into() };
    Ppm::new(ppm).ok_or_else(|| too_large.into())
}

fn exactly<const N: usize>(bytes: &[u8]) -> Result<[u8; N], ConvertError> {
    bytes.try_into().map_err(|_| Problem::Length { bytes: bytes.len(), wanted: N }.into())
}

/// Where nothing open is an answer too.
fn services(wire: Vec<i32>) -> Result<ServiceSet, ConvertError> {
    ServiceSet::take_within(wire, &(0..=Service::ALL.len()))
}

impl TakeWithin<Vec<i32>> for ServiceSet {
    fn take_within(wire: Vec<i32>, bound: &RangeInclusive<usize>) -> Result<Self, ConvertError> {
        let list = Vec::<Service>::take_within(wire, bound)?;
        let set: Self = list.iter().copied().collect();
        if set.iter().count() == list.len() { Ok(set) } else { Err(Problem::Repeated.into()) }
    }
}

fn finding_kinds(wire: Vec<i32>) -> Result<FindingKinds, ConvertError> {
    let list = Vec::<FindingKind>::take_within(wire, &(0..=FindingKind::ALL.len()))?;
    let mut set = FindingKinds::NONE;
    list.iter().for_each(|kind| set.insert(*kind));
    if set.iter().count() == list.len() { Ok(set) } else { Err(Problem::Repeated.into()) }
}

/// A count that is added up with others: each is bounded, so that no sum of them overflows.
impl TakeWithin<u64> for u64 {
    fn take_within(wire: u64, bound: &RangeInclusive<usize>) -> Result<Self, ConvertError> {
        let (min, max) = (*bound.start() as u64, *bound.end() as u64);
        debug_assert_eq!(min, 0, "no count has a least value");
        if wire <= max { Ok(wire) } else { Err(Problem::TooLarge { value: wire, max }.into()) }
    }
}

impl<T: Put<W>, W> Put<Option<W>> for Option<T> {
    fn put(self) -> Option<W> {
        self.map(Put::put)
    }
}

impl<T: Take<W>, W> Take<Option<W>> for Option<T> {
    fn take(wire: Option<W>) -> Result<Self, ConvertError> {
        wire.map(Take::take).transpose()
    }
}

impl<T: TakeWithin<W>, W> TakeWithin<Option<W>> for Option<T> {
    fn take_within(wire: Option<W>, bound: &RangeInclusive<usize>) -> Result<Self, ConvertError> {
        wire.map(|wire| T::take_within(wire, bound)).transpose()
    }
}

impl<T: Put<W>, W> Put<W> for Box<T> {
    fn put(self) -> W {
        (*self).put()
    }
}

impl<T: Take<W>, W> Take<W> for Box<T> {
    fn take(wire: W) -> Result<Self, ConvertError> {
        T::take(wire).map(Box::new)
    }
}

impl<T: Put<W>, W> Put<Vec<W>> for Vec<T> {
    fn put(self) -> Vec<W> {
        self.into_iter().map(Put::put).collect()
    }
}

impl<T: Take<W>, W> TakeWithin<Vec<W>> for Vec<T> {
    fn take_within(wire: Vec<W>, bound: &RangeInclusive<usize>) -> Result<Self, ConvertError> {
        check_count(wire.len(), bound)?;
        wire.into_iter().enumerate().map(|(at, element)| T::take(element).inside_element(at)).collect()
    }
}

impl<K: Put<String>, V: Put<W>, W> Put<BTreeMap<String, W>> for BTreeMap<K, V> {
    fn put(self) -> BTreeMap<String, W> {
        self.into_iter().map(|(key, value)| (key.put(), value.put())).collect()
    }
}

impl<K: Take<String> + Ord, V: Take<W>, W> TakeWithin<BTreeMap<String, W>> for BTreeMap<K, V> {
    fn take_within(wire: BTreeMap<String, W>, bound: &RangeInclusive<usize>) -> Result<Self, ConvertError> {
        check_count(wire.len(), bound)?;
        wire.into_iter()
            .enumerate()
            .map(|(at, (key, value))| {
                Ok((K::take(key).inside_element(at)?, V::take(value).inside_element(at)?))
            })
            .collect()
    }
}

impl Put<Vec<u8>> for Vec<u8> {
    fn put(self) -> Vec<u8> {
        self
    }
}

impl TakeWithin<Vec<u8>> for Vec<u8> {
    fn take_within(wire: Vec<u8>, bound: &RangeInclusive<usize>) -> Result<Self, ConvertError> {
        check_bytes(wire.len(), bound)?;
        Ok(wire)
    }
}

impl Put<String> for String {
    fn put(self) -> String {
        self
    }
}

impl TakeWithin<String> for String {
    fn take_within(wire: String, bound: &RangeInclusive<usize>) -> Result<Self, ConvertError> {
        check_bytes(wire.len(), bound)?;
        Ok(wire)
    }
}

impl Put<String> for Cow<'static, str> {
    fn put(self) -> String {
        self.into_owned()
    }
}

impl TakeWithin<String> for Cow<'static, str> {
    fn take_within(wire: String, bound: &RangeInclusive<usize>) -> Result<Self, ConvertError> {
        String::take_within(wire, bound).map(Cow::Owned)
    }
}

/// Mailbox ids one after the other in one run of bytes: a list of a million of them is one allocation.
impl Put<Vec<u8>> for Vec<MailboxId> {
    fn put(self) -> Vec<u8> {
        self.iter().flat_map(MailboxId::raw).copied().collect()
    }
}

impl TakeWithin<Vec<u8>> for Vec<MailboxId> {
    fn take_within(wire: Vec<u8>, bound: &RangeInclusive<usize>) -> Result<Self, ConvertError> {
        let (ids, rest) = wire.as_chunks();
        if !rest.is_empty() {
            return Err(Problem::Length { bytes: wire.len(), wanted: (ids.len() + 1) * 16 }.into());
        }
        check_count(ids.len(), bound)?;
        Ok(ids.iter().copied().map(MailboxId::from_raw).collect())
    }
}

fn check_count(count: usize, bound: &RangeInclusive<usize>) -> Result<(), Problem> {
    let max = *bound.end();
    check_length(count, bound, Problem::TooMany { count, max })
}

fn check_bytes(bytes: usize, bound: &RangeInclusive<usize>) -> Result<(), Problem> {
    let max = *bound.end();
    check_length(bytes, bound, Problem::TooLong { bytes, max })
}

/// Bounds start at 0 or 1: what is too short is empty.
fn check_length(length: usize, bound: &RangeInclusive<usize>, too_long: Problem) -> Result<(), Problem> {
    if length < *bound.start() {
        Err(Problem::Empty)
    } else if length > *bound.end() {
        Err(too_long)
    } else {
        Ok(())
    }
}
