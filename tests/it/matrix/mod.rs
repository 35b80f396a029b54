//! The compatibility matrix: clients of each revision, through each of its doors, with children of each revision.
//!
//! Both ends are scripted to the byte: a child of exactly one revision (`fake-child --exactly`) and clients that say
//! what their revision has. What the run shows is written into `docs/compatibility.md`.

mod asks;
mod bare;
mod base;
mod cell;
mod payloads;
mod peer;
mod report;
mod table;
mod tasks;

use std::any::Any;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::{JoinSet, LocalSet};

use cell::{Cell, Door, Group, Outcome, REVISIONS, Revision};
use table::{FEATURES, Feature};

/// Daemons that run at once.
const N_GROUPS_AT_ONCE: usize = 3;
/// No feature takes longer in a cell; every wait within has its own, shorter bound.
const PATIENCE: Duration = Duration::from_secs(60);

/// One feature in one cell.
struct Ran {
    door: Door,
    client: Revision,
    child: Revision,
    feature: usize,
    outcome: Result<Outcome, String>,
}

#[tokio::test]
async fn every_client_gets_from_every_child_what_both_revisions_have() {
    let local = LocalSet::new();
    let ran = local.run_until(all()).await;
    let failed: Vec<String> = ran
        .iter()
        .filter_map(|one| {
            let why = one.outcome.as_ref().err()?;
            let Ran {
                door, client, child, ..
            } = one;
            let name = FEATURES[one.feature].name;
            Some(format!(
                "{name}: client {client} over {}, child {child}: {why}",
                door.name()
            ))
        })
        .collect();
    assert!(
        failed.is_empty(),
        "{} failed:\n{}",
        failed.len(),
        failed.join("\n")
    );
    report::keep(&ran);
}

/// Runs all cells: those of one daemon one after the other, several daemons side by side.
async fn all() -> Vec<Ran> {
    let places = Rc::new(Semaphore::new(N_GROUPS_AT_ONCE));
    let mut groups = JoinSet::new();
    for client in REVISIONS {
        for door in Door::ALL.into_iter().filter(|door| door.is_open_to(client)) {
            let places = Rc::clone(&places);
            groups.spawn_local(async move {
                let _place = places.acquire().await.unwrap();
                group(door, client).await
            });
        }
    }
    let mut ran = Vec::new();
    while let Some(group) = groups.join_next().await {
        ran.extend(group.expect("a daemon starts, and ends well"));
    }
    ran.sort_by_key(|one| (one.client, one.door, one.child, one.feature));
    ran
}

/// All cells of one daemon, which has to end well and leave nothing behind.
async fn group(door: Door, client: Revision) -> Vec<Ran> {
    let group = Group::start(door, client).await;
    let mut ran = Vec::new();
    for (feature, of_table) in FEATURES.iter().enumerate() {
        for child in REVISIONS {
            let outcome = one(of_table, Cell::new(&group, child)).await;
            ran.push(Ran {
                door,
                client,
                child,
                feature,
                outcome,
            });
        }
    }
    let group = Rc::into_inner(group).expect("no cell is left");
    group.daemon.end().await;
    ran
}

/// One feature in one cell; a panic is its failure.
async fn one(feature: &Feature, cell: Cell) -> Result<Outcome, String> {
    let running = (feature.run)(cell);
    let running = tokio::task::spawn_local(async move { tokio::time::timeout(PATIENCE, running).await });
    match running.await {
        Ok(Ok(outcome)) => Ok(outcome),
        Ok(Err(_late)) => Err(format!("not done within {PATIENCE:?}")),
        Err(failed) => Err(failed
            .try_into_panic()
            .map_or_else(|why| why.to_string(), sentence)),
    }
}

fn sentence(panic: Box<dyn Any + Send>) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_else(|| "a panic without words".to_owned())
}
