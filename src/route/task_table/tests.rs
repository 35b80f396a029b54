//! Tasks that children run, as the table knows them.

use super::*;
use crate::child::link::Link;
use crate::child::sending::Witness;
use crate::ids::ServerName;
use crate::rpc::RequestId;

fn raw(text: &str) -> Raw {
    Raw::parse(&text.to_owned().into()).unwrap()
}

fn instance(server: &str) -> Instance {
    Instance::first(ServerName::parse(server).unwrap())
}

fn made(table: &Arc<TaskTable>, session: &SessionId, wire: u64, task: &str) -> String {
    let token = Some(raw("\"t\""));
    let lane = Arc::new(Lane::new(session.clone(), RequestId::number(1), token));
    let creation = Creation::new(table, &lane, &instance("a"), None);
    let (link, _queue) = Link::new(Generation(1), 1);
    creation.answered(&link, WireId(wire), &Ok(raw(&format!(r#"{{"task":{task}}}"#))));
    creation.minted().unwrap().to_owned()
}

#[test]
fn a_task_is_its_sessions_alone_under_an_id_of_ours() {
    let table = Arc::new(TaskTable::default());
    let (one, two) = (SessionId::random(), SessionId::random());
    let ours = made(
        &table,
        &one,
        1,
        r#"{"taskId":"x","status":"working","ttl":1.0e3,"z":null}"#,
    );
    let found = table.find(&one, &ours).unwrap();
    assert_eq!(
        found.shown.as_str(),
        format!(r#"{{"taskId":"{ours}","status":"working","ttl":1.0e3,"z":null}}"#)
    );
    assert!(table.find(&two, &ours).is_none() && table.find(&one, "x").is_none());
    assert_eq!(
        table
            .belongs(&instance("a"), Generation(1), "x")
            .unwrap()
            .1
            .session,
        one
    );
    assert!(table.belongs(&instance("b"), Generation(1), "x").is_none());
    assert_eq!(
        (
            table.all_of(&one, Instant::now()).len(),
            table.all_of(&two, Instant::now()).len()
        ),
        (1, 0)
    );
    assert_eq!(table.remove_session(&one).len(), 1);
    assert!(table.is_empty());
}

#[test]
fn a_name_that_comes_again_shows_the_new_task_to_its_own_session_only() {
    let table = Arc::new(TaskTable::default());
    let (one, two) = (SessionId::random(), SessionId::random());
    let old = made(&table, &one, 1, r#"{"taskId":"1","status":"working"}"#);
    let new = made(&table, &two, 1, r#"{"taskId":"1","status":"working"}"#);
    assert!(table.find(&one, &old).is_none() && table.find(&two, &new).is_some());
}

#[test]
fn progress_is_passed_on_while_it_grows_and_the_task_runs() {
    let table = Arc::new(TaskTable::default());
    let session = SessionId::random();
    let ours = made(&table, &session, 7, r#"{"taskId":"x","status":"working"}"#);
    let at = |generation, wire, value| {
        table
            .progress(&instance("a"), Generation(generation), WireId(wire), value)
            .map(|(_, token)| token)
    };
    assert_eq!(at(1, 7, 1.0), Some(raw("\"t\"")));
    assert_eq!((at(1, 7, 1.0), at(1, 8, 2.0), at(2, 7, 2.0)), (None, None, None));
    table.stands(&ours, &raw(r#"{"taskId":"x","status":"completed"}"#));
    assert_eq!(at(1, 7, 3.0), None);
    assert!(table.lanes_on(&instance("a"), Generation(1)).is_empty());
}

#[tokio::test(start_paused = true)]
async fn tasks_are_forgotten_after_their_time_and_running_ones_are_bounded() {
    let table = Arc::new(TaskTable::default());
    let session = SessionId::random();
    made(
        &table,
        &session,
        1,
        r#"{"taskId":"short","status":"working","ttl":1000}"#,
    );
    for n in 1..N_TASKS_MAX {
        made(
            &table,
            &session,
            1,
            &format!(r#"{{"taskId":"{n}","status":"working","ttl":null}}"#),
        );
    }
    assert!(!table.has_room(&session, Instant::now()));
    tokio::time::advance(Duration::from_secs(1) + KEPT_AFTER_TTL).await;
    assert!(table.has_room(&session, Instant::now()));
    assert_eq!(table.all_of(&session, Instant::now()).len(), N_TASKS_MAX - 1);
}

#[test]
fn finished_tasks_make_room() {
    let table = Arc::new(TaskTable::default());
    let session = SessionId::random();
    for n in 0..=N_TASKS_MAX {
        made(
            &table,
            &session,
            1,
            &format!(r#"{{"taskId":"{n}","status":"completed"}}"#),
        );
    }
    let all = table.all_of(&session, Instant::now());
    assert_eq!((all.len(), all[0].1.own.as_str()), (N_TASKS_MAX, "1"));
    assert!(table.has_room(&session, Instant::now()));
}
