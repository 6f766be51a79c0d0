#![allow(clippy::unwrap_used)]
use super::*;

/// A catalog in a directory of its own.
fn lab(name: &str) -> (Catalog, PathBuf) {
    let root = std::env::temp_dir().join(format!("barkeep-catalog-{name}-{}", std::process::id()));
    let _ = fs::remove_dir_all(&root);
    let catalog = Catalog::at(Layout::under(&root, "main"), Detector::default());
    catalog.create_directories().unwrap();
    (catalog, root)
}

fn info(id: &str, status: BackupStatus) -> BackupInfo {
    let mut info = BackupInfo::empty(BackupId::parse(id).unwrap());
    info.status = status;
    info
}

fn id(text: &str) -> BackupId {
    BackupId::parse(text).unwrap()
}

#[test]
fn metadata_in_their_old_place_are_read_until_saved() {
    let (catalog, root) = lab("legacy");
    let old = info("20200101T000000", BackupStatus::Done);
    let path = catalog.layout().legacy_info_path(&old.id);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, old.to_text()).unwrap();
    // Staging directories of imports and stray names are no backups.
    fs::create_dir_all(catalog.layout().base.join(".import-x")).unwrap();
    fs::write(catalog.layout().base.join(".import-x/backup.info"), "junk").unwrap();
    assert_eq!(catalog.backups().unwrap().len(), 1);
    let mut saved = catalog.load(&old.id).unwrap().unwrap();
    saved.status = BackupStatus::Failed;
    catalog.save(&saved).unwrap();
    assert!(path.exists());
    assert_eq!(
        catalog.load(&old.id).unwrap().unwrap().status,
        BackupStatus::Failed
    );
    assert_eq!(
        catalog.backups().unwrap().get(&old.id).unwrap().status,
        BackupStatus::Failed
    );
    fs::remove_dir_all(root).unwrap();
}

#[test]
fn the_old_layout_of_the_data_is_recognised() {
    let (catalog, root) = lab("layout");
    let backup = id("20200101T000000");
    assert!(catalog.data_dir(&backup).ends_with("20200101T000000/data"));
    fs::create_dir_all(catalog.layout().base_dir(&backup).join("pgdata")).unwrap();
    assert!(catalog.data_dir(&backup).ends_with("20200101T000000/pgdata"));
    assert!(catalog.tablespace_dir(&backup, 7).ends_with("pgdata/pg_tblspc/7"));
    fs::remove_dir_all(root).unwrap();
}

#[test]
fn a_new_id_is_unlike_those_of_metadata_and_of_directories() {
    let (catalog, root) = lab("ids");
    let first = catalog.new_id().unwrap();
    catalog.save(&info(first.as_str(), BackupStatus::Empty)).unwrap();
    let second = catalog.new_id().unwrap();
    assert!(second > first);
    fs::create_dir_all(catalog.layout().base_dir(&second)).unwrap();
    assert!(catalog.new_id().unwrap() > second);
    fs::remove_dir_all(root).unwrap();
}

