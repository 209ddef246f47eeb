//! Reading a manifest: what it is, what it needs, what it refers to. The bytes themselves are stored as they came.
//!
//! <https://github.com/opencontainers/image-spec/blob/v1.1.1/manifest.md>,
//! <https://github.com/opencontainers/image-spec/blob/v1.1.1/image-index.md>

use super::{Digest, InvalidDigest, ManifestType};
use crate::object::{self, Object};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A descriptor as it stands in a manifest (image-spec, descriptor.md). Unknown members are ignored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    pub media_type: String,
    #[serde(serialize_with = "as_text")]
    pub digest: Digest,
    pub size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// What the registry reads of a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    pub media_type: ManifestType,
    /// The manifest's own `artifactType`, else its config's media type (distribution-spec, Listing Referrers).
    pub artifact_type: Option<String>,
    pub annotations: BTreeMap<String, String>,
    /// Config and layers that the repository must hold. Non-distributable layers and descriptors with `data` are left out.
    pub blobs: Vec<Digest>,
    /// An index's children.
    pub manifests: Vec<Digest>,
    /// May be absent from the registry.
    pub subject: Option<Digest>,
}

impl Manifest {
    /// `content_type` is the request's header, if it had one; it must agree with the manifest's own `mediaType`.
    pub fn parse(content_type: Option<&str>, bytes: &[u8]) -> Result<Self, InvalidManifest> {
        let raw: Raw = object::read(bytes).map_err(InvalidManifest::Json)?;
        let media_type = raw.media_type(content_type)?;
        if raw.schema_version != 2 {
            return Err(InvalidManifest::SchemaVersion(raw.schema_version));
        }
        if media_type.is_index() != raw.manifests.is_some() || media_type.is_index() == raw.config.is_some() {
            return Err(InvalidManifest::Shape(media_type));
        }
        let mut blobs = Vec::new();
        for blob in raw.config.iter().chain(raw.layers.iter().flatten().map(|Object(layer)| layer)) {
            let digest: Digest = blob.digest.parse()?;
            if blob.data.is_none() && !is_nondistributable(&blob.media_type) {
                blobs.push(digest);
            }
        }
        let manifests = raw.manifests.iter().flatten().map(|Object(child)| child).filter(|child| child.data.is_none());
        let config_type = raw.config.as_ref().map(|config| config.media_type.clone());
        Ok(Self {
            media_type,
            artifact_type: raw.artifact_type.filter(|text| !text.is_empty()).or(config_type).filter(|text| !text.is_empty()),
            annotations: raw.annotations.unwrap_or_default(),
            blobs,
            manifests: manifests.map(|child| child.digest.parse()).collect::<Result<_, _>>()?,
            subject: raw.subject.map(|subject| subject.digest.parse()).transpose()?,
        })
    }
}

