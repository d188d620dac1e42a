//! Customers with TLS: whom a request is sent to, and as whom. And kept connections that end.

use std::{
    io::{Read, Write},
    sync::mpsc,
};

use http::header::HOST;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SanType, date_time_ymd};
use rustls::{RootCertStore, ServerConfig, server::WebPkiClientVerifier};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_util::task::AbortOnDropHandle;

use super::*;
use crate::access::{Access, ClientCertificate};

/// Vouches for servers and for clients; nobody knows it but this test.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// A certificate for 127.0.0.1, but for what `change` makes of it.
    pub(crate) fn certify(&self, change: impl FnOnce(&mut CertificateParams)) -> (rcgen::Certificate, KeyPair) {
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![SanType::IpAddress("127.0.0.1".parse().unwrap())];
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.0).unwrap(), key)
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        roots
    }

    /// A client that may send to this machine, and believes this authority.
    pub(crate) fn client(&self) -> Client {
        Client::trusting(Guard::new("127.0.0.1".parse().unwrap()), self.roots())
    }

    /// What a customer gives us to show.
    pub(crate) fn client_certificate(&self) -> ClientCertificate {
        let (certificate, key) = self.certify(|params| params.distinguished_name.push(DnType::CommonName, "latchhook"));
        ClientCertificate { chain: certificate.pem(), key: key.serialize_pem() }
    }
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// A server that shows this certificate, and may ask whoever comes for one that `clients` vouches for.
pub(crate) fn showing((certificate, key): (rcgen::Certificate, KeyPair), clients: Option<&Authority>) -> ServerConfig {
    let server = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().unwrap();
    let server = match clients {
        None => server.with_no_client_auth(),
        Some(clients) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(clients.roots()), provider());
            server.with_client_cert_verifier(verifier.build().unwrap())
        }
    };
    let key = key.serialize_der().try_into().unwrap();
    server.with_single_cert(vec![certificate.der().clone()], key).unwrap()
}

/// A customer who answers every request with how many certificates whoever sent it has shown, and keeps the connection
/// unless it is asked for `/close`; asked for `/once`, it closes it upon the next request. Gives its URL.
pub(crate) async fn customer(tls: ServerConfig) -> (String, AbortOnDropHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/", listener.local_addr().unwrap());
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(tls));
    let server = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(serve(acceptor.clone(), stream));
        }
    });
    (url, AbortOnDropHandle::new(server))
}

async fn serve(acceptor: tokio_rustls::TlsAcceptor, stream: TcpStream) {
    let mut stream = match acceptor.accept(stream).into_fallible().await {
        Ok(stream) => stream,
        // Else what was sent and not read would make of the refusal a reset.
        Err((_, mut refused)) => {
            refused.shutdown().await.unwrap();
            let _ = refused.read_to_end(&mut Vec::new()).await;
            return;
        }
    };
    let shown = stream.get_ref().1.peer_certificates().map_or(0, |certificates| certificates.len());
    let mut request = [0; 4096];
    while stream.read(&mut request).await.is_ok_and(|len| len > 0) {
        let connection = if request.starts_with(b"POST /close") { "close" } else { "keep-alive" };
        let answer = format!("HTTP/1.1 200 OK\r\nconnection: {connection}\r\ncontent-length: 1\r\n\r\n{shown}");
        stream.write_all(answer.as_bytes()).await.unwrap();
        if request.starts_with(b"POST /once") {
            let _next = stream.read(&mut request).await.unwrap();
            return stream.shutdown().await.unwrap();
        }
    }
}

pub(crate) async fn send(client: &Client, url: &str) -> Answer {
    let (to, asker) = (Place::parse(url).unwrap(), Asker { patience: Duration::from_secs(5), ..Asker::default() });
    let make = || Ok(Request::post(to.path.clone()).header(HOST, to.host.clone()).body(Full::default()).unwrap());
    client.send(&to, asker, make, Utc::now()).await.unwrap()
}

pub(crate) fn identity(client_certificate: ClientCertificate) -> Arc<CertifiedKey> {
    let access = Access { client_certificate: Some(client_certificate), ..Access::default() };
    access.read(true).unwrap().identity.unwrap()
}

#[tokio::test]
async fn a_customer_is_sent_something_only_under_a_certificate_that_is_its_own_and_good_today() {
    let (known, unknown) = (Authority::new(), Authority::new());
    let at = |year| date_time_ymd(year, 1, 1);
    let name = |name: &str| vec![SanType::DnsName(name.try_into().unwrap())];
    let ways = [
        ("its own", known.certify(|_| {}), Outcome::Delivered),
        ("another's", known.certify(|p| p.subject_alt_names = name("shop.example")), Outcome::Failed(Cause::Tls)),
        ("no one's", known.certify(|p| p.subject_alt_names.clear()), Outcome::Failed(Cause::Tls)),
        ("expired", known.certify(|p| (p.not_before, p.not_after) = (at(2020), at(2021))), Outcome::Failed(Cause::Tls)),
        (
            "not yet good",
            known.certify(|p| (p.not_before, p.not_after) = (at(2090), at(2091))),
            Outcome::Failed(Cause::Tls),
        ),
        ("vouched for by a stranger", unknown.certify(|_| {}), Outcome::Failed(Cause::Tls)),
    ];

    for (way, certificate, expected) in ways {
        let (url, _server) = customer(showing(certificate, None)).await;
        let answer = send(&known.client(), &url).await;
        assert_eq!(answer.outcome, expected, "{way}: {:?}", answer.detail);
    }
}

