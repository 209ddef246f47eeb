//! Calls to the Workload API over a unix socket or TCP, never with TLS (W-3).

use super::wire::{JwtSvidRequest, JwtSvidResponse, Message, Request};
use crate::file_error::FileError;
use crate::trust::source::SourceError;
use http::uri::PathAndQuery;
use std::error::Error as _;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Status, Streaming};

/// One connection for all streams, since an agent attests its caller for each connection. It is made at the
/// first call and again after a loss.
#[derive(Clone, Debug)]
pub(super) struct Client {
    channel: Channel,
    address: Arc<str>,
}

impl Client {
    /// Makes a client for `unix:///absolute/path` or `tcp://IP:port` (W-2). Needs a tokio runtime.
    pub(super) fn new(address: &str) -> Result<Self, SourceError> {
        let target = target(address).ok_or_else(|| refused(address))?;
        let endpoint = Endpoint::from_shared(target).map_err(|_| refused(address))?;
        // No HTTP/2 keep-alive: SPIRE hangs up on a client that pings more often than every five minutes.
        let channel = endpoint
            .connect_timeout(CONNECT)
            .tcp_keepalive(Some(TCP_KEEPALIVE))
            .connect_lazy();
        Ok(Self {
            channel,
            address: address.into(),
        })
    }

    /// Opens the stream of `S` and waits for its first message.
    pub(super) async fn open<S: Message>(&self) -> Result<(S, Streaming<S>), Status> {
        let mut grpc = self.ready().await?;
        let request = with_header(Request {});
        let path = PathAndQuery::from_static(S::PATH);
        let mut stream = grpc
            .server_streaming(request, path, tonic_prost::ProstCodec::<Request, S>::default())
            .await?
            .into_inner();
        let first = stream
            .message()
            .await?
            .ok_or_else(|| Status::unavailable("the stream ended before its first message"))?;
        Ok((first, stream))
    }

    /// Fetches JWT-SVIDs once.
    pub(super) async fn jwt_svids(&self, request: JwtSvidRequest) -> Result<JwtSvidResponse, Status> {
        let mut grpc = self.ready().await?;
        let path = PathAndQuery::from_static("/SpiffeWorkloadAPI/FetchJWTSVID");
        let codec = tonic_prost::ProstCodec::<JwtSvidRequest, JwtSvidResponse>::default();
        Ok(grpc.unary(with_header(request), path, codec).await?.into_inner())
    }

    async fn ready(&self) -> Result<tonic::client::Grpc<Channel>, Status> {
        let mut grpc =
            tonic::client::Grpc::new(self.channel.clone()).max_decoding_message_size(LARGEST_MESSAGE);
        grpc.ready().await.map_err(|e| Status::from_error(e.into()))?;
        Ok(grpc)
    }

    /// Explains why a stream ended or did not open, and what to check if the agent was not reached.
    pub(super) fn explain(&self, method: &str, status: &Status) -> String {
        let address = &self.address;
        let Some(error) = io_error(status) else {
            return format!(
                "the Workload API at {address} answered {method} with {:?}: {}",
                status.code(),
                status.message()
            );
        };
        let look = "is the agent running, and is this its address (http.auth.spiffe.workloadAPI, SPIFFE_ENDPOINT_SOCKET)?";
        match socket_path(address) {
            Some(socket) if error.kind() == io::ErrorKind::ConnectionRefused => {
                format!("no process listens on the agent's socket {socket}: {look}")
            }
            Some(socket) => {
                let why = FileError::new(Path::new(socket), error);
                let mounted = if why.is_missing() {
                    " In a container, is the socket's folder mounted?"
                } else {
                    ""
                };
                format!("the agent's socket {socket} cannot be used: {why}; {look}{mounted}")
            }
            None => format!("the agent at {address} cannot be reached: {error}; {look}"),
        }
    }
}

/// Checks the form of an address without connecting.
pub fn check_address(address: &str) -> Result<(), SourceError> {
    match target(address) {
        Some(_) => Ok(()),
        None => Err(refused(address)),
    }
}

fn refused(address: &str) -> SourceError {
    SourceError::Address {
        found: address.to_owned(),
    }
}

fn with_header<T>(message: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request
        .metadata_mut()
        .insert("workload.spiffe.io", MetadataValue::from_static("true")); // W-1
    request
}

/// Returns the system's error of the connection.
fn io_error(status: &Status) -> Option<&io::Error> {
    let mut cause = status.source();
    while let Some(one) = cause {
        if let Some(error) = one.downcast_ref::<io::Error>() {
            return Some(error);
        }
        cause = one.source();
    }
    None
}

fn socket_path(address: &str) -> Option<&str> {
    let rest = address.strip_prefix("unix:")?;
    Some(rest.strip_prefix("//").unwrap_or(rest))
}

/// Returns the address in tonic's form.
fn target(address: &str) -> Option<String> {
    if let Some(path) = socket_path(address) {
        let absolute = path.len() > 1 && path.starts_with('/') && !path.starts_with("//");
        return absolute.then(|| format!("unix://{path}"));
    }
    let ip_and_port: SocketAddr = address.strip_prefix("tcp://")?.parse().ok()?;
    Some(format!("http://{ip_and_port}"))
}

const CONNECT: Duration = Duration::from_secs(5);
/// Detects that the other machine is gone. HTTP/2 pings cannot be used for that.
const TCP_KEEPALIVE: Duration = Duration::from_secs(60);
/// In bytes. Many federated trust domains could exceed tonic's default of 4 MiB.
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
    async fn an_unreachable_agent_is_reported_with_what_to_check() {
        use super::super::wire::X509BundlesResponse;
        let folder = tempfile::tempdir().unwrap();
        let said = async |socket: &str| {
            let client = Client::new(&format!("unix://{}", folder.path().join(socket).display())).unwrap();
            let status = client.open::<X509BundlesResponse>().await.map(drop).unwrap_err();
            client.explain("FetchX509Bundles", &status)
        };
        let missing = said("run/agent.sock").await;
        for part in [
            "run/agent.sock cannot be used: the folder ",
            "/run does not exist; is the agent running",
            "mounted",
        ] {
            assert!(missing.contains(part), "{missing}");
        }
        drop(std::os::unix::net::UnixListener::bind(folder.path().join("left.sock")).unwrap());
        let left = said("left.sock").await;
        assert!(
            left.starts_with("no process listens on the agent's socket ")
                && left.contains("left.sock: is the agent running"),
            "{left}"
        );
        for said in [missing, left] {
            assert!(
                !said.contains("os error") && !said.contains("Unavailable"),
                "{said}"
            );
        }
    }

    #[tokio::test]
    async fn w_2_a_wrong_address_is_reported_with_the_expected_form() {
        let error = Client::new("agent.sock").unwrap_err();
        assert_eq!(
            error.to_string(),
            "Workload API address `agent.sock`: expected unix:///absolute/path or tcp://IP:port"
        );
    }
}
