//! What is durable of an upload, and its form in a [`Resume`].
//!
//! The form is JSON and small, because every write of an upload's record contains it: 10,000 parts take about
//! 220 kB. Entity tags are nearly always MD5 hashes, so those are packed.

use crate::Resume;
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde::{Deserialize, Serialize};

/// What is durable of an upload: its parts, and after them its rests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Saved {
    /// The ID of the multipart upload.
    pub upload: Option<String>,
    pub parts: Vec<Part>,
    /// Bytes that are no part yet.
    pub rests: Vec<Rest>,
    /// The keys of former rests. A writer that continues from here removes them: nobody continues from an
    /// earlier state then.
    pub former: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub tag: Tag,
    pub size: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rest {
    pub key: String,
    pub size: u64,
}

/// An entity tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Tag {
    /// 32 hexadecimal digits in quotation marks.
    Md5([u8; 16]),
    Other(String),
}

/// The version of the form.
const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Form {
    v: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    upload: Option<String>,
    /// The tags that are MD5 hashes, one after the other, in base64.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    tags: String,
    /// The other tags, with the numbers of their parts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    others: Vec<(usize, String)>,
    /// The sizes of the parts: each size, and for how many parts it applies.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    sizes: Vec<(u64, usize)>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    rests: Vec<(String, u64)>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    former: Vec<String>,
}

impl Tag {
    pub(super) fn new(text: String) -> Self {
        match md5(&text) {
            Some(hash) => Self::Md5(hash),
            None => Self::Other(text),
        }
    }

    pub(super) fn text(&self) -> String {
        match self {
            Self::Md5(hash) => format!("\"{:032x}\"", u128::from_be_bytes(*hash)),
            Self::Other(text) => text.clone(),
        }
    }
}

/// The hash, if the tag has exactly the form that [`Tag::text`] returns for it.
fn md5(text: &str) -> Option<[u8; 16]> {
    let digits = text.strip_prefix('"')?.strip_suffix('"')?;
    let plain = digits.len() == 32
        && digits
            .bytes()
            .all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
    let hash = u128::from_str_radix(digits, 16).ok().filter(|_| plain)?;
    Some(hash.to_be_bytes())
}

impl Saved {
    /// Reads what [`Saved::resume`] wrote. `None` if it is of another store.
    pub(super) fn read(Resume(text): &Resume) -> Option<Self> {
        if text.is_empty() {
            return Some(Self::default());
        }
        let form: Form = serde_json::from_str(text)
            .ok()
            .filter(|form: &Form| form.v == VERSION)?;
        let mut parts = Vec::new();
        let tags = STANDARD_NO_PAD.decode(form.tags).ok()?;
        let (hashes, []) = tags.as_chunks::<16>() else {
            return None;
        };
        let mut hashes = hashes.iter();
        let mut others = form.others.into_iter().peekable();
        for size in form
            .sizes
            .iter()
            .flat_map(|(size, count)| std::iter::repeat_n(*size, *count))
        {
            let tag = match others.next_if(|(number, _)| *number == parts.len()) {
                Some((_, text)) => Tag::Other(text),
                None => Tag::Md5(*hashes.next()?),
            };
            parts.push(Part { tag, size });
        }
        let rests = form.rests.into_iter().map(|(key, size)| Rest { key, size });
        Some(Self {
            upload: form.upload,
            parts,
            rests: rests.collect(),
            former: form.former,
        })
    }

    pub(super) fn resume(self) -> Resume {
        let mut form = Form {
            v: VERSION,
            upload: self.upload,
            tags: String::new(),
            others: Vec::new(),
            sizes: Vec::new(),
            rests: self.rests.into_iter().map(|rest| (rest.key, rest.size)).collect(),
            former: self.former,
        };
        let mut hashes = Vec::with_capacity(16 * self.parts.len());
        for (number, part) in self.parts.into_iter().enumerate() {
            match part.tag {
                Tag::Md5(hash) => hashes.extend_from_slice(&hash),
                Tag::Other(text) => form.others.push((number, text)),
            }
            match form.sizes.last_mut() {
                Some((size, count)) if *size == part.size => *count += 1,
                _ => form.sizes.push((part.size, 1)),
            }
        }
        form.tags = STANDARD_NO_PAD.encode(hashes);
        Resume(serde_json::to_string(&form).unwrap_or_default())
    }

    /// How many bytes are durable.
    pub(super) fn size(&self) -> u64 {
        let parts: u64 = self.parts.iter().map(|part| part.size).sum();
        parts + self.rests_size()
    }

    pub(super) fn rests_size(&self) -> u64 {
        self.rests.iter().map(|rest| rest.size).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(tag: &str, size: u64) -> Part {
        Part {
            tag: Tag::new(tag.to_owned()),
            size,
        }
    }

    #[test]
    fn what_is_saved_comes_back() {
        let hash = "\"00112233445566778899aabbccddeeff\"";
        let saved = Saved {
            upload: Some("an \"ID\"".to_owned()),
            parts: vec![
                part(hash, 8),
                part("\"00112233445566778899AABBCCDDEEFF\"", 8),
                part(&hash[1..33], 5),
                part("\"0123456789abcdef0123456789abcdef-2\"", 8),
                part("\"+0112233445566778899aabbccddeeff\"", 8),
                part(hash, 64),
            ],
            rests: vec![Rest {
                key: "d/aa/a.1".to_owned(),
                size: 3,
            }],
            former: vec!["d/aa/a.0".to_owned()],
        };
        assert_eq!(saved.size(), 104);
        let packed = saved.parts.iter().filter(|part| matches!(part.tag, Tag::Md5(_)));
        assert_eq!(packed.count(), 2);
        assert_eq!(saved.parts[0].tag.text(), hash);
        assert_eq!(Saved::read(&saved.clone().resume()), Some(saved));
        assert_eq!(Saved::read(&Resume::default()), Some(Saved::default()));
    }

    #[test]
    fn what_another_store_or_version_saved_is_not_read() {
        for text in [
            "7",
            "{}",
            "{\"v\":2}",
            "{\"v\":1,\"sizes\":[[8,1]]}",
            "{\"v\":1,\"tags\":\"AAAA\"}",
        ] {
            assert_eq!(Saved::read(&Resume(text.to_owned())), None, "{text}");
        }
    }

    #[test]
    fn ten_thousand_parts_fit_a_record() {
        let saved = Saved {
            parts: (0..10_000_u128)
                .map(|n| part(&format!("\"{n:032x}\""), 8 << 20))
                .collect(),
            ..Saved::default()
        };
        let Resume(text) = saved.resume();
        assert!(text.len() < 220_000, "{}", text.len());
    }
}
