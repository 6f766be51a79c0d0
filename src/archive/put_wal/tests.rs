//! Tests of `put-wal`.
#![allow(clippy::unwrap_used)]
use super::*;
use crate::archive::sandbox::{Sandbox, segment};
use crate::archive::sums::hexadecimal;
use crate::codec::encode::Encoder;
use crate::codec::{Compression, Level};
use proptest::prelude::*;
use sha2::{Digest, Sha256};

const NAME: &str = "000000010000000000000001";

fn stream(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, content) in members {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o600);
        header.set_mtime(1_795_208_667);
        tar.append_data(&mut header, name, *content).unwrap();
    }
    tar.into_inner().unwrap()
}

fn delivery(name: &str, content: &[u8]) -> Vec<u8> {
    let list = format!("{} *{name}\n", hexadecimal(&Sha256::digest(content)));
    stream(&[(name, content), ("SHA256SUMS", list.as_bytes())])
}

fn put(sandbox: &Sandbox, bytes: &[u8]) -> Result<Delivered, PutWalError> {
    put_wal(&sandbox.places(), &WalCodec::default(), Sums::Sha256, bytes)
}

#[test]
fn a_delivery_is_accepted_with_its_time() {
    let sandbox = Sandbox::new();
    let content = segment(NAME, 1);
    put(&sandbox, &delivery(NAME, &content)).unwrap();
    assert_eq!(sandbox.list("incoming"), [NAME]);
    let path = sandbox.root.join("incoming").join(NAME);
    assert_eq!(fs::read(&path).unwrap(), content);
    let mtime = fs::metadata(&path).unwrap().modified().unwrap();
    assert_eq!(mtime, SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_208_667));
    // Again, and compressed this time: it is the same WAL.
    put(&sandbox, &delivery(NAME, &content)).unwrap();
    let mut encoder = Encoder::new(Vec::new(), Compression::Gzip, Level::Low)
        .unwrap()
        .unwrap();
    encoder.write_all(&content).unwrap();
    put(&sandbox, &delivery(NAME, &encoder.finish().unwrap())).unwrap();
    assert_eq!(sandbox.list("incoming"), [NAME]);
    assert_eq!(fs::read(&path).unwrap(), content);
}

#[test]
fn another_content_is_kept_beside_whether_the_first_waits_or_is_archived() {
    let sandbox = Sandbox::new();
    let incoming = sandbox.root.join("incoming").join(NAME);
    let archived = sandbox.places().archived(NAME).unwrap();
    let (first, second) = (segment(NAME, 1), segment(NAME, 2));
    let sum = hexadecimal(&Sha256::digest(&second));
    let kept = format!("{NAME}.42-{}.duplicate", &sum[..32]);
    put(&sandbox, &delivery(NAME, &first)).unwrap();
    let answer = put(&sandbox, &delivery(NAME, &second)).unwrap();
    assert_eq!(
        answer.duplicates,
        [Duplicate {
            name: NAME.to_owned(),
            checksum: sum,
            existing_checksum: hexadecimal(&Sha256::digest(&first)),
            kept: sandbox.root.join("errors").join(&kept),
        }]
    );
    assert_eq!(fs::read(&incoming).unwrap(), first);
    assert_eq!(fs::read(sandbox.root.join("errors").join(&kept)).unwrap(), second);

    fs::create_dir_all(archived.parent().unwrap()).unwrap();
    fs::rename(&incoming, &archived).unwrap();
    // Again, and compressed this time: it is there once. What comes along is accepted.
    let other = "000000010000000000000002";
    let mut encoder = Encoder::new(Vec::new(), Compression::Gzip, Level::Low)
        .unwrap()
        .unwrap();
    encoder.write_all(&second).unwrap();
    let packed = encoder.finish().unwrap();
    let list: String = [(NAME, &packed), (other, &first)]
        .iter()
        .map(|(name, content)| format!("{} *{name}\n", hexadecimal(&Sha256::digest(content))))
        .collect();
    let both = stream(&[(NAME, &packed), (other, &first), ("SHA256SUMS", list.as_bytes())]);
    let answer = put(&sandbox, &both).unwrap();
    assert_eq!((answer.received.len(), answer.duplicates.len()), (2, 1));
    assert_eq!(sandbox.list("errors"), [kept]);
    assert_eq!(sandbox.list("incoming"), [other]);
    assert_eq!(fs::read(&archived).unwrap(), first);
    // The same content is let in: the archiver makes sure that it is recorded.
    put(&sandbox, &delivery(NAME, &first)).unwrap();
    assert_eq!(sandbox.list("incoming"), [NAME, other]);
    assert_eq!(sandbox.list("errors").len(), 1);
}

