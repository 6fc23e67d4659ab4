//! What can go wrong, and when.
//!
//! A rule is asked at each occasion it may concern: a call, an announcement, a new socket. It counts the ones that
//! match and acts on those its count names, so a script is deterministic whatever the clock does.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

/// How a request came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// A POST.
    Http,
    /// A message on a WebSocket.
    WebSocket,
}

/// What a rule looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Subject {
    AnyCall,
    Call(String),
    Head,
    Log,
    Connect,
}

/// Which of the matching occasions.
#[derive(Clone, Copy, Debug)]
enum Count {
    Always,
    Nth(u64),
    First(u64),
    After(u64),
    Every(u64),
    Chance { per_mille: u64, seed: u64 },
}

/// When a fault strikes. Without a count: at every matching occasion.
#[derive(Clone, Debug)]
pub struct When {
    subject: Subject,
    transport: Option<Transport>,
    block: Option<u64>,
    count: Count,
}

impl When {
    fn new(subject: Subject) -> When {
        When { subject, transport: None, block: None, count: Count::Always }
    }

    /// A call of `method`.
    pub fn call(method: &str) -> When {
        When::new(Subject::Call(method.to_owned()))
    }

    /// A call of any method.
    pub fn any_call() -> When {
        When::new(Subject::AnyCall)
    }

    /// The announcement of a head to one subscription.
    pub fn head() -> When {
        When::new(Subject::Head)
    }

    /// The announcement of a log to one subscription.
    pub fn log() -> When {
        When::new(Subject::Log)
    }

    /// A client asks for a WebSocket.
    pub fn connect() -> When {
        When::new(Subject::Connect)
    }

    /// Only over one transport.
    #[must_use]
    pub fn over(mut self, transport: Transport) -> When {
        self.transport = Some(transport);
        self
    }

    /// Only if the first parameter of the call, the head or the log names the block at this height, by number or hash.
    #[must_use]
    pub fn at_block(mut self, number: u64) -> When {
        self.block = Some(number);
        self
    }

    /// Only the `nth` time, counted from 1.
    #[must_use]
    pub fn nth(mut self, nth: u64) -> When {
        self.count = Count::Nth(nth);
        self
    }

    /// Only the first `count` times.
    #[must_use]
    pub fn first(mut self, count: u64) -> When {
        self.count = Count::First(count);
        self
    }

    /// Always after the first `count` times.
    #[must_use]
    pub fn after(mut self, count: u64) -> When {
        self.count = Count::After(count);
        self
    }

    /// Every `nth` time: with 3 the third, sixth and so on.
    #[must_use]
    pub fn every(mut self, nth: u64) -> When {
        self.count = Count::Every(nth);
        self
    }

    /// By a coin that depends on `seed` and on how many occasions came before, `per_mille` of 1000 times.
    #[must_use]
    pub fn chance(mut self, per_mille: u64, seed: u64) -> When {
        self.count = Count::Chance { per_mille, seed };
        self
    }

    fn concerns(&self, occasion: &Occasion<'_>) -> bool {
        let subject = match (&self.subject, &occasion.kind) {
            (Subject::AnyCall, Kind::Call(_))
            | (Subject::Head, Kind::Head)
            | (Subject::Log, Kind::Log)
            | (Subject::Connect, Kind::Connect) => true,
            (Subject::Call(wanted), Kind::Call(method)) => wanted == method,
            _ => false,
        };
        subject
            && self.transport.is_none_or(|transport| transport == occasion.transport)
            && self.block.is_none_or(|block| occasion.block == Some(block))
    }
}

impl Count {
    /// Whether the occasion with this number, counted from 1, is meant.
    fn means(self, seen: u64) -> bool {
        match self {
            Count::Always => true,
            Count::Nth(nth) => seen == nth,
            Count::First(count) => seen <= count,
            Count::After(count) => seen > count,
            Count::Every(nth) => seen.is_multiple_of(nth),
            Count::Chance { per_mille, seed } => {
                mix(seed ^ seen.wrapping_mul(0x9e37_79b9_7f4a_7c15)) % 1000 < per_mille
            }
        }
    }
}

