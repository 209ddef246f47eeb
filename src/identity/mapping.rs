//! From claims to username and groups, by CEL. If an expression fails, the credential is rejected. A mapping
//! never yields a partial result.

use super::{Attribute, Attributes, CredentialType, Refused};
use crate::expr::{self, Kind, Program, Scope, Vars};
use crate::limits::{GROUPS, USERNAME_BYTES};
use crate::spiffe_id::{SCHEME, SpiffeId};
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// Expressions as they are written in the configuration. Each sees `claims`, `vars` and `credential`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MappingSettings {
    /// Name and expression. The expression sees earlier variables as `vars.<name>`.
    pub variables: Vec<(String, String)>,
    /// Expression and message. If the expression yields `false`, the credential is rejected with the message.
    pub validations: Vec<(String, String)>,
    /// The default depends on the credential: for an ID token it is `iss`, the entry's name if it has one,
    /// and `sub`, joined by slashes; for an SVID it is the SPIFFE ID; for a plain certificate it is the
    /// common name.
    pub username: Option<String>,
    /// Without it there are no groups.
    pub groups: Option<String>,
    /// Usernames may begin like those of another configured issuer.
    pub may_name_others: bool,
}

/// A compiled mapping. The default one has no validations, the default username and no groups.
#[derive(Clone, Debug, Default)]
pub struct Mapping {
    variables: Vec<(String, Program)>,
    validations: Vec<(Program, String)>,
    username: Option<Program>,
    groups: Option<Program>,
    attributes: Option<Attributes>,
    may_name_others: bool,
}

impl Mapping {
    /// Takes usernames from attributes of client certificates, as zot does.
    #[must_use]
    pub fn by_attributes(attributes: Attributes, may_name_others: bool) -> Self {
        Self {
            attributes: Some(attributes),
            may_name_others,
            ..Self::default()
        }
    }

    /// Whether a URI of a certificate, of any scheme, may become the username.
    #[must_use]
    pub fn names_uris(&self) -> bool {
        self.attributes.as_ref().is_some_and(Attributes::names_uris)
    }

    /// Compiles the expressions. On failure it returns every mistake.
    pub fn compile(settings: &MappingSettings) -> Result<Self, Vec<InvalidMapping>> {
        let mut compiler = Compiler::default();
        let mut mapping = Self {
            may_name_others: settings.may_name_others,
            ..Self::default()
        };
        for (index, (name, expression)) in settings.variables.iter().enumerate() {
            let program =
                compiler.expression(format!("variables[{index}].expression"), expression, Kind::Any);
            compiler.declare(format!("variables[{index}].name"), name);
            mapping
                .variables
                .extend(program.map(|program| (name.clone(), program)));
        }
        for (index, (expression, message)) in settings.validations.iter().enumerate() {
            let program =
                compiler.expression(format!("validations[{index}].expression"), expression, Kind::Bool);
            mapping
                .validations
                .extend(program.map(|program| (program, message.clone())));
        }
        mapping.username = settings
            .username
            .as_ref()
            .and_then(|text| compiler.expression("username".into(), text, Kind::Text));
        mapping.groups = settings
            .groups
            .as_ref()
            .and_then(|text| compiler.expression("groups".into(), text, Kind::TextList));
        if compiler.mistakes.is_empty() {
            Ok(mapping)
        } else {
            Err(compiler.mistakes)
        }
    }

    /// Whether the mapping may yield usernames that begin like another configured issuer's.
    pub(super) const fn may_name_others(&self) -> bool {
        self.may_name_others
    }

    /// Whether there are no expressions. Then the claims need not be converted for CEL. The conversion is costly.
    const fn is_default(&self) -> bool {
        self.variables.is_empty()
            && self.validations.is_empty()
            && self.username.is_none()
            && self.groups.is_none()
    }

    pub(super) fn map(&self, verified: &Verified<'_>) -> Result<Mapped, Refused> {
        if let Some(attributes) = &self.attributes {
            let (attribute, username) = attributes
                .name(verified.claims.get("x509"))
                .ok_or(Refused::NoAttribute)?;
            let username = match attribute {
                // The URI may look like a SPIFFE ID. Policies do not match it as one, because only a verified
                // SPIFFE ID is compared with SPIFFE IDs.
                Attribute::Uri => bounded_username(username),
                _ => checked_username(username, None),
            };
            return Ok(Mapped {
                username: username?,
                groups: vec![],
            });
        }
        if self.is_default() {
            return Ok(Mapped {
                username: checked_username(verified.default_username()?, verified.spiffe_id)?,
                groups: vec![],
            });
        }
        let mut credential = Map::new();
        credential.insert("type".into(), verified.credential.as_str().into());
        let facts = Scope::new()
            .with("claims", verified.claims)
            .with("credential", &credential);
        let mut vars = Vars::default();
        for (index, (name, program)) in self.variables.iter().enumerate() {
            let value = program.value(&facts.clone().with_vars(&vars));
            vars.insert(name, value.map_err(failed(|| format!("variables[{index}]")))?);
        }
        let scope = facts.with_vars(&vars);
        for (index, (program, message)) in self.validations.iter().enumerate() {
            if !program
                .truth(&scope)
                .map_err(failed(|| format!("validations[{index}]")))?
            {
                return Err(Refused::Validation {
                    message: message.clone(),
                });
            }
        }
        let username = match &self.username {
            Some(program) => program.text(&scope).map_err(failed(|| "username".into()))?,
            None => verified.default_username()?,
        };
        let groups = match &self.groups {
            Some(program) => program.texts(&scope).map_err(failed(|| "groups".into()))?,
            None => vec![],
        };
        Ok(Mapped {
            username: checked_username(username, verified.spiffe_id)?,
            groups: checked_groups(groups)?,
        })
    }
}

