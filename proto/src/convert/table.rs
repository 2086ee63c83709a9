//! The macros in which the tables of this module are written.
//!
//! A field is written `field`, when the message names it alike; `field as name`, when the message calls it `name` (which has
//! the unit); and `field in 1..=MAX`, or `field as name in 1..=MAX`, when it has a bound, as everything has that has a length.
//!
//! - `choices!`: an enum of names only, `v1::Level => Level { Presence, Structure }`.
//! - `message!`: a struct, `v1::Claim => Claim { shard, bytes }`, with `checked by f` when fields bound each other.
//! - `oneof!`: an enum with data whose variants each have a nested message, `TaskEnd in task_end, end: End => TaskEnd {..}`:
//!   the message, its module, the oneof's field and type, and the word with its variants. A variant is `Silent`,
//!   `Agent { problem in 0..=MAX }` or, when it is a tuple, `Failed(failure)`, with its fields as in a struct; `Hello = hello`
//!   wraps a word to which the nested message belongs as a whole.
//! - `envelope!`: an enum each of whose variants wraps one word that has a message of its own.

/// Puts one field of a word into `message`.
macro_rules! put_field {
    ($message:ident, $field:ident) => {
        $message.$field = Put::put($field)
    };
    ($message:ident, $field:ident as $name:ident) => {
        $message.$name = Put::put($field)
    };
}

/// Takes one field of a word out of `message`; leaves the function with the field's path when that fails.
macro_rules! take_field {
    ($message:ident, $field:ident) => {
        Take::take($message.$field).inside(stringify!($field))?
    };
    ($message:ident, $field:ident as $name:ident) => {
        Take::take($message.$name).inside(stringify!($name))?
    };
    ($message:ident, $field:ident in $bound:expr) => {
        TakeWithin::take_within($message.$field, &$bound).inside(stringify!($field))?
    };
    ($message:ident, $field:ident as $name:ident in $bound:expr) => {
        TakeWithin::take_within($message.$name, &$bound).inside(stringify!($name))?
    };
}

/// Lets a word stand in fields of its message's type: as an element, as an optional part, and as a part that must be there.
macro_rules! part {
    ($wire:path => $word:ident) => {
        impl Put<$wire> for $word {
            fn put(self) -> $wire {
                self.into()
            }
        }
        impl Put<Option<$wire>> for $word {
            fn put(self) -> Option<$wire> {
                Some(self.into())
            }
        }
        impl Take<$wire> for $word {
            fn take(wire: $wire) -> Result<Self, ConvertError> {
                wire.try_into()
            }
        }
        impl Take<Option<$wire>> for $word {
            fn take(wire: Option<$wire>) -> Result<Self, ConvertError> {
                wire.ok_or(Problem::Missing)?.try_into()
            }
        }
    };
}

/// An enum of names only.
macro_rules! choices {
    ($wire:path => $word:ident { $($variant:ident),* $(,)? }) => {
        impl From<$word> for $wire {
            fn from(word: $word) -> Self {
                match word {
                    $($word::$variant => <$wire>::$variant,)*
                }
            }
        }
        impl TryFrom<$wire> for $word {
            type Error = ConvertError;
            fn try_from(wire: $wire) -> Result<Self, ConvertError> {
                match wire {
                    <$wire>::Unspecified => Err(Problem::Unspecified.into()),
                    $(<$wire>::$variant => Ok(Self::$variant),)*
                }
            }
        }
        number!($wire => $word);
    };
}

/// Lets an enum stand in the number that enum fields are.
macro_rules! number {
    ($wire:path => $word:ident) => {
        impl Put<i32> for $word {
            fn put(self) -> i32 {
                <$wire>::from(self).into()
            }
        }
        impl Take<i32> for $word {
            fn take(wire: i32) -> Result<Self, ConvertError> {
                <$wire>::try_from(wire).map_err(|_| Problem::ValueUnknown(wire))?.try_into()
            }
        }
    };
}

