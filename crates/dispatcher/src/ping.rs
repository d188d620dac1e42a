//! A ping: a test event for one endpoint, sent as a delivery is sent, that nobody owes and nobody records.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, SecondsFormat, Utc};
use database::{attempts::Recorded, due::Leased, endpoints::Target};
use tokio::time::Instant;
use uuid::Uuid;
use vocabulary::{EndpointId, MasterKey};

use crate::{
    attempt::Attempter,
    client::{Answer, Client},
    failure::detail,
    outcome::Cause,
    schedule::Schedule,
    targets::Targets,
};

/// What it takes to ping.
pub struct Ping {
    /// What sends.
    pub client: Client,
    /// What opens the endpoint's secrets.
    pub master: MasterKey,
    /// What it may take, as any attempt of the fleet ([`crate::Settings::deadline`]).
    pub deadline: Duration,
}

impl Ping {
    /// Sends a ping to an endpoint, enabled or not: signed by its secrets, with what its requests carry. Its id begins with
    /// `ping_`, so that no customer takes it for a delivery.
    pub async fn send(self, endpoint_id: &EndpointId, target: Target, now: DateTime<Utc>) -> Recorded {
        let Self { client, master, deadline } = self;
        // Nothing follows from how it ends.
        let schedule = Schedule::default();
        let attempter = Attempter { targets: Targets::new(Arc::new(master)), client, deadline, schedule };
        let ping = event(endpoint_id, target, now);
        let began = Instant::now();
        let answer = attempter.send(&ping, now).await;
        let answer = answer.unwrap_or_else(|no_place| Answer::without_request(Cause::Dns, detail(&no_place)));
        attempter.judge(ping, answer, now, began.elapsed()).0
    }
}

fn event(endpoint_id: &EndpointId, target: Target, now: DateTime<Utc>) -> Leased {
    let timestamp = now.to_rfc3339_opts(SecondsFormat::Secs, true);
    let body =
        format!(r#"{{"type":"latchhook.ping","timestamp":"{timestamp}","data":{{"endpoint_id":"{endpoint_id}"}}}}"#);
    Leased {
        event_id: Uuid::nil(),
        endpoint_id: endpoint_id.clone(),
        lease: 0,
        attempts: 0,
        again: false,
        webhook_id: format!("ping_{:032x}", rand::random::<u128>()),
        body: body.into(),
        target: Arc::new(target),
        gate: None,
        lane: None,
        part: 1,
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;
    use crate::{
        access::{Access, ClientCertificate},
        client::tests::{Authority, customer, showing},
        signing::SigningSecret,
    };

    async fn pinged(client: Client, url: &str, client_certificate: Option<ClientCertificate>) -> Recorded {
        let master = MasterKey::parse(&MasterKey::generate()).unwrap();
        let seal = |secret: &secrecy::SecretString| master.seal("endpoint:bot", secret.expose_secret().as_bytes());
        let access = Access { client_certificate, ..Access::default() };
        let target = Target {
            url: url.to_owned(),
            secrets: vec![seal(&SigningSecret::generate())],
            access: Some(seal(&access.to_json())),
            ..Target::default()
        };
        let ping = Ping { client, master, deadline: Duration::from_secs(15) };
        ping.send(&"bot".parse().unwrap(), target, Utc::now()).await
    }

    #[tokio::test]
    async fn an_endpoint_with_a_certificate_is_sent_to_under_it_or_not_at_all() {
        let authority = Authority::new();
        let (url, _server) = customer(showing(authority.certify(|_| {}), Some(&authority))).await;
        let certificate = authority.client_certificate();
        let unreadable = ClientCertificate { key: "lost".to_owned(), ..certificate.clone() };

        let with = pinged(authority.client(), &url, Some(certificate.clone())).await;
        let without = pinged(authority.client(), &url, None).await;
        let closed = pinged(authority.client(), &url, Some(unreadable)).await;
        let plain = pinged(authority.client(), &url.replace("https", "http"), Some(certificate)).await;

        assert_eq!((with.outcome, without.outcome), ("delivered", "tls"));
        assert_eq!((closed.outcome, plain.outcome), ("access", "access"));
        assert_eq!(closed.split, Default::default(), "nobody was connected to");
    }
}
