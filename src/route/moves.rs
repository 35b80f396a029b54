//! Calls that wait for a process whose place another's takes meanwhile go to that one: another definition's, or the one
//! that served before where a process with a handshake does not come up.

use std::sync::Arc;

use super::context::CallContext;
use super::error::RouteError;
use super::router::Router;
use crate::child::handshake::Handshake;
use crate::child::link::Link;
use crate::child::{Call, CallError, Child};
use crate::rpc::Outcome;
use crate::supervise::Entry;

/// A call follows so many changes of a definition while it waits.
const N_MOVES_MAX: usize = 8;

impl Router {
    /// A call that reaches a process which has just been replaced goes to the one in its place.
    pub(super) async fn put_to_who_is_there(
        &self,
        mut child: Child,
        context: &CallContext,
        mut call: Call,
    ) -> Result<Outcome, CallError> {
        for _moved in 0..N_MOVES_MAX {
            let answered = child.call(call.clone()).await;
            match self.in_place_of(&child, context) {
                Some(next) if answered.as_ref().is_err_and(|error| moves(&child, error)) => child = next,
                _answered_or_nobody => return answered,
            }
            // The one before may have had it already.
            call.repeatable = false;
        }
        child.call(call).await
    }

    /// Who has the place of a process that has to go for good, or does not come up.
    pub(super) fn in_place_of(&self, child: &Child, context: &CallContext) -> Option<Child> {
        if !child.is_retired() && !child.instance().older {
            return None;
        }
        let entry = self.entry(child.name())?;
        let next = self.child_for(&entry, context).ok()?;
        (!next.is(child)).then_some(next)
    }

    /// The child that works for the caller, once it has done its handshake: its pipes, and what it said of itself.
    pub(super) async fn greeted(
        &self,
        entry: &Entry,
        context: &CallContext,
    ) -> Result<(Child, Arc<Link>, Option<Arc<Handshake>>), RouteError> {
        let mut child = self.child_for(entry, context)?;
        for _moved in 0..N_MOVES_MAX {
            match (
                child.greeted(Some(&context.lane)).await,
                self.in_place_of(&child, context),
            ) {
                (Ok((link, handshake)), _) => return Ok((child, link, handshake)),
                (Err(_gone), Some(next)) => child = next,
                (Err(error), None) => {
                    let server = child.name().clone();
                    return Err(RouteError::Child { server, error });
                }
            }
        }
        let (server, error) = (child.name().clone(), child.refusal());
        Err(RouteError::Child { server, error })
    }
}

/// Whether a call that this process did not answer for this reason may go to the one in its place: none of its bytes did.
fn moves(child: &Child, error: &CallError) -> bool {
    let is_waited_for = child.instance().older && matches!(error, CallError::NotRunning { .. });
    error.was_not_taken() || is_waited_for
}
