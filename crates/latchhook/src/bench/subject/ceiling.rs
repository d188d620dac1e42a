//! The pipeline made by hand, `latchhook bench ceiling`: what this hardware could do.

use secrecy::ExposeSecret;

use super::{
    super::{children::Listening, customer::Customer, stores::Stores},
    APP_SECRET,
};

/// It runs.
pub(in super::super) struct Ceiling(Listening);

impl Ceiling {
    /// Starts it over these stores.
    ///
    /// # Errors
    /// When it does not start.
    pub(super) async fn start(stores: &Stores, customer: &Customer) -> anyhow::Result<Self> {
        let customer_url = customer.url(0);
        let settings = [
            ("--redis-url", stores.redis_url.as_str()),
            ("--database-url", stores.database_url.as_str()),
            ("--listen", "127.0.0.1:0"),
            ("--customer-url", &customer_url),
            ("--app-secret", APP_SECRET),
            ("--customer-secret", customer.secret.expose_secret()),
        ];
        let words: Vec<&str> =
            std::iter::once("ceiling").chain(settings.into_iter().flat_map(|(name, value)| [name, value])).collect();
        Ok(Self(Listening::start(&words).await?))
    }

    pub(super) fn address(&self) -> &str {
        &self.0.address
    }

    pub(super) fn pid(&self) -> u32 {
        self.0.pid()
    }

    /// Has it end.
    ///
    /// # Errors
    /// When something did not go as planned: then it was no ceiling.
    pub(super) async fn stop(self) -> anyhow::Result<()> {
        self.0.ends().await
    }
}
