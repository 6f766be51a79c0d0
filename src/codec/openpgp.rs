//! Recognises encrypted OpenPGP messages by their first bytes (RFC 9580), where Barman asks the `file` command.

/// How many bytes [`is_encrypted`] needs to see to decide.
pub const HEAD: usize = 32;

const ARMOR: &[u8] = b"-----BEGIN PGP MESSAGE-----";

/// Whether a file that starts with `head` is an encrypted OpenPGP message: an armoured message, or a first packet that
/// holds a session key.
#[must_use]
pub fn is_encrypted(head: &[u8]) -> bool {
    head.starts_with(ARMOR) || first_packet(head).is_some_and(|(tag, body)| holds_session_key(tag, body))
}

/// The tag of the first packet and what `head` shows of its body.
fn first_packet(head: &[u8]) -> Option<(u8, &[u8])> {
    let first = *head.first()?;
    if first & 0x80 == 0 {
        return None;
    }
    if first & 0x40 != 0 {
        let length_bytes = match *head.get(1)? {
            0..=191 => 1,
            192..=223 => 2,
            255 => 5,
            // A partial length, which session keys never have.
            _ => return None,
        };
        Some((first & 0x3f, head.get(1 + length_bytes..)?))
    } else {
        let length_bytes = match first & 0x03 {
            0 => 1,
            1 => 2,
            2 => 4,
            _ => return None,
        };
        Some(((first >> 2) & 0x0f, head.get(1 + length_bytes..)?))
    }
}

/// A session key encrypted to a public key (tag 1) or by a passphrase (tag 3), in a version that exists and with an
/// algorithm that exists.
fn holds_session_key(tag: u8, body: &[u8]) -> bool {
    match (tag, body) {
        // Version 3: eight bytes of key id, then the algorithm.
        (1, [3, rest @ ..]) => matches!(rest.get(8), Some(1 | 2 | 16 | 18 | 20 | 25 | 26)),
        (1, [6, ..]) => true,
        (3, [4, cipher, ..]) => (1..=13).contains(cipher),
        (3, [5 | 6, ..]) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn session_keys_are_encrypted_messages() {
        // As gpg writes them: RSA 2048 (old format, two-byte length), ECDH (old format, one byte), a passphrase.
        assert!(is_encrypted(
            b"\x85\x01\x0c\x03\x01\x02\x03\x04\x05\x06\x07\x08\x01\x08\x00"
        ));
        assert!(is_encrypted(
            b"\x84\x5e\x03\x01\x02\x03\x04\x05\x06\x07\x08\x12\x01\x07"
        ));
        assert!(is_encrypted(b"\x8c\x0d\x04\x09\x03\x08\x00\x00"));
        assert!(is_encrypted(
            b"\xc1\xc0\x4c\x03\x01\x02\x03\x04\x05\x06\x07\x08\x01\x08\x00"
        ));
        assert!(is_encrypted(b"-----BEGIN PGP MESSAGE-----\n\n"));
    }

    #[test]
    fn other_files_are_not() {
        let others: [&[u8]; 10] = [
            b"",
            b"\x85",
            b"\x10\xd1\x05\x00\x01\x00\x00\x00\x00\x00\x00\x0a\x00\x00\x00\x00",
            b"\x1f\x8b\x08\x08\x00\x00\x00\x00",
            b"\xfd7zXZ\x00\x00\x04",
            b"\xff\x06\x00\x00sNaPpY",
            b"\x28\xb5\x2f\xfd\x04\x00",
            b"-----BEGIN PGP PUBLIC KEY BLOCK-----",
            b"\x99\x01\x0d\x04\x5f\x00\x00\x00\x00\x01",
            b"\x84\x5e\x03\x01\x02\x03\x04\x05\x06\x07\x08\x63\x01\x07",
        ];
        for other in others {
            assert!(!is_encrypted(other), "{other:x?}");
        }
    }
}