#[tokio::test]
async fn a_certificate_that_signs_itself_is_nobodys_word() {
    let own = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let (url, _server) = customer(showing((own.cert, own.signing_key), None)).await;

    let answer = send(&Client::new(Guard::new("127.0.0.1".parse().unwrap())), &url).await;

    assert_eq!(answer.outcome, Outcome::Failed(Cause::Tls));
}

#[tokio::test]
async fn a_customer_who_demands_a_certificate_gets_the_endpoints_own_and_a_request_without_it_fails() {
    let (servers, clients, others) = (Authority::new(), Authority::new(), Authority::new());
    let (url, _server) = customer(showing(servers.certify(|_| {}), Some(&clients))).await;
    let plain = servers.client();

    let without = send(&plain, &url).await;
    let with = send(&plain.showing(identity(clients.client_certificate())), &url).await;
    let with_another = send(&plain.showing(identity(others.client_certificate())), &url).await;

    assert_eq!((with.outcome, with.head.as_slice()), (Outcome::Delivered, b"1".as_slice()));
    assert_eq!(without.outcome, Outcome::Failed(Cause::Tls), "{:?}", without.detail);
    assert_eq!(with_another.outcome, Outcome::Failed(Cause::Tls), "{:?}", with_another.detail);
}

#[tokio::test]
async fn what_one_endpoint_shows_is_shown_in_nobody_elses_connection_or_session() {
    let authority = Authority::new();
    // Asks for a certificate, and takes those who have none too.
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(authority.roots()), provider());
    let (certificate, key) = authority.certify(|_| {});
    let optional = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier.allow_unauthenticated().build().unwrap())
        .with_single_cert(vec![certificate.der().clone()], key.serialize_der().try_into().unwrap())
        .unwrap();
    let (url, _server) = customer(optional).await;
    let plain = authority.client();
    let shows = plain.showing(identity(authority.client_certificate()));

    for url in [url.clone(), format!("{url}close")] {
        let mut seen = Vec::new();
        for client in [&plain, &shows, &plain, &shows, &plain] {
            seen.extend(send(client, &url).await.head);
        }
        assert_eq!(seen, b"01010", "{url}");
    }
}

#[tokio::test]
async fn where_the_time_went_is_said_of_a_new_connection_and_a_kept_one_has_only_the_wait_for_the_answer() {
    let authority = Authority::new();
    let (url, _server) = customer(showing(authority.certify(|_| {}), None)).await;
    let client = authority.client();

    let (new, kept) = (send(&client, &url).await.split, send(&client, &url).await.split);

    assert_eq!(new.dns, None, "there is no name in the URL");
    assert!(new.connect.is_some() && new.tls.is_some() && new.first_byte.is_some(), "{new:?}");
    assert_eq!((kept.dns, kept.connect, kept.tls), (None, None, None));
    assert!(kept.first_byte.is_some());
}

#[tokio::test]
async fn a_kept_connection_that_ends_upon_a_request_with_the_alert_of_tls_and_no_answer_costs_no_attempt() {
    let authority = Authority::new();
    let (url, _server) = customer(showing(authority.certify(|_| {}), None)).await;
    let (client, url) = (authority.client(), format!("{url}once"));

    let (first, second) = (send(&client, &url).await, send(&client, &url).await);

    assert_eq!((first.outcome, second.outcome), (Outcome::Delivered, Outcome::Delivered), "{:?}", second.detail);
    assert!(second.split.tls.is_some(), "it came over a new connection");
}

/// A server that answers one request, says upon `go` that it was waiting for too long, closes the connection, and says that it
/// has; and answers a request over another connection. Gives its URL. It has a thread of its own, so that it goes on while
/// nothing does here.
fn impatient_server(go: mpsc::Receiver<()>) -> (String, mpsc::Receiver<()>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let (gone, has_gone) = mpsc::channel();
    std::thread::spawn(move || {
        let answer = || {
            let mut stream = listener.accept().unwrap().0;
            assert_ne!(stream.read(&mut [0; 4096]).unwrap(), 0);
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
            stream
        };
        let mut first = answer();
        go.recv().unwrap();
        first.write_all(b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\n\r\n").unwrap();
        drop(first);
        gone.send(()).unwrap();
        answer();
    });
    (url, has_gone)
}

#[tokio::test]
async fn a_request_that_was_never_written_is_sent_again_whatever_the_server_said_before_it_closed() {
    let (go, told) = mpsc::channel();
    let ((url, has_gone), client) = (impatient_server(told), Authority::new().client());
    let first = send(&client, &url).await;

    go.send(()).unwrap();
    has_gone.recv().unwrap();
    // The runtime hears of it, but the connection has not its turn before there is a request on it.
    tokio::task::yield_now().await;
    let second = send(&client, &url).await;

    assert_eq!((first.outcome, second.outcome), (Outcome::Delivered, Outcome::Delivered), "{:?}", second.detail);
    assert!(second.split.connect.is_some(), "it came over a new connection");
}