/// A struct.
macro_rules! message {
    ($wire:path => $word:ident { $($field:ident $(as $name:ident)? $(in $bound:expr)?),* $(,)? } $(checked by $check:path)?) => {
        impl From<$word> for $wire {
            #[allow(unused_mut, clippy::field_reassign_with_default, reason = "a table may have no rows")]
            fn from(word: $word) -> Self {
                let $word { $($field),* } = word;
                let mut message = <$wire>::default();
                $(put_field!(message, $field $(as $name)?);)*
                message
            }
        }
        impl TryFrom<$wire> for $word {
            type Error = ConvertError;
            fn try_from(message: $wire) -> Result<Self, ConvertError> {
                let word = Self { $($field: take_field!(message, $field $(as $name)? $(in $bound)?)),* };
                $($check(&word)?;)?
                Ok(word)
            }
        }
        part!($wire => $word);
    };
}

/// Takes a word out of a message that is all its own; `whole` only names it in the table.
macro_rules! take_whole {
    ($message:ident, $whole:ident) => {
        Take::take($message)?
    };
}

/// An enum with data, each variant in a nested message of its own.
macro_rules! oneof {
    ($wire:ident in $module:ident, $slot:ident: $oneof:ident => $word:ident {
        $($variant:ident
            $(= $whole:ident)?
            $(($single:ident $(in $single_bound:expr)?))?
            $({ $($field:ident $(as $name:ident)? $(in $bound:expr)?),* $(,)? })?
        ),* $(,)?
    } $(cut by $cut:path)?) => {
        impl From<$word> for v1::$wire {
            #[allow(unused_mut, unused_assignments, clippy::field_reassign_with_default, reason = "fits every variant")]
            fn from(word: $word) -> Self {
                $(let word = $cut(word);)?
                let $slot = match word {
                    $($word::$variant $(($whole))? $(($single))? $({ $($field),* })? => {
                        let mut message = v1::$module::$variant::default();
                        $(message = Put::put($whole);)?
                        $(put_field!(message, $single);)?
                        $($(put_field!(message, $field $(as $name)?);)*)?
                        v1::$module::$oneof::$variant(message)
                    })*
                };
                Self { $slot: Some($slot) }
            }
        }
        impl TryFrom<v1::$wire> for $word {
            type Error = ConvertError;
            #[allow(unused_variables, reason = "a variant may have no fields")]
            fn try_from(wire: v1::$wire) -> Result<Self, ConvertError> {
                match wire.$slot.ok_or(Problem::VariantUnknown)? {
                    $(v1::$module::$oneof::$variant(message) => {
                        let take = || Ok::<_, ConvertError>($word::$variant
                            $((take_whole!(message, $whole)))?
                            $((take_field!(message, $single $(in $single_bound)?)))?
                            $({ $($field: take_field!(message, $field $(as $name)? $(in $bound)?)),* })?);
                        take().inside_variant(stringify!($variant))
                    })*
                }
            }
        }
        part!(v1::$wire => $word);
    };
}

/// An enum each of whose variants wraps one word that has a field type of its own.
macro_rules! envelope {
    ($wire:ident in $module:ident, $slot:ident: $oneof:ident => $word:ident {
        $($variant:ident $(in $bound:expr)?),* $(,)?
    }) => {
        impl From<$word> for v1::$wire {
            fn from(word: $word) -> Self {
                let $slot = match word {
                    $($word::$variant(inner) => v1::$module::$oneof::$variant(Put::put(inner)),)*
                };
                Self { $slot: Some($slot) }
            }
        }
        impl TryFrom<v1::$wire> for $word {
            type Error = ConvertError;
            fn try_from(wire: v1::$wire) -> Result<Self, ConvertError> {
                match wire.$slot.ok_or(Problem::VariantUnknown)? {
                    $(v1::$module::$oneof::$variant(inner) => {
                        take_inner!(inner $(in $bound)?).inside_variant(stringify!($variant)).map(Self::$variant)
                    })*
                }
            }
        }
    };
}

/// Takes the one word out of a variant of an envelope.
macro_rules! take_inner {
    ($inner:ident) => {
        Take::take($inner)
    };
    ($inner:ident in $bound:expr) => {
        TakeWithin::take_within($inner, &$bound)
    };
}