/// The finaliser of splitmix64.
fn mix(mut value: u64) -> u64 {
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// Changes a result in place.
pub type Alter = Arc<dyn Fn(&mut Value) + Send + Sync>;

/// What happens.
///
/// The first group concerns a whole exchange (on a WebSocket, whatever has no counterpart there drops the socket),
/// the second one call, the third an announcement.
#[derive(Clone)]
pub enum Effect {
    /// An HTTP answer with this status, and the header `Retry-After` if given. As an effect of
    /// [`When::connect`] the upgrade is refused with it.
    Status(u16, Option<&'static str>),
    /// The connection is reset.
    Reset,
    /// The connection is closed without an answer.
    Close,
    /// Half the body comes, then the connection is closed.
    HalfAnswer,
    /// The answer waits for [`crate::Node::release`]: to the client, a time-out.
    Hold,
    /// The answer is made at once and sent late.
    Delay(Duration),
    /// This text instead of the answer.
    Body(&'static str),
    /// The right answer under this content type.
    ContentType(&'static str),

    /// A JSON-RPC error.
    Error(i64, &'static str),
    /// Neither result nor error.
    NoResult,
    /// The result is `null`.
    Null,
    /// The answer has the id of another request.
    WrongId,
    /// In a batch, there is no answer to this call. A call that stands alone is answered.
    Omit,
    /// The call is answered by a node that is so many blocks behind.
    Behind(u64),
    /// The call is answered as if the block below had been named.
    OtherBlock,
    /// The call is answered from the branch that lost, where there is one at the height named.
    Orphan,
    /// The result is changed; see [`crate::alter`].
    Alter(Alter),

    /// The announcement is lost.
    Lose,
    /// The announcement comes twice.
    Repeat,
    /// The announcement comes after the next one of its subscription.
    Late,
    /// The socket drops instead of the announcement.
    DropSocket,
}

impl Effect {
    /// The result is changed by `alter`.
    pub fn alter(alter: impl Fn(&mut Value) + Send + Sync + 'static) -> Effect {
        Effect::Alter(Arc::new(alter))
    }

    /// HTTP 429, with or without `Retry-After` in seconds.
    pub fn too_many_requests(retry_after: Option<&'static str>) -> Effect {
        Effect::Status(429, retry_after)
    }

    /// The method does not exist.
    pub fn method_not_found() -> Effect {
        Effect::Error(-32_601, "the method does not exist/is not available")
    }

    /// A limit of the provider, as a JSON-RPC error.
    pub fn limit_exceeded() -> Effect {
        Effect::Error(-32_005, "daily request count exceeded, request rate limited")
    }

    /// Something broke inside the node.
    pub fn internal_error() -> Effect {
        Effect::Error(-32_603, "internal error")
    }
}

/// Names a rule that was set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FaultId(pub(crate) u64);

#[derive(Debug)]
pub(crate) enum Kind<'a> {
    Call(&'a str),
    Head,
    Log,
    Connect,
}

/// Something a rule may strike.
#[derive(Debug)]
pub(crate) struct Occasion<'a> {
    pub(crate) kind: Kind<'a>,
    pub(crate) transport: Transport,
    pub(crate) block: Option<u64>,
}

struct Rule {
    id: FaultId,
    when: When,
    effect: Effect,
    seen: u64,
    struck: u64,
}

/// The script: all rules in the order they were set.
#[derive(Default)]
pub(crate) struct Rules {
    rules: Vec<Rule>,
    made: u64,
}

impl Rules {
    pub(crate) fn add(&mut self, when: When, effect: Effect) -> FaultId {
        self.made += 1;
        let id = FaultId(self.made);
        self.rules.push(Rule { id, when, effect, seen: 0, struck: 0 });
        id
    }

    pub(crate) fn clear(&mut self) {
        self.rules.clear();
    }

    pub(crate) fn remove(&mut self, id: FaultId) {
        self.rules.retain(|rule| rule.id != id);
    }

    pub(crate) fn struck(&self, id: FaultId) -> u64 {
        self.rules.iter().find(|rule| rule.id == id).map_or(0, |rule| rule.struck)
    }

    /// All effects of an occasion.
    pub(crate) fn strike(&mut self, occasion: &Occasion<'_>) -> Vec<Effect> {
        let mut effects = Vec::new();
        for rule in self.rules.iter_mut().filter(|rule| rule.when.concerns(occasion)) {
            rule.seen += 1;
            if rule.when.count.means(rule.seen) {
                rule.struck += 1;
                effects.push(rule.effect.clone());
            }
        }
        effects
    }
}
