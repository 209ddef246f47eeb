//! `wharfinger explain FILE`: which identity a credential has under a configuration, or why it is rejected.

use super::{FAILED, SUCCESS, WRONG, load, mistaken, say, say_error};
use crate::access::Action;
use crate::app::Evaluator;
use crate::clock::Clock;
use crate::file_error::FileError;
use crate::identity::{Evidence, Failure, Identity, Peer, Presented, Refusal, Refused};
use crate::oci::RepositoryName;
use crate::secret::Secret;
use crate::workload::printable;
use clap::Args;
use pki_types::CertificateDer;
use pki_types::pem::PemObject as _;
use std::path::{Path, PathBuf};

#[derive(Args)]
pub(super) struct Options {
    /// The configuration, in YAML or JSON
    file: PathBuf,
    #[command(flatten)]
    credential: Credential,
    /// Also show what the credential may do in this repository, and which rule decides
    #[arg(long, visible_alias = "repo", value_name = "NAME")]
    repository: Option<String>,
    /// Exit with 1 unless the credential may do this in the repository
    #[arg(long, value_name = "ACTION", requires = "repository", value_parser = ["read", "create", "update", "delete", "override"])]
    action: Option<String>,
}

/// Exactly one of these is given.
#[derive(Args)]
#[group(required = true, multiple = false)]
struct Credential {
    /// An OIDC ID token or a JWT-SVID. Other users of this machine can see it: prefer --token-file
    #[arg(long)]
    token: Option<String>,
    /// A file that holds the token
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// A client certificate with its intermediates, in PEM. The key is not needed
    #[arg(long, value_name = "FILE")]
    cert: Option<PathBuf>,
}

/// The credential to explain.
enum Given {
    Token(Secret),
    Certificate(Peer),
}

pub(super) async fn run(options: Options) -> u8 {
    let Options {
        file,
        credential,
        repository,
        action,
    } = options;
    let repository = match repository
        .as_deref()
        .map(str::parse::<RepositoryName>)
        .transpose()
    {
        Ok(repository) => repository,
        Err(why) => return wrong(&format!("--repository: {why}")),
    };
    let given = match credential.read() {
        Ok(given) => given,
        Err(why) => return wrong(&why),
    };
    let config = match load(&file) {
        Ok(config) => config,
        Err(code) => return code,
    };
    let evaluator = match Evaluator::open(config, Clock::system()) {
        Ok(evaluator) => evaluator,
        Err(mistakes) => return mistaken(&file, mistakes),
    };
    let identity = match identify(&evaluator, &given).await {
        Ok(identity) => identity,
        Err(code) => return code,
    };
    let wanted = Action::ALL
        .into_iter()
        .find(|known| Some(known.as_str()) == action.as_deref());
    match repository {
        Some(repository) => print_access(&evaluator, &identity, &repository, wanted),
        None => SUCCESS,
    }
}

impl Credential {
    fn read(self) -> Result<Given, String> {
        let read = |path: &Path| {
            std::fs::read(path).map_err(|why| format!("{}: {}", path.display(), FileError::new(path, &why)))
        };
        match self {
            Self {
                token: Some(token), ..
            } => Ok(Given::Token(Secret::new(token.trim()))),
            Self {
                token_file: Some(path),
                ..
            } => {
                let text = String::from_utf8(read(&path)?).map_err(|_| {
                    format!("{}: this file is not text, so it holds no token", path.display())
                })?;
                Ok(Given::Token(Secret::new(text.trim())))
            }
            Self { cert: Some(path), .. } => {
                let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(&path)?).collect();
                let chain = chain.ok().filter(|chain| !chain.is_empty());
                chain
                    .map(|chain| Given::Certificate(Peer::new(chain)))
                    .ok_or_else(|| format!("{}: no PEM certificate was found in this file", path.display()))
            }
            Self { .. } => Err("give --token, --token-file or --cert".to_owned()),
        }
    }
}

