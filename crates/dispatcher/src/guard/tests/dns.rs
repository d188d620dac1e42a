//! A DNS server on this machine whose answers a test changes, and a resolver that asks nobody else.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex},
};

use hickory_resolver::{
    TokioResolver,
    config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig},
    net::runtime::TokioRuntimeProvider,
    proto::{
        op::{Message, ResponseCode},
        rr::{Name, RData, Record, RecordType},
    },
};
use tokio::{net::UdpSocket, sync::watch};
use tokio_util::task::AbortOnDropHandle;

use crate::resolver::{Addresses, Bounds, Resolver};

/// What the server says of a name.
#[derive(Clone)]
pub(crate) enum Answer {
    Addresses(Vec<IpAddr>),
    Alias(&'static str),
    /// Nothing at all.
    Silence,
}

/// The server. What it does not know does not exist.
pub(crate) struct Dns {
    address: SocketAddr,
    zone: Arc<Mutex<Zone>>,
    asked: watch::Receiver<usize>,
    _server: AbortOnDropHandle<()>,
}

#[derive(Default)]
struct Zone {
    answers: HashMap<String, Answer>,
    /// How often it was asked for the IPv4 addresses of some name.
    asked: watch::Sender<usize>,
}

impl Dns {
    pub(crate) async fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let (address, zone) = (socket.local_addr().unwrap(), Zone::default());
        let (asked, zone) = (zone.asked.subscribe(), Arc::new(Mutex::new(zone)));
        let server = tokio::spawn(serve(socket, zone.clone()));
        Self { address, zone, asked, _server: AbortOnDropHandle::new(server) }
    }

    /// From now on these are the addresses of a name.
    pub(crate) fn say(&self, name: &str, addresses: &[&str]) {
        let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
        self.zone.lock().unwrap().answers.insert(format!("{name}."), Answer::Addresses(addresses));
    }

    pub(crate) fn alias(&self, name: &str, target: &'static str) {
        self.zone.lock().unwrap().answers.insert(format!("{name}."), Answer::Alias(target));
    }

    /// From now on it says nothing when it is asked for a name.
    pub(crate) fn silence(&self, name: &str) {
        self.zone.lock().unwrap().answers.insert(format!("{name}."), Answer::Silence);
    }

    pub(crate) fn asked(&self) -> usize {
        *self.asked.borrow()
    }

    /// Waits until it was asked so often.
    pub(crate) async fn has_been_asked(&self, count: usize) {
        self.asked.clone().wait_for(|asked| *asked >= count).await.unwrap();
    }

    /// Keeps nothing, and knows no hosts file.
    pub(crate) fn resolver(&self) -> Resolver {
        self.resolver_within(Bounds::default())
    }

    /// Likewise, with bounds of its own.
    pub(crate) fn resolver_within(&self, bounds: Bounds) -> Resolver {
        let mut udp = ConnectionConfig::udp();
        udp.port = self.address.port();
        let server = NameServerConfig::new(self.address.ip(), true, vec![udp]);
        let config = ResolverConfig::from_parts(None, Vec::new(), vec![server]);
        let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        builder.options_mut().cache_size = 0;
        builder.options_mut().use_hosts_file = ResolveHosts::Never;
        builder.options_mut().ip_strategy = hickory_resolver::config::LookupIpStrategy::Ipv4AndIpv6;
        let resolver = builder.build().unwrap();
        Resolver::new(bounds, move |name| -> Addresses {
            let resolver = resolver.clone();
            Box::pin(async move {
                let found = resolver.lookup_ip(name).await.map_err(std::io::Error::other)?;
                Ok(found.iter().map(|address| SocketAddr::new(address, 0)).collect())
            })
        })
    }
}

async fn serve(socket: UdpSocket, zone: Arc<Mutex<Zone>>) {
    let mut datagram = [0; 4096];
    loop {
        let (len, asker) = socket.recv_from(&mut datagram).await.unwrap();
        let asked = Message::from_vec(&datagram[..len]).unwrap();
        let answer = zone.lock().unwrap().answer(&asked);
        if let Some(answer) = answer {
            socket.send_to(&answer.to_vec().unwrap(), asker).await.unwrap();
        }
    }
}

impl Zone {
    fn answer(&mut self, asked: &Message) -> Option<Message> {
        let query = &asked.queries[0];
        let mut message = Message::response(asked.metadata.id, asked.metadata.op_code);
        message.metadata.recursion_desired = true;
        message.metadata.recursion_available = true;
        message.add_query(query.clone());
        self.asked.send_modify(|asked| *asked += usize::from(query.query_type() == RecordType::A));
        match self.answers.get(&query.name().to_string()) {
            Some(Answer::Silence) => return None,
            None => message.metadata.response_code = ResponseCode::NXDomain,
            Some(answer) => {
                let data = answer.data(query.query_type());
                message.add_answers(data.into_iter().map(|data| Record::from_rdata(query.name().clone(), 0, data)));
            }
        }
        Some(message)
    }
}

impl Answer {
    fn data(&self, wanted: RecordType) -> Vec<RData> {
        match self {
            Self::Silence => Vec::new(),
            Self::Alias(target) => {
                let target: Name = target.parse().unwrap();
                vec![RData::CNAME(hickory_resolver::proto::rr::rdata::CNAME(target))]
            }
            Self::Addresses(addresses) => {
                let of = |address: &IpAddr| match address {
                    IpAddr::V4(v4) if wanted == RecordType::A => Some(RData::A((*v4).into())),
                    IpAddr::V6(v6) if wanted == RecordType::AAAA => Some(RData::AAAA((*v6).into())),
                    _ => None,
                };
                addresses.iter().filter_map(of).collect()
            }
        }
    }
}
