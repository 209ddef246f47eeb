//! The client that must not be affected. It pulls with a JWT-SVID and with an X.509-SVID, and a probe
//! requests `/livez`. Both use another address than the attacker.

use super::certificates;
use super::site::Site;
use super::tls::Tls;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::client::TlsStream;
use wharfinger_testkit::AUDIENCE;

const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// A pull or a probe without an answer after this time has failed.
const PATIENCE: Duration = Duration::from_secs(10);
const BETWEEN: Duration = Duration::from_millis(20);
const SIZE: usize = 1 << 20;
/// The digest of `SIZE` zeros, which are public.
pub(crate) const PUBLIC_BLOB: &str =
    "/v2/public/image/blobs/sha256:30e14955ebf1352266dc2ff8067e68104607e750abb9d3b36582b8af909fcb58";

pub(crate) struct Victim {
    address: SocketAddr,
    token: String,
    bearer: Tls,
    certificate: Tls,
}

impl Victim {
    /// Pushes the content that it will pull.
    pub(crate) async fn new(site: &Site) -> Self {
        let claims = serde_json::json!({"sub": site.pki.domain.id("/builder"), "aud": [AUDIENCE], "exp": wharfinger_testkit::now() + 7200});
        let good = certificates::good(&site.pki);
        let authority = &site.pki.servers.pem;
        let victim = Self {
            address: site.address,
            token: site.pki.domain.signer.token(&claims),
            bearer: Tls::new(authority, None, false),
            certificate: Tls::new(authority, Some((good.certificates.clone(), &good.key)), false),
        };
        victim.push().await;
        victim
    }

    async fn push(&self) {
        let digest = PUBLIC_BLOB.rsplit_once('/').unwrap().1;
        let path = format!("/v2/public/image/blobs/uploads/?digest={digest}");
        let authorization = self.authorization();
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\n{authorization}Content-Length: {SIZE}\r\n\r\n"
        );
        let mut stream = self.bearer.connect(ADDRESS, self.address).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&vec![0; SIZE]).await.unwrap();
        let (head, _) = answer(&mut stream).await.expect("an answer to the push");
        assert!(head.starts_with("HTTP/1.1 201"), "{head}");
    }

    fn authorization(&self) -> String {
        format!("Authorization: Bearer {}\r\n", self.token)
    }

    /// Measures the effects while `work` runs. It uses its own thread, so that it waits only for the server
    /// and not for the attacker.
    pub(crate) async fn watch(self: &Arc<Self>, work: impl Future<Output = ()>) -> Felt {
        let (stop, stopped) = oneshot::channel();
        let victim = self.clone();
        let watching = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(victim.until(stopped))
        });
        work.await;
        drop(stop);
        tokio::task::spawn_blocking(|| watching.join().unwrap())
            .await
            .unwrap()
    }

    /// Pulls and probes until `stopped`.
    async fn until(&self, stopped: oneshot::Receiver<()>) -> Felt {
        let mut pulls = Series::default();
        let mut probes = Series::default();
        let pulling = async {
            for number in 0_u64.. {
                pulls.note(self.pull(number % 2 == 0).await);
                sleep(BETWEEN).await;
            }
        };
        let probing = async {
            loop {
                probes.note(self.probe().await);
                sleep(BETWEEN * 5).await;
            }
        };
        tokio::select! {
            _ = stopped => {}
            () = pulling => {}
            () = probing => {}
        }
        Felt { pulls, probes }
    }

    /// Pulls a blob of 1 MiB on a new connection, as a container runtime does.
    async fn pull(&self, with_token: bool) -> Option<Duration> {
        let (tls, authorization) = if with_token {
            (&self.bearer, self.authorization())
        } else {
            (&self.certificate, String::new())
        };
        let request = format!(
            "GET {PUBLIC_BLOB} HTTP/1.1\r\nHost: localhost\r\n{authorization}Connection: close\r\n\r\n"
        );
        self.ask(tls, &request, SIZE).await
    }

    async fn probe(&self) -> Option<Duration> {
        self.ask(
            &self.bearer,
            "GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
            0,
        )
        .await
    }

    /// The time to connect, send the request and read the whole answer. `None` if the answer was wrong or
    /// missing.
    async fn ask(&self, tls: &Tls, request: &str, least: usize) -> Option<Duration> {
        let begun = Instant::now();
        let asking = async {
            let mut stream = tls.connect(ADDRESS, self.address).await.ok()?;
            stream.write_all(request.as_bytes()).await.ok()?;
            let (head, body) = answer(&mut stream).await?;
            (head.starts_with("HTTP/1.1 200") && body >= least).then_some(())
        };
        match timeout(PATIENCE, asking).await {
            Ok(Some(())) => Some(begun.elapsed()),
            // The request's name in the server's log.
            failed => {
                let what = request.split_whitespace().nth(1).unwrap_or_default();
                eprintln!(
                    "{what} failed {:?} after it began: {}",
                    begun.elapsed(),
                    if failed.is_ok() {
                        "refused or cut"
                    } else {
                        "no answer"
                    }
                );
                None
            }
        }
    }
}

/// The head of an answer, and the length of its body.
async fn answer(stream: &mut TlsStream<TcpStream>) -> Option<(String, usize)> {
    let mut bytes = Vec::new();
    let mut room = vec![0; 64 << 10];
    loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end])
                .to_ascii_lowercase()
                .replacen("http", "HTTP", 1);
            let length: Option<usize> = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "))
                .and_then(|length| length.parse().ok());
            let length = length.unwrap_or(0);
            let mut got = bytes.len() - end - 4;
            while got < length {
                match stream.read(&mut room).await {
                    Ok(0) | Err(_) => return None,
                    Ok(read) => got += read,
                }
            }
            return Some((head, got));
        }
        let read = stream.read(&mut room).await.ok().filter(|read| *read > 0)?;
        bytes.extend_from_slice(&room[..read]);
    }
}

#[derive(Default)]
struct Series {
    took: Vec<Duration>,
    failed: usize,
}

impl Series {
    fn note(&mut self, took: Option<Duration>) {
        match took {
            Some(took) => self.took.push(took),
            None => self.failed += 1,
        }
    }

    /// In milliseconds.
    fn percentile(&self, percent: usize) -> f64 {
        let mut took = self.took.clone();
        took.sort_unstable();
        let at = (took.len() * percent / 100).min(took.len().saturating_sub(1));
        took.get(at).map_or(f64::NAN, |took| took.as_secs_f64() * 1e3)
    }
}

/// The effects on the victim.
pub(crate) struct Felt {
    pulls: Series,
    probes: Series,
}

impl Felt {
    pub(crate) const fn failures(&self) -> usize {
        self.pulls.failed + self.probes.failed
    }

    pub(crate) const fn asked(&self) -> usize {
        self.pulls.took.len() + self.probes.took.len()
    }
}

impl fmt::Display for Felt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pulls, probes } = self;
        let p50 = pulls.percentile(50);
        let p99 = pulls.percentile(99);
        let probe = probes.percentile(99);
        write!(
            f,
            "{} | {} | {p50:.1} | {p99:.1} | {} | {} | {probe:.1}",
            pulls.took.len(),
            pulls.failed,
            probes.took.len(),
            probes.failed
        )
    }
}
