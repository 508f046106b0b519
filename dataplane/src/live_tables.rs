//! A look at the tables that a running gateway's workers use: with learned routes and neighbors.

use std::fmt;
use std::sync::mpsc::{self, Sender};

use rewire_tables::Tables;

use crate::gateway::{GatewayError, Request};

/// Who can be asked for a look: the manager, on whose thread it is done. Workers are not disturbed; a publish waits for its end.
#[derive(Clone, Debug)]
pub struct LiveTables(pub(crate) Sender<Request>);

/// Something to be done with the tables.
pub(crate) struct Look(Box<dyn FnOnce(&Tables) + Send>);

impl Look {
    /// Does it.
    pub(crate) fn at(self, tables: &Tables) {
        (self.0)(tables);
    }
}

impl fmt::Debug for Look {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Look")
    }
}

impl LiveTables {
    /// Looks at the tables of the generation that is live. Keep it short: nothing is published meanwhile.
    ///
    /// # Errors
    /// The gateway is stopping.
    pub fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Tables) -> T + Send + 'static,
    ) -> Result<T, GatewayError> {
        let (reply, answer) = mpsc::sync_channel(1);
        let look = Look(Box::new(move |tables| {
            // Whoever has asked may be gone.
            let _ = reply.send(look(tables));
        }));
        let sent = self.0.send(Request::Look(look));
        sent.map_err(|_| GatewayError::Stopping)?;
        answer.recv().map_err(|_| GatewayError::Stopping)
    }
}
