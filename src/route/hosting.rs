//! Tasks between a client and a child that know tasks of different kinds: kept here, and shown to the client in its
//! own words.
//!
//! Two edges towards children: a task of 2025-11-25 is made and its result waited for; one of the extension of
//! 2026-07-28 is followed ([`super::follow`]). Two towards clients: one with a handshake waits for the result, and is
//! asked meanwhile on its own streams; one of the extension finds in the task what has become of it and what it asks.
//! Neither edge knows of the one across: between them is a [`Hosting`].

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::client::{ClientSide, Profile};
use super::context::CallContext;
use super::error::RouteError;
use super::follow::{Followed, process_gone};
use super::listeners::Known;
use super::related;
use super::rounds::{Asked, Came};
use super::router::{Router, needs_object, projected};
use super::task_table::{End, HOSTED_MAX, Hosting, N_TASKS_MAX, Standing, Task};
use super::task_words::{
    created_for_extension, created_for_handshake, plain_result, shown_for_handshake, status_for_handshake,
};
use crate::child::{CallError, Child, Lane};
use crate::ids::{ServerName, SessionId};
use crate::rpc::error::code;
use crate::rpc::mcp::method;
use crate::rpc::message::notification_line;
use crate::rpc::object::Object;
use crate::rpc::{Outcome, Raw, RpcError};
use crate::supervise::Entry;

/// A task that is about to be hosted, and what is there for it as long as it is worked on.
struct Host {
    about: Hosting,
    /// Of the calls that are made on its behalf.
    context: CallContext,
    _known: Option<Known>,
}

impl Router {
    /// A tool call of a client that takes tasks, to a child whose tasks are of the other kind.
    pub(super) async fn host(
        &self,
        entry: &Entry,
        context: &CallContext,
        asked: Asked<'_>,
        ttl: Option<Duration>,
    ) -> Result<Outcome, RouteError> {
        let child = self.child_for(entry, context)?;
        self.has_room_for_hosted(entry, context)?;
        let host = self.host_for(entry, context, ttl);
        let makes_tasks = self
            .snapshot(&entry.spec.name)
            .is_some_and(|snapshot| snapshot.makes_tasks());
        if makes_tasks {
            return self.host_made(entry, &child, context, host, asked).await;
        }
        self.host_followed(entry, context, host, asked).await
    }

    /// Half of a server's calls in flight may be tasks that are waited for here.
    fn has_room_for_hosted(&self, entry: &Entry, context: &CallContext) -> Result<(), RouteError> {
        let n_max = (entry.spec.policy.inflight_max / 2).max(1);
        if self.task_table().n_hosted_on(&entry.spec.name) >= n_max {
            return Err(RouteError::TooManyTasks { n_max });
        }
        if !self.task_table().has_room(&context.lane.home, Instant::now()) {
            return Err(RouteError::TooManyTasks { n_max: N_TASKS_MAX });
        }
        Ok(())
    }

    fn host_for(&self, entry: &Entry, context: &CallContext, ttl: Option<Duration>) -> Host {
        let caller = &context.lane;
        let asked_in_task = caller
            .caller
            .as_ref()
            .filter(|profile| profile.is_asked_in_results());
        let (id, client) = match asked_in_task {
            Some(profile) => (SessionId::random(), Some(client_of(profile, caller))),
            None => (caller.session.clone(), None),
        };
        // A client that is asked in its task is known as long as the task is worked on.
        let known = client.as_ref().map(|client| {
            let (id, home) = (id.clone(), caller.home.clone());
            Known::new(self.listeners(), id, home, Arc::clone(client))
        });
        // A request that came by itself is its own peer.
        let peer = if caller.peer == caller.session {
            id.clone()
        } else {
            caller.peer.clone()
        };
        let lane = Lane::new(id, caller.request.clone(), None)
            .of_peer(caller.home.clone(), peer)
            .called_by(caller.caller.clone())
            .within(caller.scope.clone(), caller.holder.clone());
        // The call that has made it is answered; what belongs to the task goes its own ways.
        drop(lane.finish());
        let lane = Arc::new(lane);
        let about = Hosting {
            owner: caller.home.clone(),
            server: entry.spec.name.clone(),
            lane: Arc::clone(&lane),
            client,
            ttl,
        };
        let context = CallContext {
            lane,
            ..context.clone()
        };
        Host {
            about,
            context,
            _known: known,
        }
    }

    // === Towards children ===

