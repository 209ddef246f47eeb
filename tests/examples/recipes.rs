//! The recipes in `docs/how-to/`: each section has a configuration, and the claims of a token or the SPIFFE ID
//! that its system issues. The caller gets the username that the section promises, and a stranger of the same
//! system is rejected.

use crate::harness::{Registry, folder, parse, refused};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use wharfinger::identity::Refused;

/// By heading, the code blocks with their languages.
fn sections(page: &str) -> BTreeMap<String, Vec<(String, String)>> {
    let text = fs::read_to_string(folder("docs/how-to").join(page)).unwrap();
    let sections = text.split("\n## ").skip(1);
    sections
        .map(|section| {
            let heading = section.lines().next().unwrap().to_owned();
            let blocks = section.split("```").skip(1).step_by(2).map(|block| {
                let (language, code) = block.split_once('\n').unwrap();
                (language.trim().to_owned(), code.to_owned())
            });
            (heading, blocks.collect())
        })
        .collect()
}

fn block<'a>(blocks: &'a [(String, String)], language: &str) -> &'a str {
    let mut found = blocks.iter().filter(|(it, _)| it == language);
    let (_, code) = found.next().unwrap_or_else(|| panic!("no block of {language}"));
    code
}

fn registry(blocks: &[(String, String)]) -> Registry {
    let text = format!("storage: {{rootDirectory: store}}\n{}", block(blocks, "yaml"));
    Registry::of(parse(&text).unwrap_or_else(|mistakes| panic!("{text}: {mistakes:?}")))
}

struct Recipe {
    section: &'static str,
    username: &'static str,
    groups: &'static [&'static str],
    /// A claim in which a stranger's token differs.
    differs: &'static str,
}

async fn follow(page: &str, recipes: &[Recipe]) {
    let sections = sections(page);
    let headings: Vec<_> = sections.keys().map(String::as_str).collect();
    let mut tried: Vec<_> = recipes.iter().map(|recipe| recipe.section).collect();
    tried.sort_unstable();
    assert_eq!(headings, tried, "{page}: a section has no test");
    for recipe in recipes {
        let name = recipe.section;
        let blocks = &sections[name];
        let registry = registry(blocks);
        let claims: Value = serde_json::from_str(block(blocks, "json")).unwrap();
        let caller = registry
            .token(claims.clone())
            .await
            .unwrap_or_else(|why| panic!("{name}: {why:?}"));
        assert_eq!(caller.username(), recipe.username, "{name}");
        assert_eq!(caller.groups(), recipe.groups, "{name}");

        let mut stranger = claims.clone();
        let before = stranger[recipe.differs].take();
        assert!(before.is_string(), "{name} has no claim {}", recipe.differs);
        stranger[recipe.differs] = json!("spiffe://elsewhere.example/someone");
        refused(registry.token(stranger).await);

        let mut elsewhere = claims;
        elsewhere["aud"] = json!("another-service");
        let reason = refused(registry.token(elsewhere).await);
        assert!(
            matches!(
                reason,
                Refused::Jwt(wharfinger::trust::jwt::Rejected::Audience { .. })
            ),
            "{name}: {reason:?}"
        );
    }
}

#[tokio::test]
async fn tokens_of_ci_systems_get_the_names_that_the_page_promises() {
    follow(
        "ci.md",
        &[
            Recipe {
                section: "CircleCI",
                username: "circleci:5e0d2f0e-6c7f-4e5d-8f2e-1d2c3b4a5f60",
                groups: &["main"],
                differs: "iss",
            },
            Recipe {
                section: "Buildkite",
                username: "buildkite:0184990a-477b-4fa8-9968-496074483c1d",
                groups: &["main"],
                differs: "organization_id",
            },
            Recipe {
                section: "Bitbucket",
                username: "bitbucket:{1f2e3d4c-5b6a-4798-8a9b-0c1d2e3f4a5b}",
                groups: &["main"],
                differs: "workspaceUuid",
            },
            Recipe {
                section: "Azure DevOps",
                username: "azure-devops:sc://acme/web/registry-push",
                groups: &[],
                differs: "sub",
            },
            Recipe {
                section: "HCP Terraform",
                username: "terraform:ws-mbsd5E3Ktt5Rg2Xm",
                groups: &["apply"],
                differs: "terraform_organization_id",
            },
        ],
    )
    .await;
}

#[tokio::test]
async fn tokens_of_identity_providers_get_the_names_that_the_page_promises() {
    follow(
        "identity-providers.md",
        &[
            Recipe {
                section: "Keycloak",
                username: "keycloak:builder",
                groups: &[],
                differs: "azp",
            },
            Recipe {
                section: "Microsoft Entra ID",
                username: "entra:c40e6a5c-9f54-4c3f-8e1e-51b7c7f6d2a0",
                groups: &[],
                differs: "idtyp",
            },
            Recipe {
                section: "Google",
                username: "google:113774264463038321964",
                groups: &[],
                differs: "sub",
            },
            Recipe {
                section: "AWS",
                username: "aws:arn:aws:iam::123456789012:role/registry/builder",
                groups: &[],
                differs: "sub",
            },
            Recipe {
                section: "Vault",
                username: "spiffe://vault.example.org/ci/builder",
                groups: &[],
                differs: "sub",
            },
        ],
    )
    .await;
}

#[tokio::test]
async fn certificates_of_meshes_get_the_permissions_that_the_page_promises() {
    let sections = sections("meshes.md");
    assert_eq!(sections.len(), 5);
    for (heading, blocks) in &sections {
        let id = blocks
            .iter()
            .filter(|(language, _)| language == "text")
            .map(|(_, code)| code.trim())
            .find(|code| code.starts_with("spiffe://"));
        let Some(id) = id else {
            assert_eq!(heading, "Linkerd", "only Linkerd has no SPIFFE IDs");
            continue;
        };
        let registry = registry(blocks);
        let caller = registry.certificate(id).await.unwrap();
        assert_eq!(caller.username(), id, "{heading}");
        assert_eq!(
            (
                registry.rights(&caller, "team-a/web"),
                registry.rights(&caller, "team-b/web")
            ),
            ("r".into(), String::new()),
            "{heading}"
        );
        let stranger = format!("{id}-2").replace("/team-a/", "/team-b/");
        let stranger = registry.certificate(&stranger).await.unwrap();
        assert_eq!(registry.rights(&stranger, "team-a/web"), "", "{heading}");
    }
}
