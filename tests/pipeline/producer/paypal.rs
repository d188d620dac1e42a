//! PayPal: what it signs, and a server that stands for the hosts of its API.

use std::{
    collections::HashMap,
    convert::Infallible,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, Utc};
use dispatcher::{Client, Guard};
use http_body_util::Full;
use hyper::{Request, Response, StatusCode, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use producer::Certificates;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, PKCS_RSA_SHA256, SigningKey};
use rustls::{RootCertStore, ServerConfig, crypto::ring};
use tokio::{net::TcpListener, sync::watch};
use tokio_rustls::TlsAcceptor;
use tokio_util::task::AbortOnDropHandle;
use vocabulary::Source;

use super::{door::source, http::post};

/// What a source has for a secret.
const WEBHOOK: &str = "1AB23456CD789012E";
const BODY: &str = r#"{"id":"WH-1"}"#;
/// Its CRC-32.
const CRC: u32 = 838_965_618;
/// Made for these tests; it opens nothing. Not made in each of them, because ring makes no keys of RSA.
const KEY: &str = include_str!("signer.pem");

/// An enabled source, which needs a certificate to be fetched.
pub(super) fn paypal_source(id: &str, account: &str) -> Source {
    Source {
        account_id: account.parse().unwrap(),
        provider: "paypal".into(),
        secrets: vec![WEBHOOK.to_owned().into()],
        ..source(id)
    }
}

/// Where a certificate is.
pub(super) fn at_paypal(id: &str) -> String {
    format!("https://api.paypal.com/v1/notifications/certs/{id}")
}

fn key() -> KeyPair {
    KeyPair::from_pkcs8_pem_and_sign_algo(KEY, &PKCS_RSA_SHA256).unwrap()
}

/// A certificate that vouches for [`signed`], from a day ago until then.
pub(super) fn certificate_until(until: DateTime<Utc>) -> String {
    let mut params = CertificateParams::new(["messageverificationcerts.paypal.com".to_owned()]).unwrap();
    let at = |moment: DateTime<Utc>| rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(moment.timestamp() as u64);
    (params.not_before, params.not_after) = (at(Utc::now() - Duration::from_hours(24)), at(until));
    params.self_signed(&key()).unwrap().pem()
}

/// One that holds now.
pub(super) fn certificate() -> String {
    certificate_until(Utc::now() + Duration::from_hours(24))
}

/// A `POST` to a source, signed just now, that says its certificate is at this address.
pub(super) fn signed(source: &str, url: &str) -> Vec<u8> {
    let time = Utc::now().to_rfc3339_opts(SecondsFormat::Secs, true);
    let signature = key().sign(format!("made-1|{time}|{WEBHOOK}|{CRC}").as_bytes()).unwrap();
    with_signature(source, url, &time, &signature)
}

/// The same from somebody else.
pub(super) fn forged(source: &str, url: &str) -> Vec<u8> {
    with_signature(source, url, &Utc::now().to_rfc3339_opts(SecondsFormat::Secs, true), &[7; 256])
}

fn with_signature(source: &str, url: &str, time: &str, signature: &[u8]) -> Vec<u8> {
    let signature = STANDARD.encode(signature);
    let headers = [
        ("PAYPAL-TRANSMISSION-ID", "made-1"),
        ("PAYPAL-TRANSMISSION-TIME", time),
        ("PAYPAL-TRANSMISSION-SIG", &signature),
        ("PAYPAL-AUTH-ALGO", "SHA256withRSA"),
        ("PAYPAL-CERT-URL", url),
    ];
    post(&format!("/hooks/{source}"), &headers, BODY.as_bytes())
}

/// PayPal's servers.
pub(super) struct PayPal {
    address: SocketAddr,
    authority: CertifiedIssuer<'static, KeyPair>,
    shared: Arc<Shared>,
    _server: AbortOnDropHandle<()>,
}

struct Shared {
    shown: Mutex<HashMap<String, Shown>>,
    asked: Mutex<Vec<String>>,
    answers: watch::Sender<bool>,
}

/// What is at an address.
#[derive(Clone)]
pub(super) enum Shown {
    /// This, with 200.
    Text(String),
    /// What is there is at this address.
    Elsewhere(String),
}

impl PayPal {
    /// Shows nothing yet: 404 for every address.
    pub(super) async fn start() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (shown, asked, answers) = (Mutex::default(), Mutex::default(), watch::Sender::new(true));
        let shared = Arc::new(Shared { shown, asked, answers });
        let server = tokio::spawn(serve(listener, acceptor(&authority), shared.clone()));
        Self { address, authority, shared, _server: AbortOnDropHandle::new(server) }
    }

    /// From now on this is at an address.
    pub(super) fn show(&self, url: &str, shown: Shown) {
        let path = url.split_once(".com").unwrap().1;
        self.shared.shown.lock().unwrap().insert(path.to_owned(), shown);
    }

    /// The paths that were asked for, in their order.
    pub(super) fn asked(&self) -> Vec<String> {
        self.shared.asked.lock().unwrap().clone()
    }

    /// Whether whoever asks gets an answer, or waits for one.
    pub(super) fn answers(&self, now: bool) {
        self.shared.answers.send_replace(now);
    }

    /// As `latchhook` fetches them, but that the hosts are on a port of this machine, and another authority vouches for them.
    pub(super) fn certificates(&self) -> Certificates {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.der().clone()).unwrap();
        let here = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let guard = Guard::new("127.0.0.1".parse().unwrap()).asking(move |_| Box::pin(async move { Ok(vec![here]) }));
        let (client, port) = (Client::trusting(guard, roots), self.address.port());
        Certificates::new(move |url| {
            let (client, url) = (client.clone(), url.replacen(".com/", &format!(".com:{port}/"), 1));
            Box::pin(async move { Ok(client.fetch(&url, Duration::from_secs(10)).await?) })
        })
    }
}

fn acceptor(authority: &CertifiedIssuer<'static, KeyPair>) -> TlsAcceptor {
    let (params, key) = (CertificateParams::new(["api.paypal.com".to_owned()]).unwrap(), KeyPair::generate().unwrap());
    let certificate = params.signed_by(&key, authority).unwrap();
    let server = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key.serialize_der().try_into().unwrap());
    TlsAcceptor::from(Arc::new(server.unwrap()))
}

async fn serve(listener: TcpListener, acceptor: TlsAcceptor, shared: Arc<Shared>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (acceptor, shared) = (acceptor.clone(), shared.clone());
        tokio::spawn(async move {
            let stream = acceptor.accept(stream).await.unwrap();
            let service = service_fn(move |request| answer(request, shared.clone()));
            // A client that is done hangs up.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(request: Request<Incoming>, shared: Arc<Shared>) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().to_owned();
    shared.asked.lock().unwrap().push(path.clone());
    shared.answers.subscribe().wait_for(|answers| *answers).await.unwrap();
    let shown = shared.shown.lock().unwrap().get(&path).cloned();
    let answer = match shown {
        Some(Shown::Text(text)) => Response::builder().body(Full::from(text)),
        Some(Shown::Elsewhere(url)) => {
            Response::builder().status(StatusCode::FOUND).header("location", url).body(Full::default())
        }
        None => Response::builder().status(StatusCode::NOT_FOUND).body(Full::default()),
    };
    Ok(answer.unwrap())
}
