//! The options of `mcp-wrapper demo analytics`.

use std::time::Duration;

use super::department::Department;
use crate::demo::arguments::not_allowed;
use crate::demo::nearest::nearest;
use crate::demo::words::Word;

const OPTIONS: [&str; 3] = ["--interval", "--department", "--seed"];

/// The shortest and the longest time between two changes of a resource.
const INTERVALS: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(3600));

/// What the operator chose.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::demo) struct Settings {
    /// How often subscribed resources change.
    pub(super) interval: Duration,
    /// The departments on offer, in their usual order.
    pub(super) departments: Vec<Department>,
    /// Equal seeds tell equal stories.
    pub(super) seed: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(2),
            departments: Department::ALL.to_vec(),
            // The fallback is among the first things it shows: the till system fails with the third event.
            seed: 79,
        }
    }
}

impl Settings {
    /// Reads the command line, `--name value` or `--name=value`. The error is a sentence.
    pub(in crate::demo) fn read(options: &[String]) -> Result<Self, String> {
        let mut settings = Self::default();
        let mut chosen = Vec::new();
        let mut words = options.iter();
        while let Some(word) = words.next() {
            let (name, value) = match word.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (word.as_str(), None),
            };
            if !OPTIONS.contains(&name) {
                return Err(unknown(name));
            }
            let value = value.or_else(|| words.next().map(String::as_str));
            let value = value.ok_or_else(|| told(&format!("`{name}` needs a value")))?;
            match name {
                "--interval" => settings.interval = interval(value)?,
                "--department" => chosen.push(department(value)?),
                _ => settings.seed = seed(value)?,
            }
        }
        if !chosen.is_empty() {
            settings
                .departments
                .retain(|department| chosen.contains(department));
        }
        Ok(settings)
    }
}

fn interval(value: &str) -> Result<Duration, String> {
    let (least, most) = INTERVALS;
    humantime::parse_duration(value)
        .ok()
        .filter(|interval| (least..=most).contains(interval))
        .ok_or_else(|| {
            told(&format!(
                "`--interval` is a time from 10ms to 1h, such as 500ms or 2s, not `{value}`"
            ))
        })
}

fn department(value: &str) -> Result<Department, String> {
    Department::parse(value).ok_or_else(|| told(&not_allowed("department", value, &Department::words())))
}

fn seed(value: &str) -> Result<u64, String> {
    value
        .parse()
        .map_err(|_| told(&format!("`--seed` is a whole number from 0 on, not `{value}`")))
}

fn unknown(name: &str) -> String {
    let near = nearest(name, OPTIONS).map(|near| format!(" Did you mean `{near}`?"));
    told(&format!(
        "there is no option `{name}`. It takes --interval, --department and --seed.{}",
        near.unwrap_or_default()
    ))
}

fn told(what: &str) -> String {
    format!("demo analytics: {what}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Settings, String> {
        Settings::read(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn options_are_read_in_both_spellings() {
        assert_eq!(read(""), Ok(Settings::default()));
        let chosen = Settings {
            interval: Duration::from_millis(500),
            departments: vec![Department::Sales, Department::Shifts],
            seed: 42,
        };
        assert_eq!(
            read("--interval 500ms --department shifts --department=sales --seed=42"),
            Ok(chosen)
        );
    }

    #[test]
    fn what_is_wrong_is_told_in_a_sentence() {
        for (line, expected) in [
            (
                "--intervall 1s",
                "demo analytics: there is no option `--intervall`. It takes --interval, --department and --seed. Did you mean `--interval`?",
            ),
            ("--seed", "demo analytics: `--seed` needs a value"),
            (
                "--seed -1",
                "demo analytics: `--seed` is a whole number from 0 on, not `-1`",
            ),
            (
                "--interval 5ms",
                "demo analytics: `--interval` is a time from 10ms to 1h, such as 500ms or 2s, not `5ms`",
            ),
            (
                "--interval fast",
                "demo analytics: `--interval` is a time from 10ms to 1h, such as 500ms or 2s, not `fast`",
            ),
            (
                "--department sale",
                "demo analytics: `sale` is not a department. Allowed: sales, bookings, occupancy, shifts. Did you mean `sales`?",
            ),
        ] {
            assert_eq!(read(line).unwrap_err(), expected);
        }
    }
}
