//! What a role may not do, or not see, where no statement of its own would fail and say so.

use diesel::{
    QueryableByName,
    sql_types::{Array, Bool, Text},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use crate::QueryResult;

#[derive(QueryableByName)]
struct Rights {
    #[diesel(sql_type = Text)]
    role: String,
    #[diesel(sql_type = Array<Text>)]
    missing: Vec<String>,
    #[diesel(sql_type = Bool)]
    row_security: bool,
}

/// What may keep this connection's role from forwarding, and what to do about each; empty if nothing does. Of a right that
/// is missing nobody hears before the first row comes, and rows that row-level security hides look like none.
///
/// # Errors
/// As any query.
pub async fn obstacles(conn: &AsyncPgConnection) -> QueryResult<Vec<String>> {
    let query = "SELECT current_user::text AS role, row_security_active('latchhook_outbox') AS row_security, \
        ARRAY(SELECT held_right FROM (VALUES \
            ('SELECT', has_any_column_privilege('latchhook_outbox', 'SELECT')), \
            ('UPDATE', has_any_column_privilege('latchhook_outbox', 'UPDATE')), \
            ('DELETE', has_table_privilege('latchhook_outbox', 'DELETE'))) AS rights (held_right, is_held) \
            WHERE NOT is_held) AS missing";
    let Rights { role, missing, row_security } = diesel::sql_query(query).get_result(&mut &*conn).await?;
    let mut obstacles = Vec::new();
    if !missing.is_empty() {
        let missing = missing.join(", ");
        obstacles.push(format!(
            "{role} may not {missing} in latchhook_outbox: GRANT {missing} ON latchhook_outbox TO {role}"
        ));
    }
    if row_security {
        obstacles.push(format!(
            "row-level security of latchhook_outbox holds for {role}: what no policy shows it is neither forwarded nor \
             counted; have policies let it SELECT, UPDATE and DELETE every row, or ALTER ROLE {role} BYPASSRLS"
        ));
    }
    Ok(obstacles)
}
