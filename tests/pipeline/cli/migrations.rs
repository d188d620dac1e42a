//! What a migration does its `down.sql` undoes: nothing is left behind, and nothing is missing.

use std::{collections::BTreeSet, fs, path::Path};

use tests::TestDatabase;
use tokio_postgres::{Client, NoTls};

/// All that is in the schema, each thing in a line, but for the order of columns.
const SCHEMA: &str = "\
    SELECT format('%s %s %s %s', relkind, relname, reloptions, obj_description(oid, 'pg_class')) AS line \
        FROM pg_class WHERE relnamespace = 'public'::regnamespace \
    UNION ALL SELECT format('column %s.%s %s %s %s%s%s %s %s %s', attrelid::regclass, attname, format_type(atttypid, atttypmod), \
            attnotnull, attidentity, attgenerated, attstorage, attcollation::regcollation, pg_get_expr(adbin, adrelid), \
            col_description(attrelid, attnum)) \
        FROM pg_attribute JOIN pg_class c ON c.oid = attrelid LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum \
        WHERE relnamespace = 'public'::regnamespace AND relkind NOT IN ('i', 'S') AND attnum > 0 AND NOT attisdropped \
    UNION ALL SELECT format('%s %s', pg_get_indexdef(indexrelid), indisvalid) \
        FROM pg_index JOIN pg_class c ON c.oid = indexrelid WHERE relnamespace = 'public'::regnamespace \
    UNION ALL SELECT format('constraint %s of %s %s %s', conname, conrelid::regclass, pg_get_constraintdef(oid), \
            obj_description(oid, 'pg_constraint')) \
        FROM pg_constraint WHERE connamespace = 'public'::regnamespace \
    UNION ALL SELECT format('%s %s %s', pg_get_triggerdef(t.oid), tgenabled, obj_description(t.oid, 'pg_trigger')) \
        FROM pg_trigger t JOIN pg_class c ON c.oid = tgrelid \
        WHERE relnamespace = 'public'::regnamespace AND NOT tgisinternal \
    UNION ALL SELECT format('%s %s', pg_get_functiondef(oid), obj_description(oid, 'pg_proc')) \
        FROM pg_proc WHERE pronamespace = 'public'::regnamespace AND prokind IN ('f', 'p') \
    UNION ALL SELECT format('sequence %s %s %s %s %s %s %s', seqrelid::regclass, seqtypid::regtype, seqstart, seqincrement, seqmin, \
            seqmax, seqcache) FROM pg_sequence \
    UNION ALL SELECT format('type %s %s', oid::regtype, obj_description(oid, 'pg_type')) \
        FROM pg_type WHERE typnamespace = 'public'::regnamespace AND typtype IN ('d', 'e', 'r') \
    UNION ALL SELECT format('statistics %s', pg_get_statisticsobjdef(oid)) FROM pg_statistic_ext \
    UNION ALL SELECT format('extension %s', extname) FROM pg_extension";

/// A database in which nothing is.
async fn empty() -> (TestDatabase, Client) {
    let database = tests::database().await;
    let (client, connection) = tokio_postgres::connect(&database.url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client.batch_execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public").await.unwrap();
    (database, client)
}

async fn schema(client: &Client) -> BTreeSet<String> {
    client.query(SCHEMA, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

/// As latchhook runs it: a transaction.
async fn run(client: &Client, migration: &str, file: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../migrations").join(migration).join(file);
    let text = fs::read_to_string(path).unwrap();
    let ran = client.batch_execute(&format!("BEGIN; {text}; COMMIT")).await;
    ran.unwrap_or_else(|error| panic!("{migration}/{file}: {error:?}"));
}

fn migrations() -> Vec<String> {
    let entries = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../migrations")).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn a_migration_that_is_undone_leaves_the_schema_as_it_found_it() {
    let (_database, client) = empty().await;
    let mut wrong = Vec::new();

    for migration in migrations() {
        let before = schema(&client).await;
        run(&client, &migration, "up.sql").await;
        let after = schema(&client).await;
        run(&client, &migration, "down.sql").await;
        let undone = schema(&client).await;
        wrong.extend(undone.difference(&before).map(|line| format!("{migration} leaves behind: {line}")));
        wrong.extend(before.difference(&undone).map(|line| format!("{migration} does not bring back: {line}")));
        run(&client, &migration, "up.sql").await;
        let again = schema(&client).await;
        wrong.extend(
            again.symmetric_difference(&after).map(|line| format!("{migration} done again differs by: {line}")),
        );
    }

    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn all_that_was_migrated_is_undone_from_the_newest_to_the_oldest() {
    let (_database, client) = empty().await;
    let nothing = schema(&client).await;
    for migration in migrations() {
        run(&client, &migration, "up.sql").await;
    }

    for migration in migrations().iter().rev() {
        run(&client, migration, "down.sql").await;
    }

    assert_eq!(schema(&client).await, nothing);
}
