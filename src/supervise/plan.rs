//! What a changed definition means for the processes of its server. Pure.
//!
//! A server has at most two definitions: the one that runs, and one on trial beside it. A third takes the place of the
//! one on trial.

use crate::config::spec::{Replace, ServerSpec};

/// What has to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Plan {
    /// The process that runs stays; whatever is on trial goes.
    Keep,
    /// What is on trial stays so.
    KeepTrial,
    /// A process of the new definition is tried beside the one that runs; what was on trial before goes.
    Try,
    /// The process that runs goes, with what is on trial; the new definition's is made when it is gone.
    Replace,
}

/// Decides. `serves`: whether the process that runs takes calls.
pub(super) fn plan(
    running: &ServerSpec,
    on_trial: Option<&ServerSpec>,
    new: &ServerSpec,
    serves: bool,
) -> Plan {
    if new.keeps_process_of(running) {
        return Plan::Keep;
    }
    let both_may_run = new.enabled && running.enabled && new.policy.replace == Replace::WhenReady;
    if both_may_run && on_trial.is_some_and(|trial| new.keeps_process_of(trial)) {
        return Plan::KeepTrial;
    }
    if both_may_run && serves {
        Plan::Try
    } else {
        Plan::Replace
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::config::spec::{Launch, Policy};
    use crate::ids::ServerName;

    fn spec(launch: &str) -> ServerSpec {
        ServerSpec {
            name: ServerName::parse("a").unwrap(),
            enabled: true,
            prefix: None,
            aliases: Arc::default(),
            roots: Vec::new(),
            launch: Launch::Broken {
                why: launch.to_owned(),
            },
            policy: Policy::default(),
            fingerprint: String::new(),
        }
    }

    #[test]
    fn a_change_is_tried_beside_a_process_that_serves_and_made_in_its_place_otherwise() {
        assert_eq!(plan(&spec("1"), None, &spec("2"), true), Plan::Try);
        assert_eq!(plan(&spec("1"), None, &spec("2"), false), Plan::Replace);
        let mut lonely = spec("2");
        lonely.policy.replace = Replace::AfterStop;
        assert_eq!(plan(&spec("1"), None, &lonely, true), Plan::Replace);
        assert_eq!(plan(&spec("1"), Some(&lonely), &lonely, true), Plan::Replace);
    }

    #[test]
    fn a_third_definition_takes_the_place_of_the_second_and_the_first_may_come_back() {
        let (first, second) = (spec("1"), spec("2"));
        assert_eq!(plan(&first, Some(&second), &spec("3"), true), Plan::Try);
        assert_eq!(plan(&first, Some(&second), &first, true), Plan::Keep);
        let mut renamed = second.clone();
        renamed.prefix = Some("x".to_owned());
        for serves in [true, false] {
            assert_eq!(plan(&first, Some(&second), &renamed, serves), Plan::KeepTrial);
        }
    }

    #[test]
    fn nothing_is_tried_of_what_is_not_wanted() {
        let (mut first, mut second) = (spec("1"), spec("2"));
        second.enabled = false;
        assert_eq!(plan(&first, Some(&spec("2")), &second, true), Plan::Replace);
        first.enabled = false;
        assert_eq!(plan(&first, None, &spec("2"), false), Plan::Replace);
        assert_eq!(plan(&first, None, &spec("1"), false), Plan::Keep);
    }
}