    /// A child that makes tasks of 2025-11-25 makes one of the call.
    async fn host_made(
        &self,
        entry: &Entry,
        child: &Child,
        context: &CallContext,
        host: Host,
        asked: Asked<'_>,
    ) -> Result<Outcome, RouteError> {
        let ttl = Raw::of(&serde_json::json!({ "ttl": HOSTED_MAX.as_millis() }));
        let object = asked.params.and_then(Object::of);
        let params = object
            .ok_or_else(|| needs_object(method::TOOLS_CALL))?
            .with("task", &ttl);
        let params = self.marked(entry, context, Some(&params));
        let driver = Some(Arc::clone(&host.about.lane));
        let (outcome, made) = self.creation(child, context, params, driver).await?;
        let Some(own) = made.minted().map(str::to_owned) else {
            return Ok(self.answered_at_once(host, outcome.map(|result| plain_result(&result))));
        };
        let driven = self.task_table().of_driver(&own).and_then(|task| {
            let ours = self.task_table().host_driven(host.about.clone(), &own)?;
            Some((task, ours))
        });
        // Another process has come in the place of the one that has made it.
        let (task, ours) = driven.ok_or_else(|| RouteError::Child {
            server: entry.spec.name.clone(),
            error: CallError::OtherProcess,
        })?;
        let created = self.created(&host, &ours);
        let (router, child, within) = (self.clone(), child.clone(), host.context.clone());
        let work = async move {
            let end = router.waited_out(&child, &within, &task).await;
            router.task_table().remove(&own);
            end
        };
        self.keep(ours, host, work);
        Ok(Ok(created))
    }

    /// Waits for the result of a task of 2025-11-25: by this the child may ask, too.
    async fn waited_out(&self, child: &Child, context: &CallContext, task: &Task) -> End {
        let until = Instant::now() + HOSTED_MAX;
        loop {
            match self.result_of(child, context, task, None).await {
                Ok(outcome) => {
                    let outcome = outcome.map(|result| plain_result(&result));
                    return self.came(child.name(), context, outcome);
                }
                Err(RouteError::Child {
                    error: CallError::Cancelled,
                    ..
                }) => {
                    self.give_up(task).await;
                    return End::Cancelled;
                }
                // A call has its limit; the task goes on.
                Err(RouteError::Child {
                    error: CallError::TimedOut { .. },
                    ..
                }) if Instant::now() < until => {}
                Err(RouteError::NoTask) => return End::Came(Ok(Err(process_gone()))),
                Err(error) => {
                    self.give_up(task).await;
                    return End::Came(Err(error));
                }
            }
        }
    }

    /// A child of 2026-07-28 is told that tasks are taken, and decides what it makes of the call.
    async fn host_followed(
        &self,
        entry: &Entry,
        context: &CallContext,
        host: Host,
        asked: Asked<'_>,
    ) -> Result<Outcome, RouteError> {
        context.lane.take_tasks();
        let made = match self.rounds(entry, context, asked).await? {
            Came::Outcome(outcome) => return Ok(self.answered_at_once(host, outcome)),
            Came::Task(made) => made,
        };
        let ours = self.task_table().host(host.about.clone(), &made.task);
        host.about.lane.task.get_or_init(|| ours.clone());
        let created = self.created(&host, &ours);
        let (router, entry, within) = (self.clone(), entry.clone(), host.context.clone());
        let tool = asked.tool.map(str::to_owned);
        let work = async move {
            let end = match router.follow(&entry, &within, &made).await {
                Ok(Followed::Outcome(outcome)) => {
                    let asked = Asked {
                        method: method::TOOLS_CALL,
                        params: None,
                        tool: tool.as_deref(),
                        uri: None,
                        repeatable: false,
                    };
                    let outcome = router.crossed(&entry, asked, outcome);
                    router.came(&entry.spec.name, &within, outcome)
                }
                Ok(Followed::Cancelled)
                | Err(RouteError::Child {
                    error: CallError::Cancelled,
                    ..
                }) => End::Cancelled,
                Err(error) => End::Came(Err(error)),
            };
            drop(made);
            end
        };
        self.keep(ours, host, work);
        Ok(Ok(created))
    }

    fn came(&self, server: &ServerName, context: &CallContext, outcome: Outcome) -> End {
        self.remember(context, server, &outcome);
        End::Came(Ok(projected(context, true, outcome)))
    }

    /// Looks after a task until it is over.
    fn keep(&self, ours: String, host: Host, work: impl Future<Output = End> + Send + 'static) {
        let (router, stop) = (self.clone(), self.tasks().token());
        self.tasks().spawn("hosted task", async move {
            let mut work = Box::pin(work);
            let end = loop {
                tokio::select! {
                    biased;
                    () = stop.cancelled() => return,
                    end = &mut work => break end,
                    () = asked_in_task(host.about.client.as_deref()) => router.task_table().touched(&ours),
                }
            };
            match &host.about.client {
                Some(client) => client.questions.end_all(),
                None => router.end_questions_of(&host),
            }
            let standing = router.task_table().ended(&ours, end);
            router.tell_of_hosted(&host.context, standing.as_ref());
        });
    }

