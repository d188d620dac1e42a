//! Looking many deliveries through for the few that are wanted: a page at a time, and each of them once.

use chrono::{TimeDelta, Utc};
use database::{
    Connection, Database,
    deliveries::{self, LOOKED_AT, Place, Wanted},
};
use diesel_async::SimpleAsyncConnection;
use serde_json::json;
use tests::{Pipeline, rows_read};

use super::{CommandLine, came_to};

/// So many events, each owed to `bot`, which has been given up, to `desk`, which it is pending for, and to others, which have
/// it. The last attempts to the first two were `refused`; those of the `rare` events came to `tls`.
async fn fill(pipeline: &Pipeline, events: usize, rare: &[usize]) {
    let event = "('00000000-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid";
    let endpoints =
        "('bot', 'abandoned'), ('desk', 'pending'), ('a', 'delivered'), ('b', 'delivered'), ('z', 'delivered')";
    let rare = rare.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    pipeline
        .execute(&format!(
            "INSERT INTO deliveries (event_id, endpoint_id, webhook_id, state, finished_at) \
             SELECT {event}, endpoint_id, 'msg_' || endpoint_id || n, state, CASE WHEN state <> 'pending' THEN now() END \
             FROM generate_series(1, {events}) n, (VALUES {endpoints}) o (endpoint_id, state); \
             INSERT INTO due (event_id, endpoint_id) SELECT event_id, endpoint_id FROM deliveries WHERE state = 'pending'; \
             INSERT INTO attempts (event_id, endpoint_id, lease, webhook_id, body_hash, outcome, started_at, duration_us) \
             SELECT event_id, endpoint_id, 1, webhook_id, '', 'refused', now(), 0 FROM deliveries WHERE state <> 'delivered'; \
             UPDATE attempts SET outcome = 'tls' WHERE right(event_id::text, 12)::int = ANY(ARRAY[{rare}]::int[])"
        ))
        .await;
}

fn in_state(state: &str) -> Wanted {
    Wanted { states: vec![state.to_owned()], ..Wanted::default() }
}

/// As a command has it, with nothing read yet.
async fn begin(pipeline: &Pipeline) -> Connection {
    let mut connection = Database::new(&pipeline.test_database.url, 1).unwrap().connection().await.unwrap();
    connection.batch_execute("BEGIN").await.unwrap();
    connection
}

/// A delivery a minute over the last `minutes`, which `bot` has; an id begins with when its event was committed.
async fn one_a_minute(pipeline: &Pipeline, minutes: usize) {
    pipeline
        .execute(&format!(
            "INSERT INTO deliveries (event_id, endpoint_id, webhook_id, state, created_at, finished_at) \
             SELECT (regexp_replace(lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0'), '(.{{8}})', '\\1-') \
                 || '-7000-8000-' || lpad(n::text, 12, '0'))::uuid, 'bot', 'msg_' || n, 'delivered', at, at \
             FROM generate_series(1, {minutes}) n, LATERAL (SELECT now() - n * interval '1 minute' AS at) t"
        ))
        .await;
}

