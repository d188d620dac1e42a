//! How the producer comes by certificates: the stages know nothing of each other, and the guarded client is the dispatcher's.

use std::time::Duration;

use dispatcher::Client;
use producer::Certificates;

/// Nobody waits for it: a request whose certificate is not at hand has been answered.
const WITHIN: Duration = Duration::from_secs(10);

/// Certificates that this client fetches.
pub(super) fn through(client: Client) -> Certificates {
    Certificates::new(move |url| {
        let client = client.clone();
        Box::pin(async move { Ok(client.fetch(&url, WITHIN).await?) })
    })
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use chrono::Utc;
    use dispatcher::Guard;
    use vocabulary::Source;

    use super::*;

    #[tokio::test]
    async fn the_guard_is_asked_where_a_certificate_comes_from() {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let heard = asked.clone();
        let guard = Guard::default().asking(move |name| {
            heard.lock().unwrap().push(name);
            Box::pin(async { Ok(vec![([127, 0, 0, 1], 0).into()]) })
        });
        let certificates = through(Client::new(guard));

        let url = "https://api.paypal.com/v1/notifications/certs/CERT-1";
        assert!(certificates.look_up(&source(), url, Utc::now()).is_none());
        while certificates.under_way() > 0 {
            tokio::task::yield_now().await;
        }

        assert_eq!(*asked.lock().unwrap(), ["api.paypal.com"]);
    }

    fn source() -> Source {
        Source {
            id: "pp".parse().unwrap(),
            account_id: "shop".parse().unwrap(),
            name: "Payments".to_owned(),
            provider: "paypal".to_owned(),
            enabled: true,
            secrets: Vec::new(),
            verify_token: None,
            tokens: Vec::new(),
            body_limit: None,
            settings: serde_json::Map::new(),
            revision: 1,
        }
    }
}
