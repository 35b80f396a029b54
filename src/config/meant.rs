//! What a person probably meant by a name that we do not know. Pure.

/// The name that was probably meant. Spelling with `-`, `_` or capitals does not count as a difference.
pub fn nearest<'a>(given: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let given = folded(given);
    let allowed = (given.len() / 3).clamp(1, 3);
    let n_chars = given.chars().count();
    known
        // Most differ in length alone by more, and are not compared.
        .filter(|name| name.chars().count().abs_diff(n_chars) <= allowed + n_marks(name))
        .map(|name| (distance(&given, &folded(name)), name))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// What other programs call our keys.
pub(super) fn foreign_name(given: &str) -> Option<&'static str> {
    match folded(given).as_str() {
        "arguments" | "argv" | "params" => Some("args"),
        "environment" | "envs" | "variables" => Some("env"),
        "cmd" | "program" | "exec" | "executable" => Some("command"),
        "dir" | "directory" | "workdir" | "workingdirectory" => Some("cwd"),
        "timeout" => Some("call_timeout"),
        "disabled" | "disable" | "active" => Some("enabled"),
        _ => None,
    }
}

/// Characters that [`folded`] leaves out.
fn n_marks(name: &str) -> usize {
    name.bytes().filter(|byte| matches!(byte, b'-' | b'_')).count()
}

fn folded(name: &str) -> String {
    name.chars()
        .filter(|c| !matches!(c, '-' | '_'))
        .map(|c| c.to_ascii_lowercase())
        .collect()
}

/// Levenshtein's distance, in characters, one row at a time.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (in_a, left) in a.chars().zip(1..) {
        let mut corner = std::mem::replace(row.first_mut().unwrap_or(&mut 0), left);
        let mut beside = left;
        for (in_b, cell) in b.chars().zip(row.iter_mut().skip(1)) {
            let replaced = corner + usize::from(in_a != in_b);
            corner = *cell;
            beside = replaced.min(corner + 1).min(beside + 1);
            *cell = beside;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_the_key_that_was_meant() {
        let names = || ["command", "args", "env", "cwd", "call_timeout", "call_max"].into_iter();
        assert_eq!(nearest("comand", names()), Some("command"));
        assert_eq!(nearest("arg", names()), Some("args"));
        assert_eq!(nearest("call-timeout", names()), Some("call_timeout"));
        assert_eq!(nearest("callTimeout", names()), Some("call_timeout"));
        assert_eq!(nearest("colour", names()), None);
        assert_eq!(foreign_name("environment"), Some("env"));
    }

    #[test]
    fn the_distance_of_two_words_is_counted_in_single_changes() {
        for (a, b, expected) in [
            ("", "", 0),
            ("a", "", 1),
            ("kitten", "sitting", 3),
            ("args", "arg", 1),
        ] {
            assert_eq!(distance(a, b), expected);
            assert_eq!(distance(b, a), expected);
        }
    }
}
