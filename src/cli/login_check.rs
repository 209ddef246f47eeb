//! `wharfinger login-check HOST`: whether clients can log in to a running registry, and what to fix.

use super::{FAILED, SUCCESS, WRONG, say, say_error};
use crate::clock::Clock;
use crate::file_error::FileError;
use crate::login_check::{self, Credentials, Probe};
use crate::oci::RepositoryName;
use crate::secret::Secret;
use crate::workload::{Asker, Found, RegistryHost, Surroundings, Workload};
use clap::Args;
use std::path::{Path, PathBuf};

#[derive(Args)]
pub(super) struct Options {
    /// The registry's host and port as clients write them, such as registry.example.org:5000
    host: String,
    /// A file that holds the token to try. Default: the token that the credential helper would provide here
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// The client certificate to try, in PEM
    #[arg(long, value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,
    /// The certificate's private key, in PEM
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// The CA certificates to verify the registry with, in PEM, instead of the system's
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Use HTTP: the registry has no TLS
    #[arg(long, conflicts_with_all = ["ca", "cert"])]
    plain_http: bool,
    /// Also check whether this repository can be read
    #[arg(long, visible_alias = "repo", value_name = "NAME")]
    repository: Option<String>,
}

pub(super) async fn run(options: Options) -> u8 {
    let prepared = match prepare(&options) {
        Ok(prepared) => prepared,
        Err(why) => {
            say_error(&format!("error: {why}"));
            return WRONG;
        }
    };
    let Prepared {
        host,
        probe,
        repository,
        token,
    } = prepared;
    let clock = Clock::system();
    let token = match token {
        Some(token) => Ok(token),
        None => helper(&host, &clock).await,
    };
    let credentials = Credentials {
        token,
        certificate: options.cert.is_some(),
    };
    let tell = |line: &login_check::Line| say(&line.to_string());
    let good = login_check::check(
        &host,
        &probe,
        &credentials,
        repository.as_ref(),
        clock.now(),
        tell,
    )
    .await;
    if good { SUCCESS } else { FAILED }
}

struct Prepared {
    host: RegistryHost,
    probe: Probe,
    repository: Option<RepositoryName>,
    token: Option<Secret>,
}

fn prepare(options: &Options) -> Result<Prepared, String> {
    let host: RegistryHost = options
        .host
        .parse()
        .map_err(|why| format!("{}: {why}", options.host))?;
    let repository = options
        .repository
        .as_deref()
        .map(str::parse)
        .transpose()
        .map_err(|why| format!("--repository: {why}"))?;
    let token = options.token_file.as_deref().map(read).transpose()?;
    let token = token.map(|text| Secret::new(String::from_utf8_lossy(&text).trim()));
    let authorities = options.ca.as_deref().map(read).transpose()?;
    let certificate = match (&options.cert, &options.key) {
        (Some(cert), Some(key)) => Some([read(cert)?, b"\n".to_vec(), read(key)?].concat()),
        _ => None,
    };
    let probe = Probe::new(
        &host,
        options.plain_http,
        authorities.as_deref(),
        certificate.as_deref(),
    )
    .map_err(|why| why.to_string())?;
    Ok(Prepared {
        host,
        probe,
        repository,
        token,
    })
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|why| format!("{}: {}", path.display(), FileError::new(path, &why)))
}

/// The token that the credential helper would provide here, or why it provides none.
async fn helper(host: &RegistryHost, clock: &Clock) -> Result<Secret, String> {
    let workload =
        Workload::find(Surroundings::of_process(), clock.clone()).map_err(|why| why.to_string())?;
    match workload
        .token(host, Asker::Configured)
        .await
        .map_err(|why| why.to_string())?
    {
        Found::Token(handed) => {
            say(&format!("note  the token: from {}", handed.place));
            Ok(handed.secret)
        }
        Found::Nothing(withheld) if withheld.is_empty() => {
            Err("no token was found: give --token-file, or run this command where the credential helper finds a token".to_owned())
        }
        Found::Nothing(withheld) => Err(withheld
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join("; ")),
    }
}
