//! Calls to the Workload API over a unix socket or TCP. Never TLS (W-3).

use super::wire::{Message, Request};
use crate::trust::source::SourceError;
use http::uri::PathAndQuery;
use std::net::SocketAddr;
use std::time::Duration;
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Status, Streaming};

/// One connection for all streams: an agent attests its caller once a connection. Made at the first call and again after a loss.
#[derive(Clone, Debug)]
pub(super) struct Client(Channel);

impl Client {
    /// `unix:///absolute/path` or `tcp://IP:port` (W-2). Needs a tokio runtime.
    pub(super) fn new(address: &str) -> Result<Self, SourceError> {
        let refused = || SourceError::Address { found: address.to_owned() };
        let endpoint = Endpoint::from_shared(target(address).ok_or_else(refused)?).map_err(|_| refused())?;
        // No HTTP/2 keep-alive: SPIRE hangs up on a client that pings more often than every five minutes.
        Ok(Self(endpoint.connect_timeout(CONNECT).tcp_keepalive(Some(TCP_KEEPALIVE)).connect_lazy()))
    }

    /// Opens the stream of `S` and waits for its first message.
    pub(super) async fn open<S: Message>(&self) -> Result<(S, Streaming<S>), Status> {
        let mut grpc = tonic::client::Grpc::new(self.0.clone()).max_decoding_message_size(LARGEST_MESSAGE);
        grpc.ready().await.map_err(|e| Status::from_error(e.into()))?;
        let mut request = tonic::Request::new(Request {});
        request.metadata_mut().insert("workload.spiffe.io", MetadataValue::from_static("true")); // W-1
        let path = PathAndQuery::from_static(S::PATH);
        let mut stream = grpc.server_streaming(request, path, tonic_prost::ProstCodec::<Request, S>::default()).await?.into_inner();
        let first = stream.message().await?.ok_or_else(|| Status::unavailable("the stream ended before its first message"))?;
        Ok((first, stream))
    }
}

/// The address as tonic spells it.
fn target(address: &str) -> Option<String> {
    if let Some(rest) = address.strip_prefix("unix:") {
        let path = rest.strip_prefix("//").unwrap_or(rest);
        let absolute = path.len() > 1 && path.starts_with('/') && !path.starts_with("//");
        return absolute.then(|| format!("unix://{path}"));
    }
    let ip_and_port: SocketAddr = address.strip_prefix("tcp://")?.parse().ok()?;
    Some(format!("http://{ip_and_port}"))
}

const CONNECT: Duration = Duration::from_secs(5);
/// Finds out that the other machine is gone, which no HTTP/2 ping may.
const TCP_KEEPALIVE: Duration = Duration::from_secs(60);
/// In bytes. tonic's own limit, 4 MiB, is within reach of many federated trust domains.
const LARGEST_MESSAGE: usize = 64 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn w_2_an_absolute_unix_path_or_an_ip_address_and_port() {
        let good = [
            ("unix:///run/spire/agent.sock", "unix:///run/spire/agent.sock"),
            ("unix:/run/spire/agent.sock", "unix:///run/spire/agent.sock"),
            ("tcp://127.0.0.1:8081", "http://127.0.0.1:8081"),
            ("tcp://[::1]:8081", "http://[::1]:8081"),
        ];
        for (address, expected) in good {
            assert_eq!(target(address).as_deref(), Some(expected));
        }
        let bad = [
            "",
            "/run/spire/agent.sock",
            "unix:",
            "unix:///",
            "unix://run/agent.sock",
            "unix:agent.sock",
            "unix:////run/agent.sock",
            "tcp://agent.example.org:8081",
            "tcp://127.0.0.1",
            "tcp://127.0.0.1:8081/path",
            "http://127.0.0.1:8081",
        ];
        for address in bad {
            assert_eq!(target(address), None, "{address}");
        }
    }

    #[tokio::test]
    async fn w_2_a_wrong_address_is_told_with_what_was_expected() {
        let error = Client::new("agent.sock").unwrap_err();
        assert_eq!(error.to_string(), "Workload API address `agent.sock`: expected unix:///absolute/path or tcp://IP:port");
    }
}
