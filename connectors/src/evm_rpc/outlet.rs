//! The bounded way from the network's thread to the reader's.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use highwater_engine::source::{SourceError, SourceEvent};
use tokio::sync::Semaphore;

type Event = Result<SourceEvent, SourceError>;

/// Nobody reads any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Closed;

/// The sending end: waits without blocking its thread.
pub(super) struct Outlet {
    sender: SyncSender<Event>,
    places: Arc<Semaphore>,
}

/// The receiving end: blocks its thread, but not for ever.
pub(super) struct Inlet {
    receiver: Receiver<Event>,
    places: Arc<Semaphore>,
}

/// A queue of `places` events.
pub(super) fn queue(places: usize) -> (Outlet, Inlet) {
    let (sender, receiver) = sync_channel(places);
    let places = Arc::new(Semaphore::new(places));
    (Outlet { sender, places: places.clone() }, Inlet { receiver, places })
}

impl Outlet {
    /// Hands an event over as soon as there is a place.
    pub(super) async fn send(&self, event: Event) -> Result<(), Closed> {
        let place = self.places.acquire().await.map_err(|_| Closed)?;
        // The reader gives the place back when it has taken the event.
        place.forget();
        self.sender.send(event).map_err(|_| Closed)
    }
}

impl Inlet {
    /// The next event, or `None` if none came in time; an error if none will come any more.
    pub(super) fn next(&self, at_most: Duration) -> Result<Option<Event>, Closed> {
        match self.receiver.recv_timeout(at_most) {
            Ok(event) => {
                self.places.add_permits(1);
                Ok(Some(event))
            }
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err(Closed),
        }
    }
}
