//! The lines of a feature: for people on stdout, and for the table in the file that FEATURES_OUT names.

use std::fs::OpenOptions;
use std::io::Write;
use std::time::Duration;

use crate::Checked;

const CLIENT: &str = "rmcp";
pub const CHECK: Duration = Duration::from_secs(45);

/// Every feature there is; a run that has not told each of them has failed.
const FEATURES: [&str; 14] = [
    "list", "call", "read", "prompt", "complete", "progress", "cancel", "log-level", "sampling", "elicitation", "roots",
    "subscription", "payload-5MiB", "parallel-100",
];

pub struct Report {
    name: String,
    kind: String,
    told: Vec<&'static str>,
    failed: usize,
}

impl Report {
    pub fn new(case: &str, kind: &str) -> Self {
        Self { name: format!("{case} {kind}"), kind: kind.to_owned(), told: Vec::new(), failed: 0 }
    }

    pub async fn feature(&mut self, feature: &'static str, check: impl Future<Output = Checked>) {
        assert!(FEATURES.contains(&feature) && !self.told.contains(&feature), "{feature}: unknown, or told twice");
        let checked = tokio::time::timeout(CHECK, check).await.unwrap_or_else(|_| Err("not within 45 s".into()));
        self.told.push(feature);
        let name = &self.name;
        match checked {
            Ok(detail) => {
                println!("ok   {name}: {feature}");
                self.line(feature, "pass", &detail);
            }
            Err(error) => {
                self.failed += 1;
                let why: String = error.to_string().replace('\n', " ").chars().take(600).collect();
                println!("FAIL {name}: {feature}: {why}");
                self.line(feature, "fail", &why);
            }
        }
    }

    /// Whether every feature was told, and none has failed.
    pub fn has_passed(&self) -> bool {
        let missing: Vec<_> = FEATURES.iter().filter(|feature| !self.told.contains(feature)).collect();
        for feature in &missing {
            println!("FAIL {}: {feature}: was left out", self.name);
            self.line(feature, "fail", "was left out");
        }
        missing.is_empty() && self.failed == 0
    }

    fn line(&self, feature: &str, verdict: &str, detail: &str) {
        let Some(path) = std::env::var_os("FEATURES_OUT").filter(|path| !path.is_empty()) else {
            return;
        };
        let flat: String = detail.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(300).collect();
        let mut file = OpenOptions::new().append(true).create(true).open(path).expect("FEATURES_OUT");
        writeln!(file, "{feature}\t{CLIENT}\t{}\t{verdict}\t{flat}", self.kind).expect("FEATURES_OUT");
    }
}

/// Fails with what came instead.
#[macro_export]
macro_rules! same {
    ($came:expr, $due:expr) => {{
        let (came, due) = (&$came, &$due);
        if came != due {
            return Err(format!("line {}: came {came:?}, due {due:?}", line!()).into());
        }
    }};
}

/// Fails unless the condition holds.
#[macro_export]
macro_rules! holds {
    ($condition:expr, $came:expr) => {
        if !$condition {
            return Err(format!("line {}: not so: {}; came {:?}", line!(), stringify!($condition), $came).into());
        }
    };
}
