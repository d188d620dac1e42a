//! The customer's process, as the bench asks it.

use anyhow::{Context, ensure};
use dispatcher::signing::SigningSecret;
use secrecy::{ExposeSecret, SecretString};
use tokio::net::TcpStream;

use super::{children::Listening, receive::Counts, wire::Wire};

/// A customer who listens.
pub(super) struct Customer {
    /// What signs its deliveries.
    pub(super) secret: SecretString,
    process: Listening,
    wire: Wire,
}

impl Customer {
    /// Starts one that has heard nothing.
    ///
    /// # Errors
    /// When it does not start.
    pub(super) async fn start() -> anyhow::Result<Self> {
        let secret = SigningSecret::generate();
        let process = Listening::start(&["receive", "--secret", secret.expose_secret()]).await?;
        let wire = Wire::new(TcpStream::connect(&process.address).await?);
        Ok(Self { secret, process, wire })
    }

    /// Where one of its endpoints is.
    pub(super) fn url(&self, endpoint: u64) -> String {
        format!("http://{}/{endpoint}", self.process.address)
    }

    /// The number of its process.
    pub(super) fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// What it has heard since it was last told to forget.
    ///
    /// # Errors
    /// When it does not answer.
    pub(super) async fn counts(&mut self) -> anyhow::Result<Counts> {
        self.ask("GET /counts").await.and_then(|counts| Ok(serde_json::from_slice(&counts)?))
    }

    /// Makes it forget what it has heard.
    ///
    /// # Errors
    /// When it does not answer.
    pub(super) async fn forget(&mut self) -> anyhow::Result<()> {
        self.ask("POST /reset").await.map(drop)
    }

    async fn ask(&mut self, what: &str) -> anyhow::Result<Vec<u8>> {
        let request = format!("{what} HTTP/1.1\r\nhost: customer\r\n\r\n");
        let asked = ask(&mut self.wire, request.as_bytes()).await;
        asked.with_context(|| format!("the customer gives no answer: {}", self.process.fate()))
    }
}

async fn ask(wire: &mut Wire, request: &[u8]) -> anyhow::Result<Vec<u8>> {
    wire.write(request).await?;
    let answer = wire.answer().await?;
    ensure!(answer.status == 200, "status {}", answer.status);
    Ok(answer.body.to_vec())
}
