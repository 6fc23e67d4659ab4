//! The listener: one port, both transports, and a way to have them all gone.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use crate::closed::ClosedPort;
use crate::fault::Effect;
use crate::state::State;
use crate::{http, socket};

/// What the controls and the connections share.
pub(crate) struct Shared {
    state: Mutex<State>,
    /// Told whenever a request was answered or a socket came or went.
    pub(crate) changed: Condvar,
    /// Raised to let held answers go.
    pub(crate) gate: watch::Sender<u64>,
}

impl Shared {
    pub(crate) fn new(state: State) -> Shared {
        Shared { state: Mutex::new(state), changed: Condvar::new(), gate: watch::channel(0).0 }
    }

    /// A panic of a test while it held the lock must not hide behind a second panic.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits as long as the effects of an exchange say.
    pub(crate) async fn wait(&self, effects: &[Effect]) {
        for effect in effects {
            match effect {
                Effect::Delay(duration) => tokio::time::sleep(*duration).await,
                Effect::Hold => {
                    let mut gate = self.gate.subscribe();
                    // The sender lives as long as `self`.
                    drop(gate.changed().await);
                }
                _ => {}
            }
        }
    }
}

struct Running {
    task: JoinHandle<()>,
    /// Ends when the listener and every connection are gone.
    gone: Receiver<()>,
}

pub(crate) struct Server {
    /// Taken when the server is dropped.
    runtime: Option<Runtime>,
    running: Mutex<Option<Running>>,
    /// Keeps the port for as long as nobody listens on it.
    closed: Mutex<Option<ClosedPort>>,
    /// 0 until the system has chosen one.
    port: AtomicU16,
}

impl Server {
    pub(crate) fn start(shared: Arc<Shared>) -> Server {
        let runtime = Builder::new_multi_thread().worker_threads(1).thread_name("testnode").enable_all().build();
        let runtime = runtime.expect("the runtime of the test node starts");
        let server = Server {
            runtime: Some(runtime),
            running: Mutex::default(),
            closed: Mutex::default(),
            port: AtomicU16::new(0),
        };
        server.listen(shared);
        server
    }

    pub(crate) fn port(&self) -> u16 {
        self.port.load(Ordering::SeqCst)
    }

    pub(crate) fn runtime(&self) -> &Runtime {
        self.runtime.as_ref().expect("the runtime lives as long as the server")
    }

    fn running(&self) -> MutexGuard<'_, Option<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn closed(&self) -> MutexGuard<'_, Option<ClosedPort>> {
        self.closed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Listens, on the port of before if there was one.
    pub(crate) fn listen(&self, shared: Arc<Shared>) {
        let mut running = self.running();
        if running.is_some() {
            return;
        }
        drop(self.closed().take());
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, self.port()));
        let listener = listener.unwrap_or_else(|error| panic!("listening on port {} failed: {error}", self.port()));
        self.port.store(listener.local_addr().expect("a listener has an address").port(), Ordering::SeqCst);
        listener.set_nonblocking(true).expect("a listener can be made non-blocking");
        let (alive, gone) = channel();
        let task = self.runtime().spawn(accept(listener, shared, alive));
        *running = Some(Running { task, gone });
    }

    /// Closes the listener and every connection; returns when they are closed.
    pub(crate) fn stop(&self) {
        if let Some(Running { task, gone }) = self.running().take() {
            task.abort();
            // Nothing is ever sent: the iteration ends when the last sender is dropped.
            gone.iter().for_each(|()| {});
            let closed = ClosedPort::at(self.port());
            *self.closed() = Some(closed.expect("the port that was just given up can be taken again"));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>, alive: Sender<()>) {
    let listener = tokio::net::TcpListener::from_std(listener).expect("the listener is non-blocking");
    // Dropped with this task, it takes all connections along.
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        while connections.try_join_next().is_some() {}
        connections.spawn(connection(stream, shared.clone(), alive.clone()));
    }
}

/// A WebSocket begins with a GET, everything else of JSON-RPC with a POST.
async fn connection(stream: TcpStream, shared: Arc<Shared>, _alive: Sender<()>) {
    drop(stream.set_nodelay(true));
    let mut first = [0];
    match stream.peek(&mut first).await {
        Ok(1) if first == *b"G" => socket::serve(stream, &shared).await,
        Ok(1) => http::serve(stream, &shared).await,
        _ => {}
    }
}
