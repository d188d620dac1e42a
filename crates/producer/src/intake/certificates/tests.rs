//! What the log says of certificates that are not to be had.

use std::io;

use chrono::TimeDelta;
use tracing::{Level, subscriber::DefaultGuard};

use super::*;

/// What is logged in this thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn start(&self) -> DefaultGuard {
        let log = self.clone();
        let subscriber = tracing_subscriber::fmt().json().with_max_level(Level::WARN).with_writer(move || log.clone());
        tracing::subscriber::set_default(subscriber.finish())
    }

    fn lines(&self) -> Vec<String> {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap().lines().map(str::to_owned).collect()
    }
}

fn source_of(account: &str) -> Source {
    Source {
        id: format!("{account}-pp").parse().unwrap(),
        account_id: account.parse().unwrap(),
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

/// Fetches in vain, and returns once that is known.
async fn look_up(certificates: &Certificates, account: &str, url: &str, now: DateTime<Utc>) {
    assert!(certificates.look_up(&source_of(account), url, now).is_none());
    while certificates.under_way() > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn the_log_says_once_a_minute_for_each_account_which_address_it_was_why_and_what_to_do() {
    let (log, certificates, now) = (Log::default(), Certificates::default(), Utc::now());
    let _logging = log.start();

    for (account, url, seconds) in
        [("a", "https://x/1", 0), ("a", "https://x/2", 1), ("b", "https://x/3", 2), ("a", "https://x/4", 60)]
    {
        look_up(&certificates, account, url, now + TimeDelta::seconds(seconds)).await;
    }

    let lines = log.lines();
    assert_eq!(lines.len(), 3, "{lines:#?}");
    for (line, [source, url]) in
        lines.iter().zip([["a-pp", "https://x/1"], ["b-pp", "https://x/3"], ["a-pp", "https://x/4"]])
    {
        assert!(line.contains(&format!("source {source}: ")) && line.contains(url), "{line}");
        assert!(line.contains("this program was given no way to fetch certificates"), "{line}");
        assert!(line.contains("A source with the setting certificates needs none"), "{line}");
    }
}

#[tokio::test]
async fn the_log_says_of_a_certificate_that_has_ended_when_that_was() {
    let log = Log::default();
    let _logging = log.start();
    // Of PayPal's sandbox, in 2015.
    let ended = include_bytes!("../../../../providers/src/paypal/sandbox.pem");
    let certificates = Certificates::new(|_| Box::pin(async { Ok(Bytes::from_static(ended)) }));

    look_up(&certificates, "a", "https://x/1", Utc::now()).await;

    let lines = log.lines();
    assert_eq!(lines.len(), 1, "{lines:#?}");
    assert!(lines[0].contains("the certificate ended at 2017-03-22 12:00:00 UTC"), "{lines:#?}");
}
