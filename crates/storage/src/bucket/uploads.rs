//! The list of multipart uploads that are neither completed nor aborted (`ListMultipartUploads`).

use serde::Deserialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use wharfinger_base::clock::Timestamp;

/// A multipart upload under way.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unfinished {
    pub key: String,
    pub upload: String,
    /// `None` if the service does not tell.
    pub begun: Option<Timestamp>,
}

/// Where the next page begins. Empty for the first page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Marker {
    /// With the root.
    pub key: String,
    pub upload: String,
}

/// A page.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Uploads {
    pub found: Vec<Unfinished>,
    /// `None` at the end.
    pub next: Option<Marker>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    #[serde(default)]
    upload: Vec<Upload>,
    #[serde(default)]
    is_truncated: bool,
    #[serde(default)]
    next_key_marker: String,
    #[serde(default)]
    next_upload_id_marker: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Upload {
    key: String,
    upload_id: String,
    initiated: Option<String>,
}

impl Uploads {
    /// Reads the service's answer. Keys outside of `root` are left out.
    pub(super) fn parse(xml: &[u8], root: &str) -> Result<Self, quick_xml::DeError> {
        let answer: Answer = quick_xml::de::from_reader(xml)?;
        let found = answer.upload.into_iter().filter_map(|upload| {
            Some(Unfinished {
                key: upload.key.strip_prefix(root)?.to_owned(),
                upload: upload.upload_id,
                begun: upload.initiated.as_deref().and_then(time_of),
            })
        });
        let next = Marker {
            key: answer.next_key_marker,
            upload: answer.next_upload_id_marker,
        };
        Ok(Self {
            found: found.collect(),
            next: Some(next).filter(|next| answer.is_truncated && !next.key.is_empty()),
        })
    }
}

fn time_of(text: &str) -> Option<Timestamp> {
    let time = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    Some(Timestamp::from_secs(time.unix_timestamp()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_read_with_the_beginning_of_the_next() {
        let xml = br#"<?xml version="1.0" encoding="UTF-8"?>
            <ListMultipartUploadsResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
              <Bucket>b</Bucket><KeyMarker></KeyMarker><UploadIdMarker/>
              <NextKeyMarker>root/d/ab/b</NextKeyMarker><NextUploadIdMarker>two&amp;</NextUploadIdMarker>
              <MaxUploads>2</MaxUploads><IsTruncated>true</IsTruncated>
              <Upload><Key>root/d/ab/a</Key><UploadId>one</UploadId>
                <Initiator><ID>i</ID></Initiator><Owner><ID>o</ID></Owner>
                <StorageClass>STANDARD</StorageClass><Initiated>2026-11-28T18:24:24.000Z</Initiated></Upload>
              <Upload><Key>other/d/ab/c</Key><UploadId>three</UploadId></Upload>
              <Upload><Key>root/d/ab/b</Key><UploadId>two&amp;</UploadId></Upload>
            </ListMultipartUploadsResult>"#;
        let page = Uploads::parse(xml, "root/").unwrap();
        let one = Unfinished {
            key: "d/ab/a".to_owned(),
            upload: "one".to_owned(),
            begun: Some(Timestamp::from_secs(1_795_890_264)),
        };
        let two = Unfinished {
            key: "d/ab/b".to_owned(),
            upload: "two&".to_owned(),
            begun: None,
        };
        assert_eq!(page.found, [one, two]);
        let next = Marker {
            key: "root/d/ab/b".to_owned(),
            upload: "two&".to_owned(),
        };
        assert_eq!(page.next, Some(next));
    }

    #[test]
    fn the_last_page_has_no_next() {
        let xml = br"<ListMultipartUploadsResult><IsTruncated>false</IsTruncated>
            <NextKeyMarker>a</NextKeyMarker></ListMultipartUploadsResult>";
        let page = Uploads::parse(xml, "").unwrap();
        assert_eq!((page.found.len(), page.next), (0, None));
        Uploads::parse(b"<Error>", "").unwrap_err();
    }
}
