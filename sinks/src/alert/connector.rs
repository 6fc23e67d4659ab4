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

use highwater_engine::model::alert::notification_schema;
use highwater_engine::options::{OptionDoc, Options};
use highwater_engine::sink::{SinkError, SinkRequest};

use super::channel::Channel;
use super::settings::Settings;
use crate::common::unsupported;

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
