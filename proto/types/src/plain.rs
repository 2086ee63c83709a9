//! Characters of texts from elsewhere that a terminal would obey, reorder text around, or not show.

use std::ops::RangeInclusive;

/// Characters that show nothing: code points that Unicode calls default-ignorable (DerivedCoreProperties.txt; all that steer
/// the direction of text are among them), the separators and annotations that are not, and what is private.
const INVISIBLE: [RangeInclusive<char>; 21] = [
    '\u{00ad}'..='\u{00ad}',
    '\u{034f}'..='\u{034f}',
    '\u{061c}'..='\u{061c}',
    '\u{115f}'..='\u{1160}',
    '\u{17b4}'..='\u{17b5}',
    '\u{180b}'..='\u{180f}',
    // Zero-width spaces and joiners, and marks that turn the direction of text.
    '\u{200b}'..='\u{200f}',
    // Line and paragraph separators, and embeddings and overrides of direction.
    '\u{2028}'..='\u{202e}',
    // Invisible operators, and isolates of direction.
    '\u{2060}'..='\u{206f}',
    '\u{2800}'..='\u{2800}',
    '\u{3164}'..='\u{3164}',
    // Private: nobody knows what they show.
    '\u{e000}'..='\u{f8ff}',
    '\u{fe00}'..='\u{fe0f}',
    '\u{feff}'..='\u{feff}',
    '\u{ffa0}'..='\u{ffa0}',
    '\u{fff0}'..='\u{fffb}',
    '\u{1bca0}'..='\u{1bca3}',
    '\u{1d173}'..='\u{1d17a}',
    // Tags and further variation selectors.
    '\u{e0000}'..='\u{e0fff}',
    // Private too.
    '\u{f0000}'..='\u{ffffd}',
    '\u{100000}'..='\u{10fffd}',
];

/// Whether a character shows itself and does nothing else.
#[must_use]
pub fn is_plain(c: char) -> bool {
    !c.is_control() && !INVISIBLE.iter().any(|range| range.contains(&c))
}