#[test]
fn tokens_name_backups_as_barmans_do_except_by_accident() {
    let mut backups = Backups::new();
    let mut add = |id: &str, status, mode: &str, name: Option<&str>, parent: Option<&str>| {
        let mut info = info(id, status);
        info.mode = Some(mode.to_owned());
        info.backup_name = name.map(str::to_owned);
        info.parent_backup_id = parent.and_then(BackupId::parse);
        backups.insert(info.id.clone(), info);
    };
    add(
        "20260101T000000",
        BackupStatus::Failed,
        "rsync-concurrent",
        None,
        None,
    );
    add(
        "20260102T000000",
        BackupStatus::Done,
        "rsync-concurrent",
        Some("weekly"),
        None,
    );
    add(
        "20260103T000000",
        BackupStatus::WaitingForWals,
        "postgres",
        Some("twice"),
        None,
    );
    add(
        "20260104T000000",
        BackupStatus::Done,
        "postgres",
        Some("twice"),
        Some("20260103T000000"),
    );
    add(
        "20260105T000000",
        BackupStatus::Failed,
        "postgres",
        Some("broken"),
        None,
    );
    add("20260106T000000", BackupStatus::Started, "postgres", None, None);
    for (token, expected) in [
        ("latest", "20260104T000000"),
        ("last", "20260104T000000"),
        ("oldest", "20260102T000000"),
        ("first", "20260102T000000"),
        ("last-failed", "20260105T000000"),
        ("latest-full", "20260103T000000"),
        ("last-full", "20260103T000000"),
        ("weekly", "20260102T000000"),
        ("20260106T000000", "20260106T000000"),
    ] {
        assert_eq!(
            resolve(&backups, token, "main").unwrap().as_str(),
            expected,
            "{token}"
        );
    }
    for token in ["fail", "l", "-", "st", "broken", "20260107T000000", "auto", ""] {
        let error = resolve(&backups, token, "main").unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("Unknown backup '{token}' for server 'main'")
        );
    }
    let error = resolve(&backups, "twice", "main").unwrap_err().to_string();
    assert_eq!(
        error,
        "Multiple backups found matching name 'twice' (try using backup ID instead): \
         20260103T000000 20260104T000000"
    );
}

#[test]
fn annotations_are_found_in_both_places_and_removed_from_both() {
    let (catalog, root) = lab("annotations");
    let backup = id("20260101T000000");
    let legacy = catalog.layout().legacy_annotation_path(&backup, "keep");
    fs::create_dir_all(legacy.parent().unwrap()).unwrap();
    fs::write(&legacy, "full").unwrap();
    assert_eq!(catalog.keep_target(&backup).unwrap(), Some(KeepTarget::Full));
    catalog.set_keep_target(&backup, KeepTarget::Standalone).unwrap();
    assert_eq!(
        catalog.keep_target(&backup).unwrap(),
        Some(KeepTarget::Standalone)
    );
    catalog.release_keep(&backup).unwrap();
    assert_eq!(catalog.keep_target(&backup).unwrap(), None);
    // Nobody may take a keep that cannot be understood for none.
    catalog.set_keep_target(&backup, KeepTarget::Full).unwrap();
    fs::write(catalog.layout().annotation_path(&backup, "keep"), "ful").unwrap();
    assert!(catalog.keep_target(&backup).is_err());
    fs::remove_dir_all(root).unwrap();
}

#[test]
fn the_identity_has_barmans_bytes() {
    let (catalog, root) = lab("identity");
    assert_eq!(catalog.identity().unwrap(), None);
    let identity = Identity {
        systemid: Some("7710359345646599264".to_owned()),
        version: Some("15".to_owned()),
    };
    catalog.save_identity(&identity).unwrap();
    assert_eq!(
        fs::read_to_string(catalog.layout().identity_path()).unwrap(),
        "{\n    \"systemid\": \"7710359345646599264\",\n    \"version\": \"15\"\n}\n"
    );
    assert_eq!(catalog.identity().unwrap(), Some(identity));
    fs::write(catalog.layout().identity_path(), "{").unwrap();
    assert!(catalog.identity().is_err());
    fs::remove_dir_all(root).unwrap();
}

