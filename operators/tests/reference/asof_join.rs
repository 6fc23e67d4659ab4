//! The definition of the ASOF join: every left row looks at every right row.

use highwater_operators::asof_join::AsofCondition;

/// A row of either side. `order` is what decides between right rows of one time.
#[derive(Clone, Debug)]
pub(crate) struct Row<O> {
    pub(crate) keys: Vec<Option<String>>,
    pub(crate) time: Option<i64>,
    pub(crate) order: O,
}

/// For each left row the place of the right row it meets.
pub(crate) fn met<O: Ord>(condition: AsofCondition, left: &[Row<O>], right: &[Row<O>]) -> Vec<Option<usize>> {
    let meets = |one: &Row<O>, other: &Row<O>| {
        let equal = one.keys.iter().zip(&other.keys).all(|(a, b)| a.is_some() && a == b);
        let (Some(t), Some(u)) = (one.time, other.time) else { return false };
        let near = match condition {
            AsofCondition::AtOrBefore => t >= u,
            AsofCondition::Before => t > u,
            AsofCondition::AtOrAfter => t <= u,
            AsofCondition::After => t < u,
        };
        equal && near
    };
    let nearest = |one: &Row<O>| {
        let candidates = (0..right.len()).filter(|place| meets(one, &right[*place]));
        candidates.max_by_key(|place| {
            let other = &right[*place];
            let distance = one.time.zip(other.time).map(|(t, u)| (t - u).abs());
            (std::cmp::Reverse(distance), &other.order)
        })
    };
    left.iter().map(nearest).collect()
}
