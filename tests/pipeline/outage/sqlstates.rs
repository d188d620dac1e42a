//! Whose fault is what Postgres says? The server's, or that of others: the work waits. The work's own: it is isolated.
//!
//! A trigger says it in Postgres's own words. (Trouble that can be had for real is had for real elsewhere: locks in
//! `worker/trouble.rs`, servers that are away, only read or are full in `postgres.rs`.)

use database::Database;
use tests::{Pipeline, a_text};

/// Trouble that is not the work's fault: SQLSTATE, and what Postgres says with it.
const INFRASTRUCTURE: [(&str, &str); 21] = [
    ("08006", "connection failure"),
    ("0A000", "cached plan must not change result type"),
    ("08P01", "insufficient data left in message"),
    ("25006", "cannot execute INSERT in a read-only transaction"),
    ("25P03", "terminating connection due to idle-in-transaction timeout"),
    ("26000", "prepared statement \"__diesel_stmt_0\" does not exist"),
    ("40001", "could not serialize access due to concurrent update"),
    ("40P01", "deadlock detected"),
    ("42501", "permission denied for table messages"),
    ("42P01", "relation \"messages\" does not exist"),
    ("53100", "could not extend file \"base/5/16384\": No space left on device"),
    ("53200", "out of shared memory"),
    ("53300", "sorry, too many clients already"),
    ("53400", "could not write to file \"base/pgsql_tmp/pgsql_tmp1.0\": File too large"),
    ("55P03", "canceling statement due to lock timeout"),
    ("57014", "canceling statement due to statement timeout"),
    ("57014", "canceling statement due to user request"),
    ("57P01", "terminating connection due to administrator command"),
    ("57P02", "terminating connection because of crash of another server process"),
    ("57P03", "the database system is shutting down"),
    ("58030", "could not read blocks 0..0 in file \"base/5/16384\": Input/output error"),
];

/// What only the work's own values bring about, and what nobody waits for to pass.
const WORK: [(&str, &str); 18] = [
    ("22001", "value too long for type character varying(3)"),
    ("22003", "integer out of range"),
    ("22003", "numeric field overflow"),
    ("22008", "timestamp out of range: \"294277-01-01\""),
    ("22021", "invalid byte sequence for encoding \"UTF8\": 0x00"),
    ("22P02", "invalid input syntax for type json"),
    ("22P05", "unsupported Unicode escape sequence"),
    ("23502", "null value in column \"kind\" of relation \"messages\" violates not-null constraint"),
    ("23503", "insert or update on table \"messages\" violates foreign key constraint \"messages_source_id_fkey\""),
    ("23514", "new row for relation \"messages\" violates check constraint \"messages_check\""),
    ("54000", "index row size 2712 exceeds btree version 4 maximum 2704 for index \"messages_pkey\""),
    ("54000", "string too long to represent as jsonb string"),
    ("54000", "total size of jsonb object elements exceeds the maximum of 268435455 bytes"),
    ("54001", "stack depth limit exceeded"),
    ("2F005", "control reached end of function without RETURN"),
    ("55006", "cannot drop the currently open database"),
    ("P0001", "a trigger of the app takes no messages on Sundays"),
    ("XX001", "invalid page in block 0 of relation base/5/16384"),
];

/// From now on the row of message `wamid.<n>` meets the n-th of these.
async fn refuse(pipeline: &Pipeline, refusals: &[(&str, &str)]) {
    let cases = refusals
        .iter()
        .enumerate()
        .map(|(n, (state, words))| format!("WHEN 'wamid.{n}' THEN RAISE '%', '{words}' USING ERRCODE = '{state}';"));
    let cases: String = cases.collect();
    let function = format!(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
         CASE NEW.external_id {cases} ELSE NULL; END CASE; RETURN NEW; END $$; \
         CREATE TRIGGER refuse BEFORE INSERT ON messages FOR EACH ROW EXECUTE FUNCTION refuse()"
    );
    pipeline.execute(&function).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn trouble_of_the_server_or_of_others_is_waited_out_and_never_quarantined() {
    let pipeline = Pipeline::new().await;
    refuse(&pipeline, &INFRASTRUCTURE).await;

    for (n, meets) in INFRASTRUCTURE.iter().enumerate() {
        pipeline.receive(a_text(&format!("wamid.{n}"), "hello")).await;
        let depth = pipeline.inbound.depth().await.unwrap();
        // What was put off first may have come back meanwhile, and be handed out.
        assert_eq!((depth.all(), depth.dead, pipeline.quarantined().await), (n as u64 + 1, 0, vec![]), "{meets:?}");
    }
    assert_eq!(pipeline.number("SELECT count(*) FROM events").await, 0);
    pipeline.execute("DROP TRIGGER refuse ON messages").await;
    for _ in 0..INFRASTRUCTURE.len() {
        pipeline.worker.work(vec![pipeline.take().await]).await;
    }

    assert_eq!(pipeline.keys().await.len(), INFRASTRUCTURE.len());
    assert_eq!(pipeline.quarantined().await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_work_itself_brings_about_is_isolated_and_its_mates_are_recorded() {
    let pipeline = Pipeline::new().await;
    refuse(&pipeline, &WORK).await;
    let mut group = Vec::new();
    for n in 0..WORK.len() {
        group.push(pipeline.enqueue(a_text(&format!("wamid.{n}"), "hello")).await);
        group.push(pipeline.enqueue(a_text(&format!("wamid.mate.{n}"), "hello")).await);
    }

    pipeline.worker.work(group).await;

    assert_eq!(pipeline.quarantined().await, vec![(0, "refused by Postgres".to_owned()); WORK.len()]);
    let keys = pipeline.keys().await;
    assert!(keys.len() == WORK.len() && keys.iter().all(|key| key.contains("mate")), "{keys:?}");
    assert_eq!(pipeline.inbound.depth().await.unwrap().scheduled, 0);
}

/// The timeout itself, and the cut of a connection in mid-transaction, by Postgres's own hand.
#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_takes_too_long_and_a_connection_that_is_cut_are_tried_again() {
    let pipeline = Pipeline::new().await;
    let impatient = format!("{}?options=-c%20statement_timeout%3D200", pipeline.test_database.url);
    let database = Database::for_stages(&impatient, 2).unwrap();
    let sources = worker::Sources::new(database.clone(), pipeline.master.clone(), &pipeline.redis);
    let worker = worker::Worker::builder(&pipeline.redis, database, sources).build();
    let meets = async |what: &str| {
        let function = format!(
            "CREATE OR REPLACE FUNCTION meet() RETURNS trigger LANGUAGE plpgsql AS \
             $$ BEGIN PERFORM {what}; RETURN NEW; END $$"
        );
        pipeline.execute(&function).await;
    };
    meets("pg_sleep(60)").await;
    pipeline.execute("CREATE TRIGGER meet BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION meet()").await;

    worker.work(vec![pipeline.enqueue(a_text("wamid.1", "hello")).await]).await;
    meets("pg_terminate_backend(pg_backend_pid())").await;
    worker.work(vec![pipeline.enqueue(a_text("wamid.2", "hello")).await]).await;
    assert_eq!(worker.counters().transactions_failed.get(), 2);
    assert_eq!((pipeline.keys().await, pipeline.quarantined().await), (vec![], vec![]));
    meets("1").await;

    for _ in 0..2 {
        worker.work(vec![pipeline.take().await]).await;
    }
    assert_eq!(pipeline.keys().await.len(), 2);
}
