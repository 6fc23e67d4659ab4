//! The thread of the network, and the reader that takes from it.

use std::cell::Cell;
use std::rc::Rc;
use std::thread::JoinHandle;
use std::time::Duration;

use highwater_engine::model::chain_profile::ChainProfile;
use highwater_engine::source::{ReadRequest, SourceError, SourceEvent, SourceReader};
use tokio::sync::{oneshot, watch};
use tokio::task::LocalSet;

use super::branch::Lost;
use super::call::CallError;
use super::fetch::Fetcher;
use super::finality::{Finality, ask_for_tag};
use super::follow::{Ended, Follower};
use super::heads::{Board, Hint, Pace, Waker};
use super::intake::Intake;
use super::options::{FinalityRule, Settings, Start};
use super::outlet::{Closed, Inlet, Outlet, queue};
use super::pool::Pool;
use super::pool_book::PoolBook;
use super::record::Recorder;
use super::samples::{self, SampleLog};
use super::window::Window;

/// Longest wait of one call of [`SourceReader::next`].
const LONGEST_WAIT: Duration = Duration::from_millis(100);
/// Events that the network may be ahead of the engine.
const QUEUE: usize = 4;

/// Takes what the thread of the network delivers.
pub(super) struct LiveReader {
    inlet: Option<Inlet>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl LiveReader {
    pub(super) fn start(settings: Settings, request: ReadRequest) -> Result<LiveReader, SourceError> {
        // Tables and columns that are not there are found out before anything is asked.
        let parts = Intake::new(&request, &settings, &ChainProfile::unknown(1))?.parts(&request, &settings)?;
        let recorder = settings.record.as_deref().map(|path| Recorder::open(path, parts.traces)).transpose()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|source| SourceError::Read {
            action: "starting",
            place: "the network's runtime".to_owned(),
            source: source.into(),
        })?;
        let (outlet, inlet) = queue(QUEUE);
        let (stop, stopped) = oneshot::channel::<()>();
        let body = move || {
            let local = LocalSet::new();
            local.block_on(&runtime, async move {
                tokio::select! {
                    // The reader is gone.
                    _ = stopped => {}
                    () = serve(settings, request, recorder, outlet) => {}
                }
            });
            drop(local);
            // Names are looked up on threads that may hang for long.
            runtime.shutdown_background();
        };
        let thread = std::thread::Builder::new().name("evm-rpc".to_owned()).spawn(body);
        let thread = thread.map_err(|source| SourceError::Read {
            action: "starting",
            place: "the network's thread".to_owned(),
            source: source.into(),
        })?;
        Ok(LiveReader { inlet: Some(inlet), stop: Some(stop), thread: Some(thread) })
    }
}

impl SourceReader for LiveReader {
    fn next(&mut self) -> Result<SourceEvent, SourceError> {
        let Some(inlet) = &self.inlet else { return Ok(SourceEvent::End) };
        match inlet.next(LONGEST_WAIT) {
            Ok(Some(event)) => event,
            Ok(None) => Ok(SourceEvent::Idle),
            Err(Closed) => {
                let failed = self.thread.take().is_some_and(|thread| thread.join().is_err());
                assert!(!failed, "the thread of the network panicked; its message is above");
                Ok(SourceEvent::End)
            }
        }
    }
}

impl Drop for LiveReader {
    fn drop(&mut self) {
        // Whatever the thread waits for, it sees that nobody is there.
        self.inlet = None;
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // A panic has printed its message.
            drop(thread.join());
        }
    }
}

/// Follows the chain and reports how that ended.
async fn serve(settings: Settings, request: ReadRequest, recorder: Option<Recorder>, outlet: Outlet) {
    let (error, outlet) = match connect(&settings, &request).await {
        Err(error) => (error, outlet),
        Ok(connected) => {
            let mut follower = connected.into_follower(&settings, &request, recorder, outlet);
            match follower.run().await {
                Err(Ended::Failed(error)) => (error, follower.outlet),
                Ok(()) | Err(Ended::Closed) => return,
            }
        }
    };
    if outlet.send(Err(error)).await == Err(Closed) {
        tracing::debug!("nobody reads any more, so nobody hears of the failure");
    }
}

