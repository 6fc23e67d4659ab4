//! What makes a [`Channel`] a kind of sink: a name, a sentence, options, and one line in `SINKS`.
//!
//! ```text
//! const LISTS: &[&[OptionDoc]] = &[OWN, http::OPTIONS, settings::OPTIONS];
//!
//! pub const PAGER: AlertConnector =
//!     AlertConnector { name: "pager", about: "…", options: &joined::<{ length(LISTS) }>(LISTS), make };
//!
//! fn make(request: &SinkRequest, options: &mut Options) -> Result<Box<dyn Channel>, SinkError> { … }
//! ```
//! `make` takes its own options (and [`HttpSettings::take`](super::http::HttpSettings::take)) and touches
//! nothing outside; what all channels share is taken here.

use std::io;
use std::sync::{Arc, Mutex};

use highwater_engine::model::alert::notification_schema;
use highwater_engine::options::{OptionDoc, Options};
use highwater_engine::sink::{Delivery, Notifications, Sink, SinkConnector, SinkError, SinkRequest};

use super::channel::Channel;
use super::clock::{Clock, SystemClock};
use super::dry::Dry;
use super::outbox::Outbox;
use super::settings::Settings;
use crate::common::unsupported;
use crate::stdout::SharedWriter;

/// A kind of alert channel.
#[derive(Clone, Copy, Debug)]
pub struct AlertConnector {
    /// The word in `WITH (connector = '…')`.
    pub name: &'static str,
    /// One sentence.
    pub about: &'static str,
    /// All options: those of the channel, then [`super::http::OPTIONS`] if it speaks HTTP, then
    /// [`super::settings::OPTIONS`].
    pub options: &'static [OptionDoc],
    /// Makes the channel from its own options, without touching anything outside.
    pub make: Make,
}

/// Makes a channel.
pub type Make = fn(&SinkRequest, &mut Options) -> Result<Box<dyn Channel>, SinkError>;

impl AlertConnector {
    /// Takes all options and makes the channel; touches nothing outside.
    ///
    /// # Errors
    /// If the view is not an alert, or an option is wrong or unknown.
    pub fn channel(&self, request: &SinkRequest, options: Options) -> Result<Box<dyn Channel>, SinkError> {
        self.prepare(request, options).map(|(channel, _)| channel)
    }

    fn prepare(&self, request: &SinkRequest, mut options: Options) -> Result<(Box<dyn Channel>, Settings), SinkError> {
        if request.schema.fields() != notification_schema().fields() {
            return Err(unsupported(request, format!("{} tells about alerts; write CREATE ALERT over it", self.name)));
        }
        let channel = (self.make)(request, &mut options)?;
        let settings = Settings::take(request, &mut options)?;
        options.finish()?;
        Ok((channel, settings))
    }

    /// Opens the sink with another place for the lines of [`Delivery::Print`] than standard output.
    ///
    /// # Errors
    /// As [`SinkConnector::open`].
    pub fn open_with(
        &self,
        request: SinkRequest,
        options: Options,
        writer: SharedWriter,
    ) -> Result<Box<dyn Sink>, SinkError> {
        let (channel, settings) = self.prepare(&request, options)?;
        open(request, settings, channel.into(), Arc::new(SystemClock), writer)
    }
}

impl SinkConnector for AlertConnector {
    fn name(&self) -> &'static str {
        self.name
    }

    fn about(&self) -> &'static str {
        self.about
    }

    fn options(&self) -> &'static [OptionDoc] {
        self.options
    }

    fn notifications(&self) -> Notifications {
        Notifications::Only
    }

    fn check(&self, request: &SinkRequest, options: Options) -> Result<(), SinkError> {
        self.prepare(request, options).map(drop)
    }

    fn open(&self, request: SinkRequest, options: Options) -> Result<Box<dyn Sink>, SinkError> {
        self.open_with(request, options, Arc::new(Mutex::new(io::stdout())))
    }
}

/// Opens the outbox around a channel that no option names, with the options that all channels share.
///
/// # Errors
/// If an option is wrong or unknown, or the ledger cannot be used.
pub fn open_channel(
    request: SinkRequest,
    mut options: Options,
    channel: Arc<dyn Channel>,
    clock: Arc<dyn Clock>,
) -> Result<Box<dyn Sink>, SinkError> {
    let settings = Settings::take(&request, &mut options)?;
    options.finish()?;
    open(request, settings, channel, clock, Arc::new(Mutex::new(io::stdout())))
}

fn open(
    request: SinkRequest,
    settings: Settings,
    channel: Arc<dyn Channel>,
    clock: Arc<dyn Clock>,
    writer: SharedWriter,
) -> Result<Box<dyn Sink>, SinkError> {
    Ok(match request.delivery {
        Delivery::Send => Box::new(Outbox::open(request, settings, channel, clock)?),
        Delivery::Print => Box::new(Dry::new(Some(writer))),
        Delivery::Off => Box::new(Dry::new(None)),
    })
}

/// How many options some lists have together.
pub const fn length(lists: &[&[OptionDoc]]) -> usize {
    let (mut total, mut list) = (0, 0);
    while list < lists.len() {
        total += lists[list].len();
        list += 1;
    }
    total
}

/// Some lists of options as one, in their order.
///
/// # Panics
/// At compile time, if `N` is not their [`length`].
pub const fn joined<const N: usize>(lists: &[&[OptionDoc]]) -> [OptionDoc; N] {
    let mut all = [OptionDoc { name: "", kind: "", default: "", doc: "", example: "" }; N];
    let (mut list, mut filled) = (0, 0);
    while list < lists.len() {
        let mut index = 0;
        while index < lists[list].len() {
            all[filled] = lists[list][index];
            (index, filled) = (index + 1, filled + 1);
        }
        list += 1;
    }
    assert!(filled == N, "N is the length of all lists");
    all
}
