use std::fmt;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};

use rtc::peer_connection::request::{RTCAnswer, RTCRequest, RTCRequestId};
use tracing::debug;

use crate::{DatagramSocket, Pump, Runtime, SocketOptions};

/// Does what connections cannot do themselves: looks up names and binds sockets.
///
/// `K` names the connection among several.
pub(crate) struct Services<S, K> {
    resolve: Resolve,
    bind: Bind<S>,
    lookups: Vec<Lookup<K>>,
    /// Those that were bound, and for whom.
    sockets: Vec<(K, SocketAddr)>,
}

type Resolve = Box<dyn Fn(String) -> Resolving + Send>;
type Resolving = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>>;
type Bind<S> = Box<dyn Fn(IpAddr) -> io::Result<S> + Send>;

struct Lookup<K> {
    owner: K,
    id: RTCRequestId,
    resolving: Resolving,
}

impl<S, K> fmt::Debug for Services<S, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Services")
            .field("lookups", &self.lookups.len())
            .finish_non_exhaustive()
    }
}

impl<S: DatagramSocket, K: Copy + PartialEq> Services<S, K> {
    /// Those of a runtime; sockets are bound with `options`.
    pub(crate) fn new<R: Runtime<Socket = S>>(runtime: &R, options: SocketOptions) -> Self {
        let (resolver, binder) = (runtime.for_tasks(), runtime.for_tasks());
        Self {
            resolve: Box::new(move |host| {
                let resolver = resolver.clone();
                Box::pin(async move { resolver.resolve(&host, 0).await })
            }),
            bind: Box::new(move |ip| binder.bind(SocketAddr::new(ip, 0), &options)),
            lookups: Vec::new(),
            sockets: Vec::new(),
        }
    }

    /// Begins what a connection asks for. What is done at once has its answer here.
    pub(crate) fn begin(
        &mut self,
        owner: K,
        request: RTCRequest,
        pump: &mut Pump<S>,
    ) -> Option<(RTCRequestId, RTCAnswer)> {
        match request {
            RTCRequest::ResolveHost { id, host } => {
                if self.lookups.len() >= MAX_LOOKUPS {
                    return Some((id, failed("too many names are being looked up")));
                }
                let resolving = (self.resolve)(host);
                self.lookups.push(Lookup {
                    owner,
                    id,
                    resolving,
                });
                None
            }
            RTCRequest::BindSocket { id, ip } => {
                let bound = (self.bind)(ip).and_then(|socket| pump.add_socket(socket));
                Some(match bound {
                    Ok(local_addr) => {
                        self.sockets.push((owner, local_addr));
                        (id, RTCAnswer::Bound(local_addr))
                    }
                    Err(error) => (id, failed(&error.to_string())),
                })
            }
            RTCRequest::CloseSocket { local_addr } => {
                let place = (owner, local_addr);
                if let Some(index) = self.sockets.iter().position(|known| *known == place) {
                    self.sockets.swap_remove(index);
                    pump.remove_socket(local_addr);
                }
                None
            }
            RTCRequest::ResolveMulticast { id, .. } => {
                Some((id, failed("there is no multicast DNS here")))
            }
            RTCRequest::OpenStream { id, .. } => Some((id, failed("there are no streams here"))),
            request => {
                debug!(?request, "nothing is done about it");
                None
            }
        }
    }

    /// What has been found since the last call; registers the waker for the rest.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Vec<(K, RTCRequestId, RTCAnswer)> {
        let mut found = Vec::new();
        self.lookups.retain_mut(|lookup| {
            let Poll::Ready(result) = lookup.resolving.as_mut().poll(cx) else {
                return true;
            };
            let answer = match result {
                Ok(addrs) => RTCAnswer::Addresses(addrs.iter().map(SocketAddr::ip).collect()),
                Err(error) => failed(&error.to_string()),
            };
            found.push((lookup.owner, lookup.id, answer));
            false
        });
        found
    }

    /// Ends what a connection has asked for.
    pub(crate) fn forget(&mut self, owner: K, pump: &mut Pump<S>) {
        self.lookups.retain(|lookup| lookup.owner != owner);
        self.sockets.retain(|(of, local_addr)| {
            if *of == owner {
                pump.remove_socket(*local_addr);
            }
            *of != owner
        });
    }
}

fn failed(reason: &str) -> RTCAnswer {
    RTCAnswer::Failed(reason.to_owned())
}

/// Names that are looked up at a time, of all connections of a driver.
const MAX_LOOKUPS: usize = 1024;
