//! What comes before a process: its turn among the starts, and what of its command is known only now.

use std::sync::Arc;

use super::Runner;
use crate::child::around::{Report, report};
use crate::child::secrets::{self, Filled};
use crate::config::spec::{Command, Launch};
use crate::event::{Cause, What};
use crate::ids::Generation;

impl Runner {
    pub(super) fn ask_for_a_start(&self, generation: Generation) {
        let starts = Arc::clone(&self.surroundings.starts);
        let reports = self.reports_in.clone();
        let stopped = self.stopped.clone();
        let command = match &self.launch {
            Launch::Command(command) => Some(command.clone()),
            Launch::Broken { .. } => None,
        };
        let (name, surroundings) = (self.name.clone(), self.surroundings.clone());
        self.surroundings.tasks.spawn("start permit", async move {
            // It might end the next process instead.
            stopped.cancelled().await;
            let getting_ready = async {
                // Before there is a permit: who waits for a secret keeps no other from starting.
                let filled = match &command {
                    Some(command) => Some(secrets::fill(command, &name, generation, &surroundings).await),
                    None => None,
                };
                (filled.map(Box::new), starts.acquire_owned().await)
            };
            let (filled, permit) = tokio::select! {
                ready = getting_ready => ready,
                // The child's task has ended.
                () = reports.closed() => return,
            };
            if let Ok(permit) = permit {
                report(&reports, generation, Report::MayStart(permit, filled)).await;
            }
        });
    }

    /// Keeps of what was fetched what the process needs later, and tells what was not.
    pub(super) fn take_over(&mut self, filled: Option<Box<Filled>>) -> Result<Command, Cause> {
        let Some(filled) = filled else {
            let why = match &self.launch {
                Launch::Broken { why } => why.clone(),
                Launch::Command(_) => "what it needs was not fetched".to_owned(),
            };
            return Err(Cause::CannotStart { why });
        };
        let Filled {
            mut command,
            mask,
            missing,
        } = *filled;
        self.mask = mask;
        self.stop_command = command.stop.take().map(|stop| *stop);
        self.missing.set(missing.clone());
        if !missing.is_empty() {
            let why = missing.join("; ");
            self.tell(What::SecretsMissing { why });
        }
        Ok(command)
    }
}
