//! An image in `GET /images/json`: what a pod knows of the images of its containers, which is their names.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::container::Container;
use crate::time;

/// An image, shortly.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[expect(missing_docs, reason = "the names are those of the Docker Engine API")]
pub struct ImageSummary {
    pub id: String,
    pub parent_id: &'static str,
    pub repo_tags: Vec<String>,
    pub repo_digests: Vec<String>,
    pub created: i64,
    pub size: u64,
    pub shared_size: i64,
    pub labels: Option<BTreeMap<String, String>>,
    pub containers: i64,
}

impl ImageSummary {
    /// The images of those containers, each once.
    pub fn all<'c>(containers: impl Iterator<Item = &'c Container>) -> Vec<Self> {
        let mut images: BTreeMap<&str, Self> = BTreeMap::new();
        for container in containers {
            let image = &container.spec.image;
            let key = if image.digest.is_empty() { &image.reference } else { &image.digest };
            let summary = images.entry(key).or_insert_with(|| Self {
                id: image.digest.clone(),
                parent_id: "",
                repo_tags: Vec::new(),
                repo_digests: Vec::new(),
                created: time::unix(container.created),
                size: 0,
                shared_size: -1,
                labels: None,
                containers: 0,
            });
            summary.containers += 1;
            if !summary.repo_tags.contains(&image.reference) {
                summary.repo_tags.push(image.reference.clone());
            }
        }
        images.into_values().collect()
    }
}
