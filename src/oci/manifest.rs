//! Parses a manifest: its type, the content that it needs, and the content that it refers to. The bytes are
//! stored unchanged.
//!
//! <https://github.com/opencontainers/image-spec/blob/v1.1.1/manifest.md>,
//! <https://github.com/opencontainers/image-spec/blob/v1.1.1/image-index.md>

use super::descriptor::{self, Flaw, Place, Referred};
use super::{Annotations, InvalidDigest, ManifestType};
use crate::limits::MEDIA_TYPE_BYTES;
use crate::object::{self, Object};
use serde::{Deserialize, Deserializer};

/// The parts of a manifest that the registry uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    pub media_type: ManifestType,
    /// The manifest's own `artifactType`, or its config's media type (distribution-spec, Listing Referrers).
    pub artifact_type: Option<String>,
    pub annotations: Annotations,
    /// The blobs that the repository must hold: config, layers, and children of an index that are not
    /// manifests by their media type, as in BuildKit's caches.
    pub blobs: Vec<Referred>,
    /// Non-distributable layers, which the repository need not hold.
    pub foreign: Vec<Referred>,
    /// An index's children.
    pub manifests: Vec<Referred>,
    /// The subject. It may be absent from the registry.
    pub subject: Option<Referred>,
    /// The first flaw of a descriptor that does not depend on the repository's content.
    pub flaw: Option<Flaw>,
}

impl Manifest {
    /// Parses a manifest. `content_type` is the request's header, if any. It must agree with the manifest's
    /// own `mediaType`.
    pub fn parse(content_type: Option<&str>, bytes: &[u8]) -> Result<Self, InvalidManifest> {
        // Check the type first: the fields of another type could give misleading errors.
        content_type.map(known).transpose()?;
        let raw: Raw = object::read(bytes).map_err(InvalidManifest::Json)?;
        let media_type = raw.media_type(content_type)?;
        raw.check_shape(media_type)?;
        let mut flaw = raw.long_type();
        let mut blobs = Vec::new();
        let mut foreign = Vec::new();
        let mut manifests = Vec::new();
        if let Some(config) = &raw.config {
            blobs.push(referred(config, Place::Config, &mut flaw)?);
        }
        for (index, Object(layer)) in raw.layers.iter().flatten().flatten().enumerate() {
            let list = if is_nondistributable(&layer.media_type) {
                &mut foreign
            } else {
                &mut blobs
            };
            list.push(referred(layer, Place::Layer(index), &mut flaw)?);
        }
        for (index, Object(child)) in raw.manifests.iter().flatten().flatten().enumerate() {
            let is_manifest = child.media_type.is_empty() || child.media_type.parse::<ManifestType>().is_ok();
            let list = if is_manifest { &mut manifests } else { &mut blobs };
            list.push(referred(child, Place::Manifest(index), &mut flaw)?);
        }
        let subject = raw
            .subject
            .map(|subject| referred(&subject, Place::Subject, &mut flaw))
            .transpose()?;
        let config_type = raw.config.map(|config| config.media_type);
        Ok(Self {
            media_type,
            artifact_type: raw
                .artifact_type
                .filter(|text| !text.is_empty())
                .or(config_type)
                .filter(|text| !text.is_empty()),
            annotations: raw.annotations.unwrap_or_default(),
            blobs,
            foreign,
            manifests,
            subject,
            flaw,
        })
    }

    /// Returns all content that it refers to.
    pub fn referred(&self) -> impl Iterator<Item = &Referred> {
        self.blobs
            .iter()
            .chain(&self.foreign)
            .chain(&self.manifests)
            .chain(&self.subject)
    }
}

#[derive(Debug, thiserror::Error)]
pub enum InvalidManifest {
    #[error("the manifest is not valid JSON of its type: {0}")]
    Json(String),
    #[error("Content-Type {header} and the manifest's mediaType {field} differ")]
    TypeMismatch { header: String, field: String },
    #[error("media type {0} is not accepted: push one of {list}", list = Accepted)]
    UnknownType(String),
    #[error("schemaVersion must be 2, not {0}")]
    SchemaVersion(u64),
    #[error("schemaVersion is missing: it must be 2")]
    NoSchemaVersion,
    #[error("{media_type} needs `{member}`, and the manifest has none")]
    Lacks {
        media_type: ManifestType,
        member: &'static str,
    },
    #[error(
        "{media_type} must not have `{member}`: an image has `config` and `layers`, an index has `manifests`"
    )]
    Surplus {
        media_type: ManifestType,
        member: &'static str,
    },
    #[error("the digest of {place} is not valid: {why}")]
    Digest { place: Place, why: InvalidDigest },
    #[error(transparent)]
    Descriptor(#[from] Flaw),
}

/// Shows the accepted media types for a message.
struct Accepted;