/// The input of a mapping: what verification proved.
pub(super) struct Verified<'a> {
    pub(super) credential: CredentialType,
    /// The name of the entry that accepted an ID token, if it has one.
    pub(super) entry: Option<&'a str>,
    pub(super) claims: &'a Map<String, Value>,
    /// The SPIFFE ID of an SVID.
    pub(super) spiffe_id: Option<&'a SpiffeId>,
    /// The common name of a certificate.
    pub(super) common_name: Option<&'a str>,
}

impl Verified<'_> {
    fn default_username(&self) -> Result<String, Refused> {
        let text = |claim| self.claims.get(claim).and_then(Value::as_str).unwrap_or_default();
        match (self.spiffe_id, self.credential) {
            (Some(id), _) => Ok(id.to_string()),
            (None, CredentialType::Oidc) => Ok(match self.entry {
                Some(entry) => format!("{}/{entry}/{}", text("iss"), text("sub")),
                None => format!("{}/{}", text("iss"), text("sub")),
            }),
            (None, _) => Ok(self.common_name.ok_or(Refused::NoCommonName)?.to_owned()),
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mapped {
    pub(super) username: String,
    /// Sorted, without duplicates.
    pub(super) groups: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {why}")]
pub struct InvalidMapping {
    /// Which part, as in `validations[1].expression`.
    pub key: String,
    pub why: String,
}

/// Collects mistakes, and the variables that later expressions may use.
#[derive(Default)]
struct Compiler {
    declared: BTreeSet<String>,
    mistakes: Vec<InvalidMapping>,
}

impl Compiler {
    fn expression(&mut self, key: String, source: &str, kind: Kind) -> Option<Program> {
        match expr::compile(
            source,
            kind,
            &["claims", "vars", "credential"],
            Some(&self.declared),
        ) {
            Ok(program) => Some(program),
            Err(why) => {
                self.mistakes.push(InvalidMapping {
                    key,
                    why: why.to_string(),
                });
                None
            }
        }
    }

    /// Declares a variable even if its expression is wrong, so that one mistake is not reported twice.
    fn declare(&mut self, key: String, name: &str) {
        let first = name
            .bytes()
            .next()
            .is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
        if !first || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            let why = format!("expected a letter or `_`, then letters, digits and `_`, found {name:?}");
            self.mistakes.push(InvalidMapping { key, why });
        } else if !self.declared.insert(name.to_owned()) {
            self.mistakes.push(InvalidMapping {
                key,
                why: format!("there is a variable {name:?} already; give this one another name"),
            });
        }
    }
}

fn failed(part: impl FnOnce() -> String) -> impl FnOnce(expr::Failed) -> Refused {
    |why| Refused::Mapping { part: part(), why }
}

/// All usernames share one namespace, in which only SVIDs have names that begin with `spiffe://`.
fn checked_username(username: String, spiffe_id: Option<&SpiffeId>) -> Result<String, Refused> {
    if spiffe_id.is_some_and(|id| id.as_str() == username) {
        return Ok(username);
    }
    if is_spiffe(&username) {
        Err(Refused::UsernameIsSpiffeId)
    } else {
        bounded_username(username)
    }
}

fn bounded_username(username: String) -> Result<String, Refused> {
    match username.len() {
        0 => Err(Refused::EmptyUsername),
        bytes if bytes > USERNAME_BYTES => Err(Refused::UsernameTooLong { bytes }),
        _ => Ok(username),
    }
}

/// Ignores case, so that a mapped name never looks like a verified one.
fn is_spiffe(username: &str) -> bool {
    username
        .get(..SCHEME.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(SCHEME))
}

fn checked_groups(mut groups: Vec<String>) -> Result<Vec<String>, Refused> {
    groups.sort_unstable();
    groups.dedup();
    if groups.len() > GROUPS {
        return Err(Refused::TooManyGroups { found: groups.len() });
    }
    match groups
        .iter()
        .map(String::len)
        .find(|bytes| *bytes > USERNAME_BYTES)
    {
        Some(bytes) => Err(Refused::GroupTooLong { bytes }),
        None => Ok(groups),
    }
}