#[test]
fn the_status_follows_the_wal_that_has_arrived() {
    let (catalog, root) = lab("completeness");
    let mut backup = info("20260101T000000", BackupStatus::WaitingForWals);
    let segment = |number: u32| format!("0000000100000000{number:08X}");
    let wal = |number: u32| {
        let path = catalog.layout().wal_path(&segment(number)).unwrap();
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "x").unwrap();
    };
    backup.begin_wal = crate::postgres::wal_name::SegmentName::parse(&segment(3));
    backup.end_wal = crate::postgres::wal_name::SegmentName::parse(&segment(5));
    catalog.save(&backup).unwrap();
    let check = || catalog.check_backup(&backup.id).unwrap().after;
    wal(2);
    assert_eq!(check(), BackupStatus::WaitingForWals);
    wal(3);
    assert_eq!(check(), BackupStatus::WaitingForWals);
    wal(4);
    wal(5);
    assert_eq!(check(), BackupStatus::Done);
    // A segment in the middle is lost.
    fs::remove_file(catalog.layout().wal_path(&segment(4)).unwrap()).unwrap();
    assert_eq!(check(), BackupStatus::Failed);
    let failed = catalog.load(&backup.id).unwrap().unwrap();
    assert_eq!(
        failed.error.as_deref(),
        Some("At least one WAL file is missing. The first missing WAL file is 000000010000000000000004")
    );
    assert!(matches!(
        catalog.check_backup(&backup.id),
        Err(CheckBackupError::Failed)
    ));
    fs::remove_dir_all(root).unwrap();
}

#[test]
fn a_manifest_finds_every_kind_of_damage() {
    let (catalog, root) = lab("manifest");
    let backup = info("20260101T000000", BackupStatus::Done);
    let data = catalog.layout().data_dir(&backup.id);
    fs::create_dir_all(data.join("base/1")).unwrap();
    fs::create_dir_all(data.join("pg_wal")).unwrap();
    for name in ["PG_VERSION", "base/1/1", "base/1/2", "base/1/3", "base/1/4"] {
        fs::write(data.join(name), format!("content of {name}")).unwrap();
    }
    let path = catalog.generate_manifest(&backup.id, 3).unwrap();
    assert!(path.ends_with("data/backup_manifest"));
    assert!(matches!(
        catalog.generate_manifest(&backup.id, 3),
        Err(GenerateManifestError::Exists(_))
    ));
    let good = catalog
        .verify(&backup, 3, &crate::codec::WalCodec::default())
        .unwrap();
    assert_eq!((good.files, good.mismatches.len()), (5, 0));
    fs::write(data.join("pg_wal/000000010000000000000001"), "not looked at").unwrap();
    fs::write(data.join("base/1/1"), "Content of base/1/1").unwrap();
    fs::write(data.join("base/1/2"), "longer content of base/1/2").unwrap();
    fs::remove_file(data.join("base/1/3")).unwrap();
    fs::write(data.join("base/1/5"), "new").unwrap();
    let mut found = catalog
        .verify(&backup, 3, &crate::codec::WalCodec::default())
        .unwrap()
        .mismatches;
    found.sort_by_key(ToString::to_string);
    let lines: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert_eq!(
        lines,
        [
            "\"base/1/2\" has size 26 on disk but size 19 in the manifest",
            "\"base/1/3\" is present in the manifest but not on disk",
            "\"base/1/5\" is present on disk but not in the manifest",
            "checksum mismatch for file \"base/1/1\"",
        ]
    );
    fs::remove_dir_all(root).unwrap();
}

#[test]
fn one_unreadable_backup_does_not_hide_the_others() {
    let (catalog, root) = lab("unreadable");
    let (good, bad) = ("20260101T000000", "20260102T000000");
    for name in [good, bad] {
        catalog.save(&info(name, BackupStatus::Done)).unwrap();
    }
    let path = catalog.layout().info_path(&id(bad));
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("timeline=None", "timeline=abc")).unwrap();

    let config = crate::config::ServerConfig::default();
    let listing = catalog.list(&config).unwrap();
    let listed: Vec<&str> = listing.backups.iter().map(|backup| backup.id.as_str()).collect();
    assert_eq!(listed, [good]);
    assert!(
        listing.unreadable[0]
            .to_string()
            .contains("invalid value of timeline")
    );
    assert_eq!(catalog.resolve(good).unwrap(), id(good));
    assert!(catalog.report(&config, &id(good)).unwrap().is_some());
    // Nobody can tell whether the other one is meant.
    for token in ["latest", "oldest", "some name", bad] {
        assert!(catalog.resolve(token).is_err(), "{token}");
    }
    assert!(catalog.backups().is_err());
    fs::remove_dir_all(root).unwrap();
}
