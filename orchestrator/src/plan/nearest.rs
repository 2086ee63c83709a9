//! Which known word an unknown one was probably meant to be.

/// Longest word worth comparing, in characters: no setting comes near it.
const WORD_CHARS_MAX: usize = 64;

/// The known word nearest to `word`, unless it is so far away that naming it would mislead.
pub(crate) fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let chars = word.chars().take(WORD_CHARS_MAX + 1).count();
    if chars > WORD_CHARS_MAX {
        return None;
    }
    let near = known.iter().map(|known| (edits(word, known), *known)).min()?;
    // A word of which a third is wrong is still recognised.
    (near.0 <= (chars / 3).max(2)).then_some(near.1)
}

/// Characters to insert, drop or replace to make one word of the other.
fn edits(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (at, a) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = at + 1;
        for (column, b) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(row[column] + 1).min(diagonal + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_was_meant_and_does_not_guess_wildly() {
        let known = ["bake", "promotion", "error_budget", "error_budget_canary"];
        assert_eq!(nearest("promotoin", &known), Some("promotion"));
        assert_eq!(nearest("error-budget", &known), Some("error_budget"));
        assert_eq!(nearest("colour", &known), None);
        assert_eq!(nearest(&"x".repeat(100), &known), None);
    }
}
