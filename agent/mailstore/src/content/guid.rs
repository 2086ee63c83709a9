//! A mail's GUID as Dovecot's indexes have it, whatever form it was given in.

use sha1::{Digest as _, Sha1};

/// The 16 bytes that a GUID is in an index: those that its 32 hexadecimal digits are, or of any other text the last 16 bytes of
/// its SHA-1 (Dovecot's `mail_generate_guid_128_hash`).
pub(crate) fn guid_128(text: &[u8]) -> [u8; 16] {
    from_hex(text).unwrap_or_else(|| {
        let mut guid = [0; 16];
        guid.copy_from_slice(&Sha1::digest(text)[4..]);
        guid
    })
}

fn from_hex(text: &[u8]) -> Option<[u8; 16]> {
    let pairs = text.as_chunks::<2>().0;
    let digit = |digit: u8| char::from(digit).to_digit(16);
    let mut guid = [0; 16];
    if text.len() != 2 * guid.len() {
        return None;
    }
    for (byte, [high, low]) in guid.iter_mut().zip(pairs) {
        *byte = u8::try_from(digit(*high)? << 4 | digit(*low)?).ok()?;
    }
    Some(guid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_the_guid_and_other_texts_are_hashed() {
        assert_eq!(guid_128(b"000102030405060708090a0b0c0d0eFF")[14..], [0x0e, 0xff]);
        let hashed = 0x85ed_6dbf_18ad_a32a_9933_3a6c_1ee8_2a1b_u128.to_be_bytes();
        assert_eq!(guid_128(b"1700000000.M1P1.host"), hashed);
        for text in [&b"0a0b000000000000000000000000000x"[..], b"0a0b"] {
            assert_eq!(guid_128(text), Sha1::digest(text)[4..], "{text:?}");
        }
        // SHA-1 of "abc", FIPS 180-2: a9993e36 4706816a ba3e2571 7850c26c 9cd0d89d.
        assert_eq!(guid_128(b"abc")[..4], [0x47, 0x06, 0x81, 0x6a]);
        assert_eq!(guid_128(b"abc")[12..], [0x9c, 0xd0, 0xd8, 0x9d]);
    }
}
