//! Names of message files: `<unique>[,S=<bytes>][,W=<bytes>][:2,<flags>]`.
//!
//! Only what stands before the colon identifies the message. Host names inside the unique part may hold `\057` and `\072`
//! for the characters a name cannot have; they are compared as they stand. Other servers write neither sizes nor flags, or
//! fields of their own, which are passed over.

use crate::content::sizes::Sizes;

/// The sizes in a name up to its colon.
pub(crate) fn sizes(stem: &[u8]) -> Sizes {
    let mut sizes = Sizes::default();
    for field in stem.split(|b| *b == b',').skip(1) {
        match field {
            [b'S', b'=', digits @ ..] => sizes.plain_bytes = sizes.plain_bytes.or(number(digits)),
            [b'W', b'=', digits @ ..] => sizes.virtual_bytes = sizes.virtual_bytes.or(number(digits)),
            _ => {}
        }
    }
    sizes
}

/// Whether a file of this name was put there by a delivery: it begins with the time of delivery and a dot, or has a size.
///
/// Dovecot lists any file whose name does not begin with a dot. A name like `README` in `cur` is nobody's mail all the same.
pub(crate) fn is_delivered(stem: &[u8]) -> bool {
    let digits = stem.iter().take_while(|b| b.is_ascii_digit()).count();
    (digits > 0 && stem.get(digits) == Some(&b'.')) || (stem.first() != Some(&b'.') && sizes(stem).any())
}

/// A decimal number of at most 19 digits.
pub(crate) fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > 19 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(digits.iter().fold(0, |value, digit| value * 10 + u64::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_as_servers_write_them() {
        for (stem, plain, virt) in [
            ("1700000000.M5P7.host,S=483,W=496", Some(483), Some(496)),
            ("1700000000.M5P7.a\\057b\\072c,W=9,S=8", Some(8), Some(9)),
            ("1700000000.V801I2M3.host", None, None),
            ("1700000000.5_1.host,U=7,FMD5=abc", None, None),
            ("1700000000.M5P7.host,S=", None, None),
            ("1700000000.M5P7.host,S=12x", None, None),
            ("1700000000.M5P7.host,S=99999999999999999999", None, None),
        ] {
            let found = sizes(stem.as_bytes());
            assert_eq!((found.plain_bytes, found.virtual_bytes), (plain, virt), "{stem}");
            assert!(is_delivered(stem.as_bytes()), "{stem}");
        }
        for stem in ["README", "core", ".nfs0001,S=5", "123", "x.1", ""] {
            assert!(!is_delivered(stem.as_bytes()), "{stem}");
        }
        assert!(is_delivered(b"odd,S=5"));
    }

    proptest! {
        #[test]
        fn any_name_parses(stem in prop::collection::vec(any::<u8>(), 0..300)) {
            sizes(&stem);
            is_delivered(&stem);
        }
    }
}
