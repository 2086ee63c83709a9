//! Where settings stand in a text.

use std::collections::BTreeMap;

/// What some editors write before a text.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// Places of the settings of one text.
#[derive(Clone, Debug)]
pub(super) struct Places {
    text: String,
    /// Byte position of each line's start.
    lines: Vec<usize>,
    /// Byte position of each setting, by path.
    at: BTreeMap<String, usize>,
}

impl Places {
    pub(super) fn new(text: &str) -> Self {
        let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { text: text.to_owned(), lines, at: BTreeMap::new() }
    }

    pub(super) fn note(&mut self, path: &str, at: usize) {
        self.at.insert(path.to_owned(), at);
    }

    /// Line and column, both from 1, the column in characters. A mark that the text begins with is none of them: no editor
    /// shows it.
    pub(super) fn position(&self, at: usize) -> (usize, usize) {
        let at = at.min(self.text.len());
        let line = self.lines.partition_point(|start| *start <= at);
        let marked = line == 1 && self.text.starts_with(BYTE_ORDER_MARK) && at >= BYTE_ORDER_MARK.len_utf8();
        let start = if marked { BYTE_ORDER_MARK.len_utf8() } else { self.lines[line - 1] };
        let column = self.text.get(start..at).map_or(at - start, |before| before.chars().count());
        (line, column + 1)
    }

    /// Line and column of a setting, or of the nearest one around it that is written.
    pub(super) fn find(&self, path: &str) -> (usize, usize) {
        let mut path = path;
        loop {
            if let Some(at) = self.at.get(path) {
                return self.position(*at);
            }
            match path.rfind(['.', '[']) {
                Some(end) => path = &path[..end],
                None => return self.position(0),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_columns_count_characters_from_one() {
        let places = Places::new("a = 1\nb = \"è\" # x\n");
        assert_eq!(places.position(0), (1, 1));
        assert_eq!(places.position(6), (2, 1));
        assert_eq!(places.position(14), (2, 8));
        assert_eq!(places.position(999), (3, 1));
    }

    #[test]
    fn a_mark_before_the_text_is_no_column() {
        let places = Places::new("\u{feff}a = 1\nb = 2\n");
        assert_eq!([0, 3, 7, 9].map(|at| places.position(at)), [(1, 1), (1, 1), (1, 5), (2, 1)]);
    }

    #[test]
    fn a_setting_that_is_not_written_is_found_at_the_one_around_it() {
        let mut places = Places::new("x\n[waves]\nlist = [1]\n");
        places.note("waves", 2);
        places.note("waves.list", 17);
        assert_eq!(places.find("waves.list[3]"), (3, 8));
        assert_eq!(places.find("waves.bake"), (2, 1));
        assert_eq!(places.find("verify.level"), (1, 1));
    }
}