async fn identify(evaluator: &Evaluator, given: &Given) -> Result<Identity, u8> {
    let header;
    let presented = match given {
        Given::Token(token) => {
            header = format!("Bearer {}", token.expose());
            Presented {
                authorization: vec![header.as_bytes()],
                peer: None,
                ambient: true,
                address: None,
            }
        }
        Given::Certificate(peer) => Presented {
            authorization: Vec::new(),
            peer: Some(peer),
            ambient: true,
            address: None,
        },
    };
    let verdict = evaluator.evaluate(&presented).await;
    for tried in &verdict.tried {
        let place = evaluator.place(tried.entry);
        match &tried.outcome {
            Ok(_) => print(&format!("entry        {place}: accepts the credential")),
            Err(Failure::Refused(Refusal { reason, .. })) => {
                print(&format!("entry        {place}: rejects the credential: {reason}"))
            }
            Err(why @ (Failure::Undecidable { .. } | Failure::Busy { .. })) => {
                print(&format!("entry        {place}: cannot decide: {why}"))
            }
        }
    }
    let failure = match verdict.outcome {
        Ok(identity) => {
            print_identity(evaluator, &identity);
            return Ok(identity);
        }
        Err(failure) => failure,
    };
    match &failure {
        Failure::Refused(Refusal { reason, evidence }) => {
            print_evidence(evidence);
            print(&format!("rejected     {reason}"));
            if evidence
                .issuer
                .as_deref()
                .is_some_and(|issuer| issuer.starts_with(OWN_ISSUERS))
            {
                print(
                    "hint         a registry issued this token: present it to that registry at /v2/_wharfinger/whoami, or explain the credential that it was issued for",
                );
            }
            if matches!(reason, Refused::UnknownIssuer | Refused::UnknownTrustDomain) {
                evaluator
                    .places()
                    .for_each(|place| print(&format!("configured   {place}")));
            }
        }
        Failure::Undecidable { why, evidence } => {
            print_evidence(evidence);
            print(&format!("undecided    {why}"));
        }
        Failure::Busy { why, evidence } => {
            print_evidence(evidence);
            print(&format!("undecided    {why}"));
        }
    }
    Err(FAILED)
}

/// Prints one line. Escapes characters that the credential's issuer may have put there.
fn print(text: &str) {
    say(&printable(text));
}

fn print_evidence(evidence: &Evidence) {
    let text = evidence.to_string();
    if !text.is_empty() {
        print(&format!("credential  {text}"));
    }
}

fn print_identity(evaluator: &Evaluator, identity: &Identity) {
    let groups = if identity.groups().is_empty() {
        "none".to_owned()
    } else {
        identity.groups().join(", ")
    };
    print(&format!("credential   {}", identity.credential()));
    print(&format!("username     {}", identity.username()));
    print(&format!("groups       {groups}"));
    print(&format!("principal    {}", identity.principal()));
    print(&format!(
        "valid until  {} ({} s)",
        identity.valid_until(),
        evaluator.left(identity).as_secs()
    ));
    print(&format!(
        "claims       {}",
        serde_json::Value::Object(identity.claims().clone())
    ));
}

fn print_access(
    evaluator: &Evaluator,
    identity: &Identity,
    repository: &RepositoryName,
    wanted: Option<Action>,
) -> u8 {
    let explanation = evaluator.access(identity, repository);
    print(&format!("repository   {repository}"));
    for explained in explanation.relevant(wanted) {
        let word = if explained.is_allowed() { "yes" } else { "no " };
        print(&format!(
            "  {:10} {word}  {}",
            explained.action.as_str(),
            explanation.reason(explained.action)
        ));
    }
    if let Some(tags) = &explanation.immutable {
        print(&format!(
            "immutable    {tags} (accessControl.repositories[{:?}].immutableTags)",
            tags.repositories()
        ));
    }
    let refused = explanation
        .actions
        .iter()
        .any(|explained| Some(explained.action) == wanted && !explained.is_allowed());
    if refused { FAILED } else { SUCCESS }
}

/// The prefix of a registry's own issuer name. Only the registry that issued such a token can verify it.
const OWN_ISSUERS: &str = "urn:wharfinger:";

fn wrong(why: &str) -> u8 {
    say_error(&format!("error: {why}"));
    WRONG
}
