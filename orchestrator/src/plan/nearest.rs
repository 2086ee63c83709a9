//! Which known word an unknown one was probably meant to be.

/// Longest word worth comparing, in characters: no setting comes near it.
const WORD_CHARS_MAX: usize = 64;

/// The known word nearest to `word`, unless it is so far away that naming it would mislead.
pub(crate) fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let chars = word.chars().take(WORD_CHARS_MAX + 1).count();
    if chars > WORD_CHARS_MAX {
        return None;
    }
    let near = known.iter().map(|known| (strsim::levenshtein(word, known), *known)).min()?;
    // A word of which a third is wrong is still recognised.
    (near.0 <= (chars / 3).max(2)).then_some(near.1)
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
