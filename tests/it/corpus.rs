//! The collections of bad input.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::OnceLock;

/// Every entry of every file of `malformed` and `fuzz_seeds`, by the name of the file.
fn files() -> &'static BTreeMap<String, Vec<Vec<u8>>> {
    static FILES: OnceLock<BTreeMap<String, Vec<Vec<u8>>>> = OnceLock::new();
    FILES.get_or_init(|| {
        let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors");
        let mut files = BTreeMap::new();
        for folder in ["malformed", "fuzz_seeds"] {
            for entry in std::fs::read_dir(vectors.join(folder)).unwrap() {
                let path = entry.unwrap().path();
                let text = std::fs::read_to_string(&path).unwrap();
                let entries: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
                let entries: Vec<Vec<u8>> = entries
                    .iter()
                    .map(|entry| hex::decode(entry["hex"].as_str().unwrap()).unwrap())
                    .collect();
                let name = path.file_name().unwrap().to_string_lossy().into_owned();
                files.insert(format!("{folder}/{name}"), entries);
            }
        }
        files
    })
}

/// Every entry.
pub(crate) fn entries() -> &'static [Vec<u8>] {
    static ENTRIES: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    ENTRIES.get_or_init(|| {
        let entries: Vec<_> = files().values().flatten().cloned().collect();
        assert!(entries.len() > 300, "{} entries", entries.len());
        entries
    })
}

/// The entries of some files.
pub(crate) fn entries_of(names: &[&str]) -> Vec<&'static Vec<u8>> {
    names.iter().flat_map(|name| &files()[*name]).collect()
}
