//! The view as those see it who may not see everything: made when it is first asked for, at most once a change and a
//! scope, and kept for some scopes.
//!
//! Who sees everything takes the view itself, and nothing here.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use super::refresh::Catalog;
use super::view::View;
use crate::access::Scope;

/// Scopes whose views are kept. With more, those asked for least lately are made anew.
pub const N_SCOPES_MAX: usize = 64;

/// Views of scopes.
#[derive(Debug, Default)]
pub(super) struct Scoped(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    n_asked: u64,
    views: HashMap<Arc<Scope>, Made>,
}

/// What is kept of one scope: its view of the present, and of the view before, which is asked for when a change is told.
#[derive(Debug, Default)]
struct Made {
    asked_at: u64,
    now: Option<Cell>,
    before: Option<Cell>,
}

/// A view that is made once, however many ask for it at once.
#[derive(Debug, Clone)]
struct Cell {
    of: Arc<View>,
    made: Arc<OnceLock<Arc<View>>>,
}

impl Made {
    fn of(&self, whole: &Arc<View>) -> Option<&Cell> {
        let mut both = self.now.iter().chain(&self.before);
        both.find(|cell| Arc::ptr_eq(&cell.of, whole))
    }
}

impl Scoped {
    fn within(&self, whole: &Arc<View>, scope: &Arc<Scope>) -> Arc<View> {
        let cell = self.cell(whole, scope);
        // Others wait only if they ask for the same.
        let made = cell.made.get_or_init(|| Arc::new(whole.within(scope)));
        Arc::clone(made)
    }

    fn cell(&self, whole: &Arc<View>, scope: &Arc<Scope>) -> Cell {
        let mut kept = self.kept();
        kept.n_asked += 1;
        let asked_at = kept.n_asked;
        if kept.views.len() >= N_SCOPES_MAX && !kept.views.contains_key(scope) {
            let oldest = kept.views.iter().min_by_key(|(_, made)| made.asked_at);
            let oldest = oldest.map(|(scope, _)| Arc::clone(scope));
            oldest.and_then(|oldest| kept.views.remove(&oldest));
        }
        let made = kept.views.entry(Arc::clone(scope)).or_default();
        made.asked_at = asked_at;
        if let Some(cell) = made.of(whole) {
            return cell.clone();
        }
        let cell = Cell {
            of: Arc::clone(whole),
            made: Arc::default(),
        };
        made.before = made.now.replace(cell.clone());
        cell
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Catalog {
    /// The view now, as far as a scope reaches.
    pub fn view_within(&self, scope: Option<&Arc<Scope>>) -> Arc<View> {
        self.within(&self.view(), scope)
    }

    /// A view as far as a scope reaches.
    pub fn within(&self, whole: &Arc<View>, scope: Option<&Arc<Scope>>) -> Arc<View> {
        match scope {
            None => Arc::clone(whole),
            Some(scope) => self.scoped().within(whole, scope),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ServerName;

    fn scope(n: usize) -> Arc<Scope> {
        let server = ServerName::parse(&format!("s{n}")).unwrap();
        Arc::new(Scope::of(Some(vec![server]), None).unwrap())
    }

    #[test]
    fn a_view_is_made_once_a_change_and_scope_and_few_are_kept() {
        let scoped = Scoped::default();
        let (one, two) = (Arc::new(View::default()), Arc::new(View::default()));
        let first = scoped.within(&one, &scope(0));
        assert!(Arc::ptr_eq(&scoped.within(&one, &scope(0)), &first), "made once");
        let second = scoped.within(&two, &scope(0));
        assert!(!Arc::ptr_eq(&second, &first));
        assert!(
            Arc::ptr_eq(&scoped.within(&one, &scope(0)), &first),
            "the one before is kept"
        );
        for n in 1..2 * N_SCOPES_MAX {
            scoped.within(&two, &scope(n));
            scoped.within(&two, &scope(0));
        }
        assert_eq!(scoped.kept().views.len(), N_SCOPES_MAX);
        assert!(
            Arc::ptr_eq(&scoped.within(&two, &scope(0)), &second),
            "what is asked for stays"
        );
    }
}