    fn end_questions_of(&self, host: &Host) {
        if let Some(client) = self.listeners().client(&host.about.lane.session) {
            client.questions.call_ended(&host.about.lane, &client.outbox);
        }
    }

    // === Towards clients ===

    /// The answer of a child that has made no task: a client with a handshake has asked for one all the same.
    fn answered_at_once(&self, host: Host, outcome: Outcome) -> Outcome {
        let is_asked_in_task = host.about.client.is_some();
        let (Ok(_), false) = (&outcome, is_asked_in_task) else {
            return outcome;
        };
        let ours = self.task_table().host(host.about.clone(), &Raw::empty_object());
        let end = self.came(&host.about.server, &host.context, outcome);
        self.task_table().ended(&ours, end);
        Ok(self.created(&host, &ours))
    }

    /// The answer to the call that has become a task.
    fn created(&self, host: &Host, ours: &str) -> Raw {
        let standing = self.task_table().standing(&host.about.owner, ours);
        let Some(standing) = standing else {
            return Raw::empty_object();
        };
        match &host.about.client {
            Some(_) => created_for_extension(&standing),
            None => created_for_handshake(&standing),
        }
    }

    /// A client with a handshake is told how its task stands now; the others listen.
    pub(super) fn tell_of_hosted(&self, context: &CallContext, standing: Option<&Standing>) {
        let Some(standing) = standing.filter(|standing| standing.client.is_none()) else {
            return;
        };
        let line = notification_line(method::TASK_STATUS, Some(&shown_for_handshake(standing)));
        self.say_to_hosted(context, &standing.ours, line);
    }

    /// To the client of a task: where it waits for the end, or on any other way.
    pub(super) fn say_to_hosted(&self, context: &CallContext, ours: &str, line: bytes::Bytes) {
        let waiter = self.task_table().waiter(ours);
        if waiter.is_some_and(|waiter| waiter.push(line.clone())) {
            return;
        }
        if let Some(client) = self.listeners().client(&context.lane.session) {
            client.outbox.message(line);
        }
    }

    /// Waits until the client waits for the end of its task: there it can be asked (MCP 2025-11-25, tasks, "Input
    /// Required Status").
    pub(super) async fn waiter_of(&self, ours: &str) {
        let mut changes = self.task_table().changes();
        while self.task_table().waiter(ours).is_none() {
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// `tasks/get` and `tasks/cancel` of a hosted task, for a client with a handshake.
    pub(super) fn hosted_state(&self, context: &CallContext, asked: &str, ours: &str) -> Option<Outcome> {
        let owner = &context.lane.home;
        if asked != method::TASKS_CANCEL {
            return Some(Ok(shown_for_handshake(&self.task_table().standing(owner, ours)?)));
        }
        Some(match self.task_table().cancel(owner, ours)? {
            Ok(standing) => {
                self.tell_of_hosted(context, Some(&standing));
                Ok(shown_for_handshake(&standing))
            }
            Err(over) => {
                let status = status_for_handshake(&over).as_str();
                let text = format!("Cannot cancel task: already in terminal status '{status}'");
                Err(RpcError::invalid_params(text).raw())
            }
        })
    }

    /// `tasks/result` of a hosted task: waits for its end.
    pub(super) async fn hosted_result(
        &self,
        context: &CallContext,
        ours: &str,
    ) -> Result<Outcome, RouteError> {
        let mut changes = self.task_table().changes();
        self.task_table().waits(ours, &context.lane);
        loop {
            changes.mark_unchanged();
            let standing = self.task_table().standing(&context.lane.home, ours);
            let standing = standing.ok_or(RouteError::NoTask)?;
            match standing.end {
                None => {}
                Some(End::Cancelled) => {
                    return Ok(Err(
                        RpcError::new(code::INTERNAL_ERROR, "the task was cancelled").raw()
                    ));
                }
                Some(End::Came(outcome)) => {
                    return outcome.map(|outcome| outcome.map(|result| related::belonging_to(&result, ours)));
                }
            }
            let cancelled = || RouteError::Child {
                server: standing.server.clone(),
                error: CallError::Cancelled,
            };
            tokio::select! {
                biased;
                () = context.lane.cancelled() => return Err(cancelled()),
                // Whose time is over is swept away, and found no more.
                changed = changes.changed() => if changed.is_err() { return Err(RouteError::NoTask) },
            }
        }
    }
}

fn client_of(profile: &Arc<Profile>, caller: &Lane) -> Arc<ClientSide> {
    // Tasks of the extension have no log messages.
    let profile = Profile {
        log_level: None,
        ..Profile::clone(profile)
    };
    let client = ClientSide::of_task(Arc::new(profile));
    Arc::new(client.within(caller.scope.clone(), caller.holder.clone()))
}

async fn asked_in_task(client: Option<&ClientSide>) {
    match client {
        Some(client) => client.questions.asked().await,
        None => std::future::pending().await,
    }
}
