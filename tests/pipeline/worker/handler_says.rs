//! Whatever a handler says to Postgres: what becomes of its event, of the event's mates, and of the next user of the
//! connection.

use std::sync::Arc;

use database::Database;
use diesel::sql_types::Text;
use diesel_async::RunQueryDsl;
use tests::{Pipeline, a_text};
use worker::{Settings, Sources, Worker};

use crate::handler_limits::{Bad, Notes, a_bad_one_between_two, handled, pipeline};

const ENDED: &str = "it ended the transaction";
const FAILED: &str = "one of its statements failed";

/// What is refused, and why.
const REFUSED: [(Bad, &str); 15] = [
    (Bad::Says("ROLLBACK"), ENDED),
    (Bad::Says("ROLLBACK; BEGIN"), ENDED),
    (Bad::Says("ROLLBACK AND CHAIN"), ENDED),
    (Bad::Says("ROLLBACK AND CHAIN; SAVEPOINT handler"), ENDED),
    (Bad::Says("COMMIT"), ENDED),
    (Bad::Says("COMMIT AND CHAIN"), ENDED),
    (Bad::Says("DELETE FROM handling"), ENDED),
    (Bad::Says("DISCARD ALL"), FAILED),
    (Bad::Says("SELECT 1 / 0"), FAILED),
    (Bad::Says("SET CONSTRAINTS ALL IMMEDIATE"), FAILED),
    (Bad::Forgets("SELECT 1 / 0"), FAILED),
    (Bad::Heeds("SET CONSTRAINTS ALL IMMEDIATE"), "let it name its own constraints"),
    (Bad::Heeds("SELECT 1 / 0"), "division by zero"),
    // What such a cursor selects is computed when it is to outlive its transaction: by COMMIT.
    (Bad::Heeds("DECLARE held CURSOR WITH HOLD FOR SELECT 1 / (n - n) FROM handled"), "division by zero"),
    (Bad::Panics, "it panicked: a handler's panic"),
];

/// What holds for that call only.
const TAKEN_BACK: [Bad; 7] = [
    Bad::Says("SET ROLE pg_monitor"),
    Bad::Says("SET SESSION AUTHORIZATION pg_monitor"),
    Bad::Says("SET search_path = nowhere"),
    Bad::Says("SET lock_timeout = 0; SET statement_timeout = 0; SET enable_seqscan = on"),
    Bad::Says("SET TIME ZONE 'Asia/Tokyo'; SET LOCAL search_path = nowhere"),
    Bad::Says("LISTEN news"),
    Bad::Says("DEALLOCATE ALL"),
];

/// A worker over one connection.
fn on_one_connection(pipeline: &Pipeline, bad: Bad) -> (Worker, Database) {
    let database = Database::for_stages(&pipeline.test_database.url, 1).unwrap();
    let sources = Sources::new(database.clone(), pipeline.master.clone(), &pipeline.redis);
    let settings = Settings { handler: Some(Arc::new(Notes(Some(bad)))), ..Settings::default() };
    let worker = Worker::builder(&pipeline.redis, database.clone(), sources).settings(settings).build();
    (worker, database)
}

/// What the next user of the connection finds.
async fn session(database: &Database) -> String {
    let setting = "SELECT concat_ws(' ', session_user, current_user, (SELECT count(*) FROM pg_listening_channels()), \
                   (SELECT string_agg(name || '=' || setting, ' ' ORDER BY name) FROM pg_settings \
                    WHERE context IN ('user', 'superuser'))) AS setting";
    #[derive(diesel::QueryableByName)]
    struct Session {
        #[diesel(sql_type = Text)]
        setting: String,
    }
    let connection = database.connection().await.unwrap();
    let session: Session = diesel::sql_query(setting).get_result(&mut &*connection).await.unwrap();
    session.setting
}

/// Works a bad one between two others, after another one; gives the session before and after.
async fn work(pipeline: &Pipeline, bad: Bad) -> (String, String) {
    let (worker, database) = on_one_connection(pipeline, bad);
    worker.work(vec![pipeline.enqueue(a_text("wamid.0", "hello")).await]).await;
    let before = session(&database).await;
    worker.work(vec![pipeline.enqueue(a_bad_one_between_two()).await]).await;
    (before, session(&database).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_a_handler_says_that_cannot_stand_is_refused_alone_and_found_out_before_it_is_committed() {
    for (bad, why) in REFUSED {
        let pipeline = pipeline().await;

        let (before, after) = work(&pipeline, bad).await;

        assert_eq!(pipeline.quarantined().await, [(1, "handler".to_owned())], "{bad:?}");
        assert_eq!(pipeline.keys().await, ["wamid.0", "wamid.1", "wamid.2"], "{bad:?}");
        assert_eq!(handled(&pipeline).await, ["wamid.0", "wamid.1", "wamid.2"], "{bad:?}");
        let detail: String = pipeline.rows("SELECT detail FROM quarantine", &[]).await[0].get(0);
        assert!(detail.contains("wamid.bad") && detail.contains(why), "{bad:?}: {detail}");
        assert_eq!(pipeline.number("SELECT count(*) FROM handling").await, 0, "{bad:?}");
        assert_eq!(before, after, "{bad:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_handler_sets_holds_for_its_call_only() {
    for bad in TAKEN_BACK {
        let pipeline = pipeline().await;

        let (before, after) = work(&pipeline, bad).await;

        assert_eq!(pipeline.quarantined().await, [], "{bad:?}");
        assert_eq!(handled(&pipeline).await, ["wamid.0", "wamid.1", "wamid.bad", "wamid.2"], "{bad:?}");
        assert_eq!(before, after, "{bad:?}");
    }
}