fn unreachable(error: CallError) -> SourceError {
    SourceError::Read { action: "preparing", place: error.place.clone(), source: error.into() }
}

/// What is known once the first endpoint has answered.
struct Connected {
    fetcher: Fetcher,
    intake: Intake,
    profile: ChainProfile,
    head: Hint,
    board: Rc<Board>,
    finality: Finality,
}

async fn connect(settings: &Settings, request: &ReadRequest) -> Result<Connected, SourceError> {
    let wants_samples = request.tables.iter().any(|table| table.name == samples::TABLE);
    let pool = Pool::new(settings, &request.metrics, SampleLog::new(wants_samples)).map_err(unreachable)?;
    let pool = Rc::new(pool);
    let board = Rc::new(Board::default());
    let waker = Waker {
        pool: pool.clone(),
        board: board.clone(),
        announced: Rc::new(Cell::new(None)),
        timeout: settings.request_timeout,
    };
    // Announcements come first, so that no block falls between history and them.
    for announcer in &settings.announcers {
        let answers = announcer.url.host_str().and_then(|host| pool.on_host(host));
        tokio::task::spawn_local(waker.clone().listen(announcer.clone(), answers));
    }
    let probe = Intake::new(request, settings, &ChainProfile::unknown(1))?;
    let fetcher = Fetcher { pool: pool.clone(), parts: probe.parts(request, settings)? };
    let (endpoint, header) = fetcher.first_head().await?;
    let chain_id = pool.chain_id().expect("an endpoint answered, and its chain was asked first");
    let profile = ChainProfile::of(chain_id).copied().unwrap_or_else(|| ChainProfile::unknown(chain_id));
    let intake = Intake::new(request, settings, &profile)?;
    let poll = settings.poll_interval(&profile);
    let block_time = Duration::from_millis(profile.block_time_ms);
    let pace = Pace { poll, check: (poll * 4).max(block_time), silence: (block_time * 4).max(Duration::from_secs(2)) };
    tokio::task::spawn_local(waker.poll(pace));
    let rule = settings.finality(&profile);
    let (news, known) = watch::channel(super::finality::Tag::default());
    if rule == FinalityRule::Tag {
        let every = block_time.clamp(Duration::from_millis(500), Duration::from_secs(12));
        tokio::task::spawn_local(ask_for_tag(pool, news, every));
    }
    let floor = Window::resume(&request.known).floor();
    let mut finality = Finality::new(rule, settings.confirmations(&profile), known, floor);
    finality.first_news(settings.request_timeout).await;
    Ok(Connected { fetcher, intake, profile, head: Hint { header, endpoint: Some(endpoint) }, board, finality })
}

impl Connected {
    fn into_follower(
        self,
        settings: &Settings,
        request: &ReadRequest,
        mut recorder: Option<Recorder>,
        outlet: Outlet,
    ) -> Follower {
        if let Some(recorder) = &mut recorder {
            recorder.chain_id = self.profile.chain_id;
        }
        let head = self.head.header.number;
        let from = request.from_block.unwrap_or(match settings.start {
            Start::Number(number) => number,
            // A recording has no gaps, so it goes on where it ends.
            Start::Back(blocks) => {
                recorder.as_ref().and_then(Recorder::begin).unwrap_or_else(|| head.saturating_sub(blocks))
            }
        });
        let start = request.resume.map_or(from, |cursor| cursor.saturating_add(1));
        tracing::info!(chain = self.profile.name, chain_id = self.profile.chain_id, head, start, "following a chain");
        self.board.put(self.head);
        let end = [request.to_block, settings.end_block].into_iter().flatten().min();
        Follower {
            ahead: settings.concurrency * self.fetcher.pool.len() * 2,
            fetcher: self.fetcher,
            intake: self.intake,
            pool_book: PoolBook::new(settings, request),
            window: Window::resume(&request.known),
            finality: self.finality,
            board: self.board,
            recorder,
            outlet,
            start,
            end,
            batch: settings.batch,
            begins: request.resume.is_none() || !request.known.is_empty(),
            missing: None,
            lost: Lost::default(),
        }
    }
}