impl std::fmt::Display for Accepted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&ManifestType::ALL.map(ManifestType::as_str).join(", "))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    schema_version: Option<u64>,
    media_type: Option<String>,
    artifact_type: Option<String>,
    #[serde(default, deserialize_with = "object::optional")]
    config: Option<descriptor::Raw>,
    #[serde(default, deserialize_with = "given")]
    layers: Option<List>,
    #[serde(default, deserialize_with = "given")]
    manifests: Option<List>,
    #[serde(default, deserialize_with = "object::optional")]
    subject: Option<descriptor::Raw>,
    annotations: Option<Annotations>,
}

/// A list that is present. It may be null, which Go writes for an empty list.
type List = Option<Vec<Object<descriptor::Raw>>>;

fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<List>, D::Error> {
    List::deserialize(deserializer).map(Some)
}

impl Raw {
    fn long_type(&self) -> Option<Flaw> {
        let config = self.config.as_ref().map_or("", |config| &config.media_type);
        let types = [
            ("artifactType", self.artifact_type.as_deref().unwrap_or_default()),
            ("config.mediaType", config),
        ];
        let long = types.into_iter().find(|(_, text)| text.len() > MEDIA_TYPE_BYTES);
        long.map(|(member, text)| Flaw::LongType {
            member,
            found: text.len(),
        })
    }

    /// Returns the type. The header and the field must agree. If both are missing, the members decide.
    fn media_type(&self, content_type: Option<&str>) -> Result<ManifestType, InvalidManifest> {
        let field = self.media_type.as_deref().filter(|text| !text.is_empty());
        match (content_type, field) {
            (Some(header), Some(field)) if known(header)? != known(field)? => {
                Err(InvalidManifest::TypeMismatch {
                    header: header.to_owned(),
                    field: field.to_owned(),
                })
            }
            (Some(text), _) | (None, Some(text)) => known(text),
            (None, None) if self.manifests.is_some() && self.config.is_none() => Ok(ManifestType::OciIndex),
            (None, None) => Ok(ManifestType::OciManifest),
        }
    }

    /// Rejects a manifest that some clients could read as an image and others as an index.
    fn check_shape(&self, media_type: ManifestType) -> Result<(), InvalidManifest> {
        match self.schema_version {
            Some(2) => {}
            Some(other) => return Err(InvalidManifest::SchemaVersion(other)),
            None => return Err(InvalidManifest::NoSchemaVersion),
        }
        let has_items = |list: &Option<List>| list.as_ref().is_some_and(Option::is_some);
        let (needed, surplus) = if media_type.is_index() {
            (
                &[("manifests", self.manifests.is_some())][..],
                [
                    ("config", self.config.is_some()),
                    ("layers", has_items(&self.layers)),
                ],
            )
        } else {
            (
                &[
                    ("config", self.config.is_some()),
                    ("layers", self.layers.is_some()),
                ][..],
                [("manifests", has_items(&self.manifests)), ("manifests", false)],
            )
        };
        if let Some((member, _)) = surplus.into_iter().find(|(_, there)| *there) {
            return Err(InvalidManifest::Surplus { media_type, member });
        }
        match needed.iter().find(|(_, there)| !there) {
            Some((member, _)) => Err(InvalidManifest::Lacks { media_type, member }),
            None => Ok(()),
        }
    }
}

fn referred(
    descriptor: &descriptor::Raw,
    place: Place,
    flaw: &mut Option<Flaw>,
) -> Result<Referred, InvalidManifest> {
    descriptor
        .at(place, flaw)
        .map_err(|why| InvalidManifest::Digest { place, why })
}

fn known(text: &str) -> Result<ManifestType, InvalidManifest> {
    text.parse()
        .map_err(|()| InvalidManifest::UnknownType(text.to_owned()))
}

