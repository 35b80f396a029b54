//! The word that was probably meant.

/// The word nearest to `given`, when one is near enough to be worth naming.
pub(super) fn nearest<'w>(given: &str, words: impl IntoIterator<Item = &'w str>) -> Option<&'w str> {
    let given = given.trim().to_lowercase();
    let near_enough = (given.chars().count() / 2).max(1);
    words
        .into_iter()
        .map(|word| (distance(&given, &word.to_lowercase()), word))
        .filter(|(distance, _)| *distance <= near_enough)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}

/// Edits from one word to the other (Levenshtein), one row of the table at a time.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut above: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.chars().enumerate() {
        let mut left = i + 1;
        let mut row = vec![left];
        for (b, pair) in to.iter().zip(above.windows(2)) {
            let (diagonal, up) = (
                pair.first().copied().unwrap_or(0),
                pair.last().copied().unwrap_or(0),
            );
            left = (diagonal + usize::from(a != *b)).min(up + 1).min(left + 1);
            row.push(left);
        }
        above = row;
    }
    above.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_count_edits() {
        for (a, b, n) in [
            ("", "", 0),
            ("a", "", 1),
            ("", "ab", 2),
            ("kitten", "sitting", 3),
            ("open", "open", 0),
        ] {
            assert_eq!(distance(a, b), n, "{a:?} {b:?}");
        }
    }

    #[test]
    fn a_near_word_is_named_and_a_far_one_is_not() {
        let words = ["open", "in_progress", "closed"];
        assert_eq!(nearest("opne", words), Some("open"));
        assert_eq!(nearest("In Progress", words), Some("in_progress"));
        assert_eq!(nearest("purple", words), None);
    }
}