/// How many rows a page read, of the table that has most of it.
async fn most_read(connection: &Connection) -> i64 {
    let mut most = 0;
    for table in ["deliveries", "due", "attempts"] {
        most = most.max(rows_read(connection, table).await);
    }
    most
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_reads_no_more_than_it_looks_at_however_few_of_them_are_wanted() {
    let pipeline = Pipeline::new().await;
    fill(&pipeline, 20_000, &[15_000]).await;
    let tls = Some("tls".to_owned());

    for state in ["abandoned", "pending"] {
        let wanted = Wanted { outcome: tls.clone(), ..in_state(state) };
        let (mut found, mut looked_at, mut after) = (Vec::new(), 0, None::<Place>);
        loop {
            let connection = begin(&pipeline).await;
            let page = deliveries::page(&connection, &wanted, after.as_ref(), 1_000).await.unwrap();

            // Each delivery once for its place, once by its key, and once to be judged.
            let read = most_read(&connection).await;
            assert!(read <= 3 * LOOKED_AT as i64, "{read} rows of a table were read for a page of {state} ones");
            looked_at += page.looked_at;
            found.extend(page.rows);
            after = page.next;
            if after.is_none() {
                break;
            }
        }

        let found: Vec<_> = found.iter().map(|row| row.event_id.to_string()).collect();
        assert_eq!((looked_at, found), (20_000, vec!["00000000-0000-7000-8000-000000015000".to_owned()]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_counted_and_listed_is_read_by_pages_too() {
    let pipeline = Pipeline::new().await;
    fill(&pipeline, 6_500, &[]).await;
    let nothing = Wanted { outcome: Some("tls".to_owned()), ..in_state("abandoned") };
    let connection = begin(&pipeline).await;

    let (mut counting, mut listing) = (Vec::new(), Vec::new());
    let causes = deliveries::causes(&connection, &nothing, |more| counting.push(more)).await.unwrap();
    let listed = deliveries::list(&connection, &nothing, 50, |more| listing.push(more)).await.unwrap();

    assert!(causes.is_empty() && listed.is_empty());
    assert_eq!((counting, listing), (vec![2_000, 2_000, 2_000, 500], vec![2_000, 2_000, 2_000, 500]));
}

/// Somebody else's are older, and newer, and ten times as many; whether Postgres knows that or believes that nothing is due.
#[tokio::test(flavor = "multi_thread")]
async fn what_one_endpoint_is_owed_is_found_without_reading_what_others_are() {
    let pipeline = Pipeline::new().await;
    fill(&pipeline, 40_000, &[]).await;
    let bots = "SELECT ('00000000-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid, 'bot' FROM generate_series(15001, 18000) n";
    pipeline
        .execute(&format!(
            "DELETE FROM deliveries WHERE endpoint_id = 'bot'; INSERT INTO due (event_id, endpoint_id) {bots}; \
             INSERT INTO deliveries (event_id, endpoint_id, webhook_id) SELECT event_id, 'bot', 'm' || event_id FROM ({bots}) b \
                 (event_id, endpoint_id)"
        ))
        .await;
    let wanted = Wanted { endpoint_id: Some("bot".to_owned()), ..in_state("pending") };

    for known in ["UPDATE pg_class SET reltuples = 0 WHERE relname LIKE 'due%'", "ANALYZE due"] {
        pipeline.execute(known).await;
        let [counting, paging, listing] = [begin(&pipeline).await, begin(&pipeline).await, begin(&pipeline).await];

        let causes = deliveries::causes(&counting, &wanted, |_| ()).await.unwrap();
        let (mut found, mut after) = (Vec::new(), None::<Place>);
        loop {
            let page = deliveries::page(&paging, &wanted, after.as_ref(), 1_000).await.unwrap();
            found.extend(page.rows.iter().map(|row| row.event_id));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        let mut listed = deliveries::list(&listing, &wanted, 5_000, |_| ()).await.unwrap();

        listed.reverse();
        assert_eq!((causes[0].count, found.len()), (3_000, 3_000));
        assert!(found.is_sorted() && listed.iter().map(|row| row.event_id).eq(found));
        let mut read = [0; 3];
        for (read, connection) in read.iter_mut().zip([&counting, &paging, &listing]) {
            *read = rows_read(connection, "due").await;
        }
        // Each for its place, twice where a page of few is sorted. Who counts them asks for one column what `due` says of each, and who
        // looks at them for seven; each time another's of the same event is read too.
        assert!(read[0] <= 4 * 3_000 && read[1].max(read[2]) < 15 * 3_000, "{read:?} rows of due were read: {known}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_endpoint_is_owed_of_a_window_of_time_is_found_in_either_order() {
    let pipeline = Pipeline::new().await;
    one_a_minute(&pipeline, 5_000).await;
    let owe = "UPDATE deliveries SET state = 'pending', finished_at = NULL; \
               INSERT INTO due (event_id, endpoint_id) SELECT event_id, endpoint_id FROM deliveries";
    pipeline.execute(owe).await;
    let ago = |minutes| Some(Utc::now() - TimeDelta::minutes(minutes));
    let bot = Wanted { endpoint_id: Some("bot".to_owned()), ..in_state("pending") };
    let window = Wanted { since: ago(4_600), until: ago(1_600), ..bot };
    let connection = begin(&pipeline).await;

    let first = deliveries::page(&connection, &window, None, 2_000).await.unwrap();
    let rest = deliveries::page(&connection, &window, first.next.as_ref(), 2_000).await.unwrap();
    let mut listed = deliveries::list(&connection, &window, 5_000, |_| ()).await.unwrap();

    listed.reverse();
    assert_eq!((first.rows.len() + rest.rows.len(), rest.next), (3_000, None));
    assert!(listed.iter().map(|row| row.event_id).eq(first.rows.iter().chain(&rest.rows).map(|row| row.event_id)));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_event_owes_is_found_by_its_key_among_all_others() {
    let pipeline = Pipeline::new().await;
    fill(&pipeline, 20_000, &[]).await;
    let event_id = Some("00000000-0000-7000-8000-000000015000".parse().unwrap());
    let endpoint_id = Some("bot".to_owned());
    let webhook_ids = vec!["msg_bot15000".to_owned()];

    for state in ["abandoned", "pending"] {
        let connection = begin(&pipeline).await;
        let of_event = Wanted { event_id, ..in_state(state) };
        let page = deliveries::page(&connection, &of_event, None, 1_000).await.unwrap();
        assert_eq!((page.rows.len(), page.next), (1, None));
        let read = most_read(&connection).await;
        assert!(read < 10, "{read} rows of a table were read for what is {state} of an event");
    }
    let connection = begin(&pipeline).await;
    let of_endpoint = Wanted { event_id, endpoint_id, ..in_state("abandoned") };
    let page = deliveries::page(&connection, &of_endpoint, None, 1_000).await.unwrap();
    let named = deliveries::find(&connection, &Wanted { event_id, webhook_ids, ..Wanted::default() }).await.unwrap();

    assert_eq!((page.rows.len(), named.len()), (1, 1));
    let read = most_read(&connection).await;
    assert!(read < 20, "{read} rows of a table were read for two");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_of_time_is_found_without_reading_what_is_older_or_newer() {
    let pipeline = Pipeline::new().await;
    one_a_minute(&pipeline, 20_000).await;
    let ago = |minutes| Some(Utc::now() - TimeDelta::minutes(minutes));
    let window = Wanted { since: ago(10_100), until: ago(10_000), ..in_state("delivered") };

    let connection = begin(&pipeline).await;
    let listed = deliveries::list(&connection, &window, 1_000, |_| ()).await.unwrap();
    let page = deliveries::page(&connection, &window, None, 1_000).await.unwrap();

    assert_eq!((listed.len(), page.rows.len(), page.next), (100, 100, None));
    let read = most_read(&connection).await;
    assert!(read < 2 * 3 * 300, "{read} rows of a table were read for a window of 100 and an hour on either side");
}

/// As the clocks of workers and of Postgres may be: half an hour apart.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_worker_with_another_time_has_committed_is_in_the_window_by_the_clock_of_postgres() {
    let pipeline = Pipeline::new().await;
    let latchhook = CommandLine::of(&pipeline);
    one_a_minute(&pipeline, 200).await;
    pipeline.execute("UPDATE deliveries SET created_at = created_at - interval '30 minutes'").await;
    let count =
        async |window: &str| latchhook.json(&format!("deliveries list {window}")).await.as_array().unwrap().len();

    let fast = count("--limit 500 --until 100m").await;
    pipeline.execute("UPDATE deliveries SET created_at = created_at + interval '60 minutes'").await;
    let slow = count("--limit 500 --since 100m").await;

    assert_eq!((fast, slow), (131, 129));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_event_owes_to_several_is_dealt_with_once_where_a_page_ends_in_its_midst() {
    let pipeline = Pipeline::new().await;
    let latchhook = CommandLine::of(&pipeline);
    let insert = "INSERT INTO deliveries (event_id, endpoint_id, webhook_id, state, finished_at) SELECT \
                  ('00000000-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid, e, e || n, 'abandoned', now() \
                  FROM generate_series(1, 1500) n, unnest(ARRAY['a', 'b', 'c']) e";
    pipeline.execute(insert).await;

    let summary = latchhook.json("deliveries summary").await;
    let listed = latchhook.json("deliveries list --limit 10000").await;
    let ended = latchhook.json("deliveries retry --state abandoned").await;

    let counts: Vec<_> = summary.as_array().unwrap().iter().map(|group| group["count"].as_u64().unwrap()).collect();
    assert_eq!(counts, [1_500, 1_500, 1_500]);
    let listed: Vec<_> = listed.as_array().unwrap().iter().map(|row| row["webhook_id"].as_str().unwrap()).collect();
    let mut once = listed.clone();
    once.sort_unstable();
    once.dedup();
    assert_eq!((listed.len(), once.len(), listed[0]), (4_500, 4_500, "c1500"));
    assert_eq!(ended, came_to("done", 4_500, 4_500));
    assert_eq!(
        pipeline.number("SELECT sum(array_length(string_to_array(target, ' '), 1)) FROM audit_log").await,
        4_500
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_of_a_rare_cause_takes_all_of_it_and_is_done() {
    let pipeline = Pipeline::new().await;
    let latchhook = CommandLine::of(&pipeline);
    fill(&pipeline, 6_500, &[1, 2_000, 2_001, 4_700, 6_500]).await;

    let plan = latchhook.json("deliveries retry --cause tls --dry-run").await;
    let ended = latchhook.json("deliveries retry --cause tls --rate 1000/s").await;

    assert_eq!((&plan["wanted"], &plan["causes"][0]["count"]), (&json!(5), &json!(5)));
    assert_eq!(ended, came_to("done", 5, 5));
    let due = "SELECT count(*) FROM due JOIN attempts USING (event_id, endpoint_id) WHERE endpoint_id = 'bot'";
    assert_eq!(pipeline.number(due).await, 5);
    assert_eq!(pipeline.number(&format!("{due} AND outcome = 'tls'")).await, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_of_a_rare_cause_that_is_killed_goes_on_behind_what_it_has_passed_over() {
    let pipeline = Pipeline::new().await;
    let latchhook = CommandLine::of(&pipeline);
    fill(&pipeline, 6_500, &[1, 6_499]).await;
    let last = "SELECT FROM deliveries WHERE webhook_id = 'msg_bot6499' FOR UPDATE";
    pipeline.execute(&format!("BEGIN; {last}")).await;

    latchhook.killed_while_it_waits(&pipeline, &["deliveries", "retry", "--cause=tls"]).await;
    let killed = latchhook.json("deliveries retries show 1").await;
    let place = pipeline.number("SELECT right(last_event_id::text, 12)::bigint FROM retries").await;
    let resumed = latchhook.json("deliveries retries resume 1").await;

    assert_eq!((&killed["state"], &killed["taken"], place), (&json!("running"), &json!(1), 6_000));
    assert_eq!(resumed, came_to("done", 2, 2));
    assert_eq!(pipeline.number("SELECT count(*) FROM due WHERE endpoint_id = 'bot'").await, 2);
    assert_eq!(pipeline.number("SELECT count(DISTINCT target) FROM audit_log").await, 2);
}
