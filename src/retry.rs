//! To come.
use crate::config::spec::Policy;
use std::time::Duration;
/// x
#[derive(Debug, Clone)]
pub struct RestartDelays;
impl RestartDelays {
    /// x
    pub fn of(_policy: &Policy) -> Self {
        Self
    }
    /// x
    pub fn next_wait(&self, _n: u32) -> Duration {
        Duration::from_millis(250)
    }
}