#[derive(Debug, thiserror::Error)]
pub enum InvalidManifest {
    #[error("the manifest is not the JSON that its type asks for: {0}")]
    Json(String),
    #[error("Content-Type {header} and the manifest's mediaType {field} differ")]
    TypeMismatch { header: String, field: String },
    #[error("media type {0} is not accepted: push an OCI manifest or index, or a Docker schema 2 manifest or list")]
    UnknownType(String),
    #[error("schemaVersion must be 2, not {0}")]
    SchemaVersion(u64),
    #[error("{0} needs `config` and `layers` if it is an image, `manifests` if it is an index, and not both")]
    Shape(ManifestType),
    #[error("a descriptor's digest is not valid: {0}")]
    Digest(#[from] InvalidDigest),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    schema_version: u64,
    media_type: Option<String>,
    artifact_type: Option<String>,
    #[serde(default, deserialize_with = "object::optional")]
    config: Option<RawDescriptor>,
    layers: Option<Vec<Object<RawDescriptor>>>,
    manifests: Option<Vec<Object<RawDescriptor>>>,
    #[serde(default, deserialize_with = "object::optional")]
    subject: Option<RawDescriptor>,
    #[serde(default, deserialize_with = "object::texts")]
    annotations: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawDescriptor {
    #[serde(default)]
    media_type: String,
    digest: String,
    data: Option<String>,
}

impl Raw {
    /// The header and the field must name the same type; either may be missing, and without both the shape tells.
    fn media_type(&self, content_type: Option<&str>) -> Result<ManifestType, InvalidManifest> {
        let known = |text: &str| text.parse().map_err(|()| InvalidManifest::UnknownType(text.to_owned()));
        let field = self.media_type.as_deref().filter(|text| !text.is_empty());
        match (content_type, field) {
            (Some(header), Some(field)) if known(header)? != known(field)? => {
                Err(InvalidManifest::TypeMismatch { header: header.to_owned(), field: field.to_owned() })
            }
            (Some(text), _) | (None, Some(text)) => known(text),
            (None, None) if self.manifests.is_some() => Ok(ManifestType::OciIndex),
            (None, None) => Ok(ManifestType::OciManifest),
        }
    }
}

/// Layers that a registry need not hold: Docker's foreign layers and OCI's non-distributable ones.
fn is_nondistributable(media_type: &str) -> bool {
    media_type.starts_with("application/vnd.oci.image.layer.nondistributable.")
        || media_type == "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
}

fn as_text<S: serde::Serializer>(digest: &Digest, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(digest.as_str())
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
    fn an_image_needs_what_is_distributable_and_not_embedded() {
        let manifest = parse(Some(IMAGE), &image()).unwrap();
        let blobs: Vec<_> = manifest.blobs.iter().map(Digest::as_str).collect();
        assert_eq!(blobs, [digest('c'), digest('1')]);
        assert_eq!(manifest.artifact_type.as_deref(), Some("application/vnd.example+json"));
        assert_eq!(manifest.subject.unwrap().as_str(), digest('5'));
        assert_eq!(manifest.annotations["k"], "v");
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
        assert!(matches!(parse(Some(INDEX), &image()), Err(InvalidManifest::TypeMismatch { .. })));
        assert!(matches!(parse(Some("application/json"), &image()), Err(InvalidManifest::UnknownType(_))));
        assert!(parse(None, &image()).is_ok());
    }

    #[test]
    fn what_is_not_a_manifest() {
        let mut no_config = image();
        no_config.as_object_mut().unwrap().remove("config");
        assert!(matches!(parse(Some(IMAGE), &no_config), Err(InvalidManifest::Shape(_))));
        let mut both = image();
        both["manifests"] = json!([]);
        assert!(matches!(parse(Some(IMAGE), &both), Err(InvalidManifest::Shape(_))));
        let mut old = image();
        old["schemaVersion"] = json!(1);
        assert!(matches!(parse(Some(IMAGE), &old), Err(InvalidManifest::SchemaVersion(1))));
        let mut bad = image();
        bad["layers"][0]["digest"] = json!("sha256:short");
        assert!(matches!(parse(Some(IMAGE), &bad), Err(InvalidManifest::Digest(_))));
        assert!(matches!(Manifest::parse(None, b"{"), Err(InvalidManifest::Json(_))));
    }

    #[test]
    fn a_list_is_no_object_at_any_level() {
        let (descriptor, config) = (json!([IMAGE, digest('a'), null]), &image()["config"]);
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
            let why = Manifest::parse(None, manifest.to_string().as_bytes()).unwrap_err().to_string();
            assert!(
                why.starts_with("the manifest is not the JSON that its type asks for: expected an object, found a list at line 1"),
                "{why}"
            );
        }
        let why = Manifest::parse(None, br#"{"schemaVersion":"2"}"#).unwrap_err().to_string();
        assert!(why.contains(r#"expected a whole number, not negative, found "2" at line 1"#), "{why}");
    }

    #[test]
    fn a_member_that_is_there_twice_is_refused() {
        let config = format!(r#"{{"mediaType":"a","digest":"{}","size":2}}"#, digest('c'));
        let with =
            |members: &str| Manifest::parse(None, format!(r#"{{"schemaVersion":2,"config":{config},"layers":[]{members}}}"#).as_bytes());
        assert_eq!(with(r#","annotations":{"a":"1","b":"1"}"#).unwrap().annotations.len(), 2);
        assert!(with(r#","annotations":null"#).unwrap().annotations.is_empty());
        for (members, why) in [
            (r#","annotations":{"a":"1","a":"2"}"#, r#"the member "a" is there twice in one object at line 1"#),
            (r#","annotations":{"a":"1","\u0061":"1"}"#, r#"the member "a" is there twice in one object at line 1"#),
            (r#","annotations":{"a":"1"},"annotations":{"a":"2"}"#, "duplicate field `annotations` at line 1"),
            (r#","annotations":[]"#, "expected an object, found a list at line 1"),
            (r#","annotations":{"a":1}"#, "expected a string, found `1` at line 1"),
        ] {
            let found = with(members).unwrap_err().to_string();
            assert!(found.contains(why), "{members}: {found}");
        }
    }
}
