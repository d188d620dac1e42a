//! Customers who ask whoever comes for a certificate: an endpoint's own is shown to them, or nothing is delivered.

use std::sync::{Arc, Mutex};

use dispatcher::{Access, Client, ClientCertificate, Dispatcher, Guard, Settings};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};
use rustls::{
    RootCertStore, ServerConfig, SupportedProtocolVersion,
    crypto::{CryptoProvider, ring},
    server::WebPkiClientVerifier,
    version::{TLS12, TLS13},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::task::AbortOnDropHandle;

use crate::setting::{Setting, dispatch_all};

/// Vouches for servers and for clients.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn certify(&self) -> (rcgen::Certificate, KeyPair) {
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![SanType::IpAddress("127.0.0.1".parse().unwrap())];
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.0).unwrap(), key)
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        roots
    }

    /// What a customer gives us to show, and as it is seen there.
    fn client_certificate(&self) -> (ClientCertificate, Vec<u8>) {
        let (certificate, key) = self.certify();
        let shown = ClientCertificate { chain: certificate.pem(), key: key.serialize_pem() };
        (shown, certificate.der().to_vec())
    }
}

/// A customer who serves those alone who show a certificate that its authority vouches for.
struct Demanding {
    url: String,
    authority: Authority,
    seen: Arc<Mutex<Seen>>,
    _server: AbortOnDropHandle<()>,
}

#[derive(Default)]
struct Seen {
    connections: usize,
    /// The certificate under which each request came.
    certificates: Vec<Vec<u8>>,
}

impl Demanding {
    async fn speaking(version: &'static SupportedProtocolVersion) -> Self {
        let authority = Authority::new();
        let (certificate, key) = authority.certify();
        let provider: Arc<CryptoProvider> = Arc::new(ring::default_provider());
        let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(authority.roots()), provider.clone());
        let tls = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_client_cert_verifier(clients.build().unwrap())
            .with_single_cert(vec![certificate.der().clone()], key.serialize_der().try_into().unwrap())
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (url, seen) = (format!("https://{}/", listener.local_addr().unwrap()), Arc::<Mutex<Seen>>::default());
        let (acceptor, noted) = (TlsAcceptor::from(Arc::new(tls)), seen.clone());
        let server = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                noted.lock().unwrap().connections += 1;
                tokio::spawn(serve(acceptor.clone(), stream, noted.clone()));
            }
        });
        Self { url, authority, seen, _server: AbortOnDropHandle::new(server) }
    }

    /// A setting with `bot` there, and a dispatcher that believes this customer.
    async fn setting(&self) -> (Setting, Dispatcher) {
        let setting = Setting::with_endpoint(&self.url).await;
        let client = Client::trusting(Guard::new("127.0.0.1".parse().unwrap()), self.authority.roots());
        let dispatcher = Dispatcher::new(setting.database.clone(), setting.master.clone(), Settings::default(), client);
        (setting, dispatcher)
    }
}

/// Takes every request on a connection with 200.
async fn serve(acceptor: TlsAcceptor, stream: TcpStream, seen: Arc<Mutex<Seen>>) {
    let mut stream = match acceptor.accept(stream).into_fallible().await {
        Ok(stream) => stream,
        // Else what was sent and not read would make of the refusal a reset.
        Err((_, mut refused)) => {
            let _ = refused.shutdown().await;
            let _ = refused.read_to_end(&mut Vec::new()).await;
            return;
        }
    };
    let own = stream.get_ref().1.peer_certificates().unwrap()[0].to_vec();
    let mut request = Vec::new();
    while stream.read_buf(&mut request).await.is_ok_and(|len| len > 0) {
        if request.ends_with(b"}") {
            request.clear();
            seen.lock().unwrap().certificates.push(own.clone());
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        }
    }
}

async fn give(setting: &Setting, endpoint: &str, certificate: Option<ClientCertificate>) {
    let access = certificate.map(|own| Access { client_certificate: Some(own), ..Access::default() }.to_json());
    let (connection, endpoint) = (setting.database.connection().await.unwrap(), endpoint.parse().unwrap());
    database::endpoints::set_access(&connection, &setting.master, &endpoint, access.as_ref()).await.unwrap();
}

/// What came of the attempts, by their endpoints.
async fn outcomes(setting: &Setting) -> Vec<(String, String)> {
    let rows = setting.rows("SELECT endpoint_id, outcome FROM attempts ORDER BY endpoint_id, lease").await;
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

fn outcome(endpoint: &str, outcome: &str) -> (String, String) {
    (endpoint.to_owned(), outcome.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_who_demands_a_certificate_is_shown_each_endpoints_own_and_serves_nobody_without() {
    for version in [&TLS12, &TLS13] {
        let customer = Demanding::speaking(version).await;
        let (setting, mut dispatcher) = customer.setting().await;
        let (first, second) = (customer.authority.client_certificate(), customer.authority.client_certificate());
        for id in ["other", "strange", "without"] {
            setting.add_endpoint(id, &customer.url).await;
        }
        give(&setting, "bot", Some(first.0)).await;
        give(&setting, "other", Some(second.0)).await;
        give(&setting, "strange", Some(Authority::new().client_certificate().0)).await;

        for id in ["bot", "other", "strange", "without"] {
            setting.owe(id, "1").await;
            dispatch_all(&mut dispatcher).await;
        }

        let delivered = [outcome("bot", "delivered"), outcome("other", "delivered")];
        let refused = [outcome("strange", "tls"), outcome("without", "tls")];
        assert_eq!(outcomes(&setting).await, [delivered, refused].concat(), "{version:?}");
        assert_eq!(customer.seen.lock().unwrap().certificates, [first.1, second.1], "{version:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_was_taken_back_or_replaced_is_shown_no_more_though_its_connection_is_kept() {
    let customer = Demanding::speaking(&TLS13).await;
    let (setting, mut dispatcher) = customer.setting().await;
    let (old, new) = (customer.authority.client_certificate(), customer.authority.client_certificate());

    for (key, certificate) in [("1", Some(old.0)), ("2", Some(new.0)), ("3", None)] {
        give(&setting, "bot", certificate).await;
        setting.owe("bot", key).await;
        dispatch_all(&mut dispatcher).await;
    }

    let [delivered, refused] = ["delivered", "tls"].map(|it| outcome("bot", it));
    assert_eq!(outcomes(&setting).await, [delivered.clone(), delivered, refused]);
    assert_eq!(customer.seen.lock().unwrap().certificates, [old.1, new.1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_without_its_own_key_has_nobody_connected_to() {
    let customer = Demanding::speaking(&TLS13).await;
    let (setting, mut dispatcher) = customer.setting().await;
    let (own, other) = (customer.authority.client_certificate().0, customer.authority.client_certificate().0);
    let pair = |chain: &str, key: &str| ClientCertificate { chain: chain.to_owned(), key: key.to_owned() };
    let unusable = [pair(&own.chain, &other.key), pair(&own.chain, ""), pair("", &own.key), pair(&own.key, &own.key)];

    for (number, certificate) in unusable.into_iter().enumerate() {
        give(&setting, "bot", Some(certificate)).await;
        setting.owe("bot", &number.to_string()).await;
        dispatch_all(&mut dispatcher).await;
    }

    assert_eq!(outcomes(&setting).await, [(); 4].map(|()| outcome("bot", "access")));
    assert_eq!(customer.seen.lock().unwrap().connections, 0);
}
