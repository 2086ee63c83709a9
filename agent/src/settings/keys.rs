//! Refuses keys that are not known, naming the one that was probably meant.

/// A known key at most this many edits away is named.
const EDITS_MAX: usize = 3;

/// The first key of the table that is not known, with its place and the nearest known key.
pub(super) fn check(
    table: &toml::Table,
    place: &str,
    known: &[&'static str],
) -> Result<(), (String, Option<&'static str>)> {
    match table.keys().find(|key| !known.contains(&key.as_str())) {
        Some(key) => Err((format!("{place}{key}"), nearest(key, known))),
        None => Ok(()),
    }
}

fn nearest(key: &str, known: &[&'static str]) -> Option<&'static str> {
    let near = known.iter().map(|known| (strsim::levenshtein(key, known), *known)).min();
    near.filter(|(edits, _)| *edits <= EDITS_MAX).map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_key_is_named_when_it_is_near() {
        assert_eq!(nearest("endpoint", &["node", "endpoints"]), Some("endpoints"));
        assert_eq!(nearest("quite_different", &["node", "endpoints"]), None);
    }
}
