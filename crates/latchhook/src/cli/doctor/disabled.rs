//! Endpoints that latchhook has disabled without anybody hearing of it: the notice goes to other endpoints of the account, and
//! there was none that wants it.

use database::{AsyncPgConnection, endpoints};

use super::{Checkup, failed};

const CHECK: &str = "somebody was told of each endpoint that latchhook has disabled";

pub(super) async fn unheard(conn: &AsyncPgConnection) -> Checkup {
    let remedy = "look at each (latchhook endpoint show ID), tell whoever owns it, then latchhook endpoint enable ID; another \
                  endpoint of the account that wants latchhook.endpoint_disabled would have been told";
    match endpoints::disabled_unheard(conn).await {
        Ok(unheard) if unheard.is_empty() => Checkup::should(CHECK, true, "yes", remedy),
        Ok(unheard) => {
            let named: Vec<_> = unheard.iter().map(|(id, reason)| format!("{id} ({reason})")).collect();
            Checkup::should(CHECK, false, format!("nobody was told of {}", named.join(", ")), remedy)
        }
        Err(error) => failed(CHECK, error, ""),
    }
}