#[test]
fn many_files_come_in_one_delivery_or_none() {
    let sandbox = Sandbox::new();
    let names: Vec<String> = (1..=9)
        .map(|number| format!("0000000100000000{number:08X}"))
        .collect();
    let contents: Vec<Vec<u8>> = names.iter().map(|name| segment(name, 7)).collect();
    let list: String = names
        .iter()
        .zip(&contents)
        .map(|(name, content)| format!("{} *{name}\n", hexadecimal(&Sha256::digest(content))))
        .collect();
    let mut members: Vec<(&str, &[u8])> = names
        .iter()
        .zip(&contents)
        .map(|(name, content)| (name.as_str(), content.as_slice()))
        .collect();
    members.push(("SHA256SUMS", list.as_bytes()));
    let whole = stream(&members);
    for end in [whole.len() / 2, whole.len() - 2048, whole.len() - 1600] {
        assert!(put(&sandbox, &whole[..end]).is_err(), "{end}");
        assert_eq!(sandbox.list("incoming"), [""; 0]);
    }
    assert_eq!(put(&sandbox, &whole).unwrap().received.len(), 9);
    assert_eq!(sandbox.list("incoming"), names);
    for (name, content) in names.iter().zip(&contents) {
        assert_eq!(
            &fs::read(sandbox.root.join("incoming").join(name)).unwrap(),
            content
        );
    }
}

#[test]
fn nothing_of_a_bad_delivery_is_kept() {
    let sandbox = Sandbox::new();
    let content = segment(NAME, 1);
    let good = delivery(NAME, &content);
    let bad: [(&str, Vec<u8>); 8] = [
        ("empty", Vec::new()),
        ("garbage", b"hello".to_vec()),
        ("truncated", good[..good.len() / 2].to_vec()),
        ("no list", stream(&[(NAME, &content)])),
        (
            "no file",
            stream(&[("SHA256SUMS", b"ab *000000010000000000000001\n")]),
        ),
        (
            "wrong sum",
            stream(&[
                (NAME, &content),
                ("SHA256SUMS", b"ab *000000010000000000000001\n"),
            ]),
        ),
        ("not a WAL name", delivery("passwd", b"x")),
        ("a path", delivery("d/000000010000000000000001", b"x")),
    ];
    for (what, bytes) in bad {
        assert!(put(&sandbox, &bytes).is_err(), "{what}");
        assert_eq!(sandbox.list("incoming"), [""; 0], "{what}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn no_stream_is_accepted_by_accident(position in 0usize..4096, value in any::<u8>(), length in 0usize..8000) {
        let sandbox = Sandbox::new();
        let content = b"1\t0/3000000\tno recovery target specified\n".repeat(40);
        let mut bytes = delivery("00000002.history", &content);
        bytes.truncate(length);
        if let Some(byte) = bytes.get_mut(position) {
            *byte = value;
        }
        match put(&sandbox, &bytes) {
            Ok(delivered) if delivered.received.is_empty() => prop_assert_eq!(sandbox.list("incoming"), [""; 0]),
            Ok(_) => {
                let name = sandbox.list("incoming").remove(0);
                let path = sandbox.root.join("incoming").join(name);
                prop_assert_eq!(fs::read(path).unwrap(), content);
            }
            Err(_) => prop_assert_eq!(sandbox.list("incoming"), [""; 0]),
        }
    }
}

#[test]
fn md5_lists_of_old_clients_are_understood() {
    let sandbox = Sandbox::new();
    let content = b"history";
    let list = format!("{}  00000002.history\n", hexadecimal(&md5::Md5::digest(content)));
    let bytes = stream(&[("./00000002.history", content), ("MD5SUMS", list.as_bytes())]);
    put(&sandbox, &bytes).unwrap();
    assert_eq!(sandbox.list("incoming"), ["00000002.history"]);
}

#[test]
fn quick_checksums_are_understood_whether_announced_or_not() {
    let content = segment(NAME, 1);
    let list = |digest: u128| format!("{digest:032x} *{NAME}\n");
    let right = xxhash_rust::xxh3::xxh3_128(&content);
    let good = stream(&[(NAME, &content), ("XXH128SUMS", list(right).as_bytes())]);
    let bad = stream(&[(NAME, &content), ("XXH128SUMS", list(right ^ 1).as_bytes())]);
    for announced in [Sums::Xxh128, Sums::Sha256] {
        let sandbox = Sandbox::new();
        let put = |bytes: &[u8]| put_wal(&sandbox.places(), &WalCodec::default(), announced, bytes);
        assert!(matches!(put(&bad), Err(PutWalError::Checksum { .. })));
        assert_eq!(sandbox.list("incoming"), [""; 0]);
        put(&good).unwrap();
        assert_eq!(sandbox.list("incoming"), [NAME]);
        // Announced, and another list came: as good.
        put(&delivery(NAME, &content)).unwrap();
    }
}

#[test]
fn a_file_left_by_a_dead_process_is_not_written_to() {
    let sandbox = Sandbox::new();
    // Between giving a file its name and removing the temporary one: both are the same file, archived meanwhile.
    let archived = sandbox.write("wals/0000000100000000/000000010000000000000001", b"archived");
    let temporary = format!("incoming/.{}-00000002.history", std::process::id());
    fs::hard_link(&archived, sandbox.root.join(temporary)).unwrap();
    put(&sandbox, &delivery("00000002.history", b"new")).unwrap();
    assert_eq!(fs::read(archived).unwrap(), b"archived");
    assert_eq!(sandbox.list("incoming"), ["00000002.history"]);
}