/// Whether a registry need not hold this layer: a Docker foreign layer or an OCI non-distributable one.
fn is_nondistributable(media_type: &str) -> bool {
    media_type.starts_with("application/vnd.oci.image.layer.nondistributable.")
        || media_type.starts_with("application/vnd.docker.image.rootfs.foreign.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
    const INDEX: &str = "application/vnd.oci.image.index.v1+json";

    fn digest(fill: char) -> String {
        format!("sha256:{}", fill.to_string().repeat(64))
    }

    fn image() -> Value {
        json!({
            "schemaVersion": 2, "mediaType": IMAGE, "unknown": {"member": true},
            "config": {"mediaType": "application/vnd.example+json", "digest": digest('c'), "size": 2},
            "layers": [
                {"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": digest('1'), "size": 1},
                {"mediaType": "application/vnd.oci.image.layer.nondistributable.v1.tar", "digest": digest('2'), "size": 1},
                {"mediaType": "application/octet-stream", "digest": digest('3'), "size": 1, "data": "eA=="},
            ],
            "subject": {"mediaType": IMAGE, "digest": digest('5'), "size": 3},
            "annotations": {"k": "v"},
        })
    }

    fn parse(header: Option<&str>, manifest: &Value) -> Result<Manifest, InvalidManifest> {
        Manifest::parse(header, manifest.to_string().as_bytes())
    }

    #[test]
    fn an_image_needs_what_is_distributable() {
        let manifest = parse(Some(IMAGE), &image()).unwrap();
        let of = |list: &[Referred]| {
            list.iter()
                .map(|one| (one.place, one.digest.to_string(), one.embedded))
                .collect::<Vec<_>>()
        };
        let embedded = (Place::Layer(2), digest('3'), true);
        assert_eq!(
            of(&manifest.blobs),
            [
                (Place::Config, digest('c'), false),
                (Place::Layer(0), digest('1'), false),
                embedded
            ]
        );
        assert_eq!(of(&manifest.foreign), [(Place::Layer(1), digest('2'), false)]);
        assert!(matches!(
            manifest.flaw,
            Some(Flaw::DataDigest {
                place: Place::Layer(2),
                ..
            })
        ));
        assert_eq!(
            manifest.artifact_type.as_deref(),
            Some("application/vnd.example+json")
        );
        assert_eq!(manifest.subject.unwrap().digest.as_str(), digest('5'));
        assert_eq!(manifest.annotations.to_map()["k"], "v");
    }

    #[test]
    fn an_index_lists_manifests_and_has_no_artifact_type_of_its_own() {
        let manifest =
            parse(None, &json!({"schemaVersion": 2, "manifests": [{"mediaType": IMAGE, "digest": digest('a'), "size": 1}]})).unwrap();
        assert_eq!(manifest.media_type, ManifestType::OciIndex);
        assert_eq!(manifest.manifests.len(), 1);
        assert_eq!(manifest.artifact_type, None);
        assert!(parse(Some(INDEX), &json!({"schemaVersion": 2, "manifests": []})).is_ok());
    }

    #[test]
    fn header_and_field_must_agree() {
        assert!(matches!(
            parse(Some(INDEX), &image()),
            Err(InvalidManifest::TypeMismatch { .. })
        ));
        assert!(matches!(
            parse(Some("application/json"), &image()),
            Err(InvalidManifest::UnknownType(_))
        ));
        assert!(parse(None, &image()).is_ok());
    }

    #[test]
    fn an_invalid_manifest_is_rejected() {
        let mut no_config = image();
        no_config.as_object_mut().unwrap().remove("config");
        assert!(matches!(
            parse(Some(IMAGE), &no_config),
            Err(InvalidManifest::Lacks { member: "config", .. })
        ));
        let mut old = image();
        old["schemaVersion"] = json!(1);
        assert!(matches!(
            parse(Some(IMAGE), &old),
            Err(InvalidManifest::SchemaVersion(1))
        ));
        let mut bad = image();
        bad["layers"][0]["digest"] = json!("sha256:short");
        assert!(matches!(
            parse(Some(IMAGE), &bad),
            Err(InvalidManifest::Digest {
                place: Place::Layer(0),
                ..
            })
        ));
        assert!(matches!(
            Manifest::parse(None, b"{"),
            Err(InvalidManifest::Json(_))
        ));
    }

    #[test]
    fn a_manifest_has_the_lists_of_its_own_kind_only() {
        for (image, index) in [
            (IMAGE, INDEX),
            (
                ManifestType::DockerManifest.as_str(),
                ManifestType::DockerManifestList.as_str(),
            ),
        ] {
            let config = json!({"mediaType": "a/b", "digest": digest('c'), "size": 2});
            let mistake = |media_type: &str, members: &Value| {
                let mut manifest = json!({"schemaVersion": 2, "mediaType": media_type});
                manifest
                    .as_object_mut()
                    .unwrap()
                    .extend(members.as_object().unwrap().clone());
                parse(None, &manifest).map_or_else(|why| why.to_string(), |_| String::new())
            };
            for (media_type, members) in [
                (image, json!({"config": config, "layers": []})),
                (image, json!({"config": config, "layers": null})),
                (
                    image,
                    json!({"config": config, "layers": null, "manifests": null}),
                ),
                (index, json!({"manifests": []})),
                (index, json!({"manifests": null})),
                (index, json!({"manifests": null, "config": null, "layers": null})),
            ] {
                assert_eq!(mistake(media_type, &members), "", "{media_type} {members}");
            }
            for (media_type, members, why) in [
                (
                    image,
                    json!({"config": config}),
                    "needs `layers`, and the manifest has none",
                ),
                (
                    image,
                    json!({"layers": []}),
                    "needs `config`, and the manifest has none",
                ),
                (index, json!({}), "needs `manifests`, and the manifest has none"),
                (
                    image,
                    json!({"config": config, "layers": [], "manifests": []}),
                    "must not have `manifests`",
                ),
                (
                    index,
                    json!({"manifests": [], "layers": []}),
                    "must not have `layers`",
                ),
                (
                    index,
                    json!({"manifests": [], "config": config}),
                    "must not have `config`",
                ),
            ] {
                let found = mistake(media_type, &members);
                assert!(
                    found.starts_with(&format!("{media_type} {why}")),
                    "{members}: {found}"
                );
            }
        }
    }

    #[test]
    fn children_that_are_not_manifests_are_blobs() {
        let child =
            |media_type: &str, fill| json!({"mediaType": media_type, "digest": digest(fill), "size": 1});
        let manifest = parse(
            None,
            &json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [
                child("application/vnd.oci.image.layer.v1.tar+gzip", '1'), child(IMAGE, '2'),
                child("application/vnd.buildkit.cacheconfig.v0", '3'), {"digest": digest('4'), "size": 1},
            ]}),
        );
        let manifest = manifest.unwrap();
        let places = |list: &[Referred]| list.iter().map(|one| one.place).collect::<Vec<_>>();
        assert_eq!(places(&manifest.blobs), [Place::Manifest(0), Place::Manifest(2)]);
        assert_eq!(
            places(&manifest.manifests),
            [Place::Manifest(1), Place::Manifest(3)]
        );
    }

    #[test]
    fn a_rejected_media_type_is_named_with_the_accepted_ones() {
        let artifact = "application/vnd.oci.artifact.manifest.v1+json";
        let manifest =
            json!({"mediaType": artifact, "artifactType": "a/b", "blobs": [], "subject": null, "layers": 7});
        for (header, manifest) in [
            (Some(artifact), manifest),
            (None, json!({"mediaType": artifact, "blobs": []})),
        ] {
            let why = parse(header, &manifest).unwrap_err().to_string();
            assert!(
                why.starts_with(&format!(
                    "media type {artifact} is not accepted: push one of {IMAGE}, {INDEX}, "
                )),
                "{why}"
            );
        }
        let why = parse(Some(IMAGE), &json!({"config": null})).unwrap_err();
        assert!(matches!(why, InvalidManifest::NoSchemaVersion));
    }

    #[test]
    fn a_list_is_not_accepted_as_an_object_at_any_level() {
        let descriptor = json!([IMAGE, digest('a'), null]);
        let config = &image()["config"];
        let by_position = json!([2, IMAGE, null, config, [], null, null, {}]);
        let mut manifests = vec![by_position, json!([])];
        for member in ["config", "subject"] {
            let mut manifest = image();
            manifest[member] = descriptor.clone();
            manifests.push(manifest);
        }
        let mut manifest = image();
        manifest["layers"][0] = descriptor.clone();
        manifests.extend([manifest, json!({"schemaVersion": 2, "manifests": [descriptor]})]);
        for manifest in manifests {
            let why = Manifest::parse(None, manifest.to_string().as_bytes())
                .unwrap_err()
                .to_string();
            assert!(
                why.starts_with(
                    "the manifest is not valid JSON of its type: expected an object, found a list at line 1"
                ),
                "{why}"
            );
        }
        let why = Manifest::parse(None, br#"{"schemaVersion":"2"}"#)
            .unwrap_err()
            .to_string();
        assert!(
            why.contains(r#"expected a whole number, not negative, found "2" at line 1"#),
            "{why}"
        );
    }

    #[test]
    fn a_repeated_member_is_rejected() {
        let config = format!(r#"{{"mediaType":"a","digest":"{}","size":2}}"#, digest('c'));
        let with = |members: &str| {
            Manifest::parse(
                None,
                format!(r#"{{"schemaVersion":2,"config":{config},"layers":[]{members}}}"#).as_bytes(),
            )
        };
        assert_eq!(
            with(r#","annotations":{"a":"1","b":"1"}"#)
                .unwrap()
                .annotations
                .to_map()
                .len(),
            2
        );
        assert!(with(r#","annotations":null"#).unwrap().annotations.is_empty());
        for (members, why) in [
            (
                r#","annotations":{"a":"1","a":"2"}"#,
                r#"the member "a" appears twice in one object at line 1"#,
            ),
            (
                r#","annotations":{"a":"1","\u0061":"1"}"#,
                r#"the member "a" appears twice in one object at line 1"#,
            ),
            (
                r#","annotations":{"a":"1"},"annotations":{"a":"2"}"#,
                "duplicate field `annotations` at line 1",
            ),
            (
                r#","annotations":[]"#,
                "expected an object, found a list at line 1",
            ),
            (
                r#","annotations":{"a":1}"#,
                "expected a string, found `1` at line 1",
            ),
        ] {
            let found = with(members).unwrap_err().to_string();
            assert!(found.contains(why), "{members}: {found}");
        }
    }
}
