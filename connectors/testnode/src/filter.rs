//! Which logs a client asked for.

use serde_json::Value;

/// The `address` and `topics` of a filter, as `eth_getLogs` and `eth_subscribe` take them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filter {
    addresses: Option<Vec<String>>,
    /// For each position the topics allowed, or anything.
    topics: Vec<Option<Vec<String>>>,
}

impl Filter {
    pub(crate) fn of(value: &Value) -> Filter {
        let topics = value["topics"].as_array().map(Vec::as_slice).unwrap_or_default();
        Filter { addresses: one_or_more(&value["address"]), topics: topics.iter().map(one_or_more).collect() }
    }

    pub(crate) fn matches(&self, log: &Value) -> bool {
        let held = |allowed: &Option<Vec<String>>, value: &Value| {
            allowed.as_ref().is_none_or(|allowed| {
                value.as_str().is_some_and(|value| allowed.iter().any(|one| one.eq_ignore_ascii_case(value)))
            })
        };
        held(&self.addresses, &log["address"])
            && self.topics.iter().enumerate().all(|(index, allowed)| held(allowed, &log["topics"][index]))
    }
}

/// One text or a list of them; nothing and an empty list allow anything.
fn one_or_more(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::String(one) => Some(vec![one.clone()]),
        Value::Array(items) if !items.is_empty() => {
            Some(items.iter().filter_map(Value::as_str).map(str::to_owned).collect())
        }
        _ => None,
    }
}
