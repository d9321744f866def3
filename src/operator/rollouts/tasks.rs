//! Tasks of which it stays known what each is about, also of one that panics.

use std::collections::HashMap;
use std::future::Future;

use tokio::task::{Id, JoinSet};

/// Those that are under way.
pub(super) struct Tasks<A, T> {
    tasks: JoinSet<T>,
    about: HashMap<Id, A>,
}

impl<A, T: Send + 'static> Tasks<A, T> {
    /// None.
    pub(super) fn new() -> Self {
        Self { tasks: JoinSet::new(), about: HashMap::new() }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.tasks.len()
    }

    /// Begins one.
    pub(super) fn spawn(&mut self, about: A, task: impl Future<Output = T> + Send + 'static) {
        let id = self.tasks.spawn(task).id();
        self.about.insert(id, about);
    }

    /// Waits for one to end; its result is none where it has panicked. None where nothing is under way.
    ///
    /// It may be broken off at any time.
    pub(super) async fn next(&mut self) -> Option<(A, Option<T>)> {
        loop {
            let (id, result) = match self.tasks.join_next_with_id().await? {
                Ok((id, result)) => (id, Some(result)),
                Err(error) => {
                    tracing::error!(%error, "a task of rollouts has broken off");
                    (error.id(), None)
                }
            };
            if let Some(about) = self.about.remove(&id) {
                return Some((about, result));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic)]

    use super::*;

    #[tokio::test]
    async fn one_that_panics_tells_what_it_was_about() {
        let mut tasks = Tasks::new();
        assert_eq!(tasks.next().await, None);
        tasks.spawn("a", async { 1 });
        assert_eq!(tasks.next().await, Some(("a", Some(1))));
        tasks.spawn("b", async { panic!("as a bug does") });
        assert_eq!(tasks.next().await, Some(("b", None)));
        assert_eq!((tasks.len(), tasks.about.len()), (0, 0));
    }
}
