//! What servers turned out to speak: from the registry at the start, into it when something new is found.

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::child::verdict::{Certainty, Older, Saved, Verdict, Verdicts};
use crate::registry::Registry;
use crate::registry::verdicts::VerdictRow;
use crate::rpc::mcp::Era;

/// Takes in what the last run has found. What cannot be read is found out again.
pub(super) async fn recall(registry: &Registry, verdicts: &Verdicts) {
    match registry.verdicts().await {
        Ok(rows) => verdicts.preload(
            rows.into_iter()
                .filter_map(|(server, row)| Some((server, verdict_of(row)?))),
        ),
        Err(error) => tracing::warn!(%error, "what servers speak could not be read; each is asked again"),
    }
}

/// Writes down each verdict that changes.
pub(super) async fn keep(registry: Registry, mut saved: mpsc::Receiver<Saved>, stop: CancellationToken) {
    loop {
        let next = tokio::select! {
            biased;
            next = saved.recv() => next,
            () = stop.cancelled() => None,
        };
        let Some((server, verdict)) = next else { return };
        if let Err(error) = registry.save_verdict(&server, verdict.map(row_of)).await {
            tracing::error!(%server, %error, "what a server speaks could not be saved");
        }
    }
}

fn row_of(verdict: Verdict) -> VerdictRow {
    VerdictRow {
        fingerprint: verdict.fingerprint,
        era: match verdict.era {
            Era::Legacy => "legacy",
            Era::Modern => "modern",
        }
        .to_owned(),
        revision: verdict.revision,
        certainty: match verdict.certainty {
            Certainty::Definitive => "definitive",
            Certainty::Tentative => "tentative",
        }
        .to_owned(),
        crashes_on_probe: verdict.crashes_on_probe,
        older: match verdict.older {
            Older::Untried | Older::Failed => "",
            Older::Spoken => "spoken",
            Older::Refused => "refused",
        }
        .to_owned(),
        how: verdict.how,
        at_ms: verdict.at_ms,
    }
}

/// A row in words that nobody here knows says nothing.
fn verdict_of(row: VerdictRow) -> Option<Verdict> {
    Some(Verdict {
        fingerprint: row.fingerprint,
        era: match row.era.as_str() {
            "legacy" => Era::Legacy,
            "modern" => Era::Modern,
            _unknown => return None,
        },
        revision: row.revision,
        certainty: match row.certainty.as_str() {
            "definitive" => Certainty::Definitive,
            "tentative" => Certainty::Tentative,
            _unknown => return None,
        },
        crashes_on_probe: row.crashes_on_probe,
        older: match row.older.as_str() {
            "spoken" => Older::Spoken,
            "refused" => Older::Refused,
            _nobody_has_tried => Older::Untried,
        },
        how: row.how,
        at_ms: row.at_ms,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_survives_the_registry() {
        for (era, certainty, older) in [
            (Era::Legacy, Certainty::Tentative, Older::Untried),
            (Era::Modern, Certainty::Definitive, Older::Spoken),
            (Era::Modern, Certainty::Definitive, Older::Refused),
        ] {
            let verdict = Verdict {
                fingerprint: "f".to_owned(),
                era,
                revision: "2026-07-28".to_owned(),
                certainty,
                crashes_on_probe: true,
                older,
                how: "x".to_owned(),
                at_ms: 7,
            };
            assert_eq!(verdict_of(row_of(verdict.clone())), Some(verdict));
        }
    }
}
