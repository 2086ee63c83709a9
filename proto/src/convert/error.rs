//! What is wrong with a message, and where.

use rientro_types::NameError;

/// A message was refused: which field, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} {problem}", if field.is_empty() { "the message" } else { field })]
pub struct ConvertError {
    /// Path of the field as the `.proto` files name it, such as `plan.waves.domain_caps[2].label`; empty for the message as
    /// a whole.
    pub field: String,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What is wrong with a field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// A message that must be there is not.
    #[error("is missing")]
    Missing,
    /// A oneof is empty, or holds a variant of a later version.
    #[error("holds none of the variants that this version knows")]
    VariantUnknown,
    /// An enum has its zero value.
    #[error("is not specified")]
    Unspecified,
    /// An enum has a value of a later version.
    #[error("has the value {0}, which this version does not know")]
    ValueUnknown(i32),
    /// A text or list that must hold something is empty.
    #[error("is empty")]
    Empty,
    /// A text or run of bytes is over its bound.
    #[error("has {bytes} bytes; at most {max} are allowed")]
    TooLong {
        /// Its length.
        bytes: usize,
        /// The bound.
        max: usize,
    },
    /// A list is over its bound.
    #[error("has {count} elements; at most {max} are allowed")]
    TooMany {
        /// Its length.
        count: usize,
        /// The bound.
        max: usize,
    },
    /// A number is over its bound.
    #[error("is {value}; at most {max} is allowed")]
    TooLarge {
        /// The number.
        value: u64,
        /// The bound.
        max: u64,
    },
    /// A digest, id or seed has another length than its kind.
    #[error("has {bytes} bytes; {wanted} are needed")]
    Length {
        /// Its length.
        bytes: usize,
        /// The length of its kind.
        wanted: usize,
    },
    /// A set names one thing twice.
    #[error("names one thing twice")]
    Repeated,
    /// A text is not a name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The bytes are no message.
    #[error("cannot be decoded: {0}")]
    Undecodable(prost::DecodeError),
    /// The bytes were written in a format of a later version.
    #[error(
        "is {0}, which this version does not know; read it with the version that wrote it, or a later one"
    )]
    FormatUnknown(u32),
    /// The bytes hold a field of a later version, or are not in the one form that this format has.
    #[error(
        "holds something that this version does not know; read it with the version that wrote it, or a later one"
    )]
    NotCanonical,
}

impl From<Problem> for ConvertError {
    fn from(problem: Problem) -> Self {
        Self { field: String::new(), problem }
    }
}

impl ConvertError {
    /// The same error, seen from the message that holds `segment`.
    fn inside(mut self, segment: &str) -> Self {
        let dot = if self.field.is_empty() || self.field.starts_with('[') { "" } else { "." };
        self.field = format!("{segment}{dot}{}", self.field);
        self
    }
}

/// Says where in the enclosing message a conversion failed. Costs nothing while nothing fails.
pub(crate) trait Inside<T> {
    /// In the field of this name.
    fn inside(self, field: &str) -> Result<T, ConvertError>;
    /// In the oneof variant of this Rust name.
    fn inside_variant(self, variant: &str) -> Result<T, ConvertError>;
    /// In the element of this position.
    fn inside_element(self, at: usize) -> Result<T, ConvertError>;
}

impl<T, E: Into<ConvertError>> Inside<T> for Result<T, E> {
    fn inside(self, field: &str) -> Result<T, ConvertError> {
        self.map_err(|error| error.into().inside(field))
    }

    fn inside_variant(self, variant: &str) -> Result<T, ConvertError> {
        self.map_err(|error| error.into().inside(&snake_case(variant)))
    }

    fn inside_element(self, at: usize) -> Result<T, ConvertError> {
        self.map_err(|error| error.into().inside(&format!("[{at}]")))
    }
}

fn snake_case(variant: &str) -> String {
    let mut out = String::with_capacity(variant.len() + 4);
    for c in variant.chars() {
        if c.is_ascii_uppercase() && !out.is_empty() {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_read_as_the_proto_files_name_them() {
        let error: Result<(), _> = Err(Problem::Empty);
        let error = error.inside("shards").inside_element(2).inside("caps").inside_variant("DomainCaps");
        assert_eq!(error.clone().unwrap_err().field, "domain_caps.caps[2].shards");
        assert_eq!(error.unwrap_err().to_string(), "domain_caps.caps[2].shards is empty");
        assert_eq!(ConvertError::from(Problem::Missing).to_string(), "the message is missing");
    }
}
