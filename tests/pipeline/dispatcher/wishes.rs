//! When customers want to hear from us again, however little else of their answer comes.

use std::time::Duration;

use dispatcher::Settings;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{
    customer::{raw, saying},
    gates::rest,
    setting::{Setting, dispatch_all},
};

const HEAD: &[u8] =
    b"HTTP/1.1 503 No\r\nlocation: /maintenance\r\nretry-after: 600\r\nretry-after: 900\r\ncontent-length: 9\r\n\r\n";

/// Error pages are long, and servers that are down cut them off.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_head_of_an_answer_says_counts_though_its_body_is_too_large() {
    let (address, _server) = saying(b"HTTP/1.1 503 No\r\nretry-after: 600\r\ncontent-length: 9\r\n\r\ncut").await;
    let setting = Setting::with_endpoint(&format!("http://{address}/")).await;
    setting.owe("bot", "1").await;

    dispatch_all(&mut setting.dispatcher()).await;

    assert_eq!(setting.attempts().await, [("status".to_owned(), Some(503))]);
    assert_eq!(rest(&setting).await, 600);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_wishes_the_later_one_counts_and_both_are_shown_though_the_body_was_cut_or_drips() {
    let (cut_off, _cut_off) = saying(HEAD).await;
    let (dripping, _dripping) = raw(|mut stream| async move {
        let _ = stream.write_all(HEAD).await;
        let _ = stream.read_to_end(&mut Vec::new()).await;
    })
    .await;

    for address in [cut_off, dripping] {
        let setting = Setting::with_endpoint(&format!("http://{address}/")).await;
        setting.owe("bot", "1").await;
        let settings = Settings { deadline: Duration::from_millis(500), ..Settings::default() };
        dispatch_all(&mut setting.dispatcher_with(settings)).await;

        assert_eq!(setting.attempts().await, [("status".to_owned(), Some(503))]);
        assert_eq!(rest(&setting).await, 900);
        let detail: String = setting.rows("SELECT detail FROM attempts").await[0].get(0);
        assert!(detail.ends_with("; location: /maintenance, retry-after: 600, retry-after: 900"), "{detail}");
        let later = "SELECT count(*) FROM due WHERE due_at >= now() + interval '890 seconds'";
        assert_eq!(setting.number(later).await, 1);
    }
}
