//! Backup and restore.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use postern_tests::{Process, binary, soon};
use rusqlite::Connection;

use crate::host::{
    ANY_PORT, Host, cut_in_half, damage_a_page, fill, keep_sending, left_over, open_messages,
    sorted, succeeds, text, zero,
};

#[tokio::test]
async fn a_backup_made_while_messages_come_in_holds_all_that_came_before_it() {
    let host = Host::start().await;
    let mut before = Vec::new();
    for number in 0..50 {
        before.push(host.accept(&format!("before {number}")).await.message_id);
    }
    let stop = Arc::new(AtomicBool::new(false));
    let senders: Vec<_> = (0..4).map(|_| keep_sending(host.address, Arc::clone(&stop))).collect();
    let backup = host.file("backup.db");
    let ended = tokio::process::Command::new(binary("postern-relay"))
        .args(["backup", text(&backup), "--db", text(&host.db)])
        .stdout(std::process::Stdio::null())
        .status();
    assert!(soon("the backup's end", ended).await.unwrap().success());
    stop.store(true, Ordering::SeqCst);
    let mut meanwhile = 0;
    for sender in senders {
        meanwhile += sender.await.unwrap();
    }
    assert!(meanwhile > 0, "nothing was accepted while the backup was made");
    assert_eq!(fs::metadata(&backup).unwrap().permissions().mode() & 0o777, 0o600);

    let elsewhere = host.file("elsewhere.db");
    let said = succeeds(&["restore", text(&backup), "--db", text(&elsewhere)]);
    assert!(said.contains("there was no former database"), "{said}");
    assert!(succeeds(&["check", "--db", text(&elsewhere)]).contains("is well"));
    let (_relay, address) = Process::relay(&elsewhere, ANY_PORT).await;
    let restored = open_messages(address).await;
    assert!(before.iter().all(|message| restored.contains(message)), "{before:?} {restored:?}");
    assert_eq!(restored, sorted(&restored), "{restored:?}");
}

#[tokio::test]
async fn a_backup_overwrites_nothing_unless_forced_and_never_the_database_itself() {
    let host = Host::start().await;
    let message = host.accept("hi").await.message_id;
    let backup = host.file("backup.db");
    fs::write(&backup, "something dear").unwrap();
    let refusal = host.fails(&["backup", text(&backup)]);
    assert!(refusal.contains("backup.db exists"), "{refusal}");
    assert_eq!(fs::read(&backup).unwrap(), b"something dear");
    for db in ["relay.db", "./relay.db"] {
        let refusal = host.fails(&["backup", "--force", text(&host.file(db))]);
        assert!(refusal.contains("is the database itself"), "{refusal}");
    }
    host.succeeds(&["backup", "--force", text(&backup)]);
    assert!(succeeds(&["check", "--db", text(&backup)]).contains("1 open"));
    assert_eq!(host.open_messages().await, [message]);
    assert_eq!(left_over(&host), [] as [String; 0]);
}

#[tokio::test]
async fn a_backup_of_a_damaged_database_does_not_replace_a_good_one() {
    let host = Host::start().await;
    fill(&host).await;
    let backup = host.file("backup.db");
    host.succeeds(&["backup", text(&backup)]);
    let good = fs::read(&backup).unwrap();
    let host = host.stop().await;
    damage_a_page(&host.db);
    let refusal = host.fails(&["backup", "--force", text(&backup)]);
    assert!(refusal.contains("damaged"), "{refusal}");
    assert_eq!(fs::read(&backup).unwrap(), good);
    assert_eq!(left_over(&host), [] as [String; 0]);
}

#[tokio::test]
async fn a_restore_waits_for_no_relay_and_keeps_what_was_there() {
    let host = Host::start().await;
    let kept = host.accept("in the backup").await.message_id;
    let backup = host.file("backup.db");
    host.succeeds(&["backup", text(&backup)]);
    let later = host.accept("after the backup").await.message_id;
    let refusal = host.fails(&["restore", text(&backup)]);
    assert!(refusal.contains("in use by another relay"), "{refusal}");
    assert_eq!(host.open_messages().await, [kept, later]);

    let host = host.stop().await;
    let said = host.succeeds(&["restore", text(&backup)]);
    assert!(said.contains("1 session with 1 message"), "{said}");
    let former = PathBuf::from(said.trim_end().rsplit("is kept as ").next().unwrap());
    assert!(text(&former).starts_with(&format!("{}.2", text(&host.db))), "{said}");
    assert!(succeeds(&["check", "--db", text(&former)]).contains("2 open"));

    let host = host.start_again().await;
    assert_eq!(host.open_messages().await, [kept]);
    let next = host.accept("after the restore").await.message_id;
    assert!(next > later, "an id was given out twice");
    host.is_well();
}

#[tokio::test]
async fn a_restore_after_a_crash_keeps_the_log_with_the_former_database() {
    let host = Host::start().await;
    host.accept("in the backup").await;
    let backup = host.file("backup.db");
    host.succeeds(&["backup", text(&backup)]);
    host.accept("in the log only").await;
    let host = host.kill().await;
    assert!(fs::metadata(host.file("relay.db-wal")).unwrap().len() > 0);
    let said = host.succeeds(&["restore", text(&backup)]);
    let former = PathBuf::from(said.trim_end().rsplit("is kept as ").next().unwrap());
    assert!(succeeds(&["check", "--db", text(&former)]).contains("2 open"));
    assert!(host.succeeds(&["check"]).contains("1 open"));
}

#[tokio::test]
async fn a_backup_that_is_not_well_is_not_restored() {
    let host = Host::start().await;
    fill(&host).await;
    let good = host.file("good.db");
    host.succeeds(&["backup", text(&good)]);
    let host = host.stop().await;
    let before = fs::read(&host.db).unwrap();
    let bad = host.file("bad.db");
    let spoil: [fn(&Path); 5] = [
        cut_in_half,
        damage_a_page,
        zero,
        |bad| fs::write(bad, "no database at all").unwrap(),
        |bad| {
            Connection::open(bad)
                .unwrap()
                .execute_batch(
                    "DELETE FROM inbox WHERE message = 1; UPDATE session SET message_count = 0",
                )
                .unwrap();
        },
    ];
    for spoil in spoil {
        fs::copy(&good, &bad).unwrap();
        spoil(&bad);
        let refusal = host.fails(&["restore", text(&bad)]);
        assert!(refusal.contains("bad.db"), "{refusal}");
        assert_eq!(fs::read(&host.db).unwrap(), before);
    }
    assert_eq!(left_over(&host), [] as [String; 0]);
}
