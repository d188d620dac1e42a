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
