//! The definition of a join: every row against every row.

use highwater_operators::join::JoinKind;

/// A row of either side: its keys, and what the condition reads.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) keys: Vec<Option<String>>,
    pub(crate) value: Option<i64>,
}

/// What a condition says of a pair.
pub(crate) type Verdict = Result<bool, String>;

/// What a join shows: rows of the left and of the right side by their places, and the mark.
pub(crate) type Shown = (Option<usize>, Option<usize>, bool);

/// The rows of a join, and the errors of its condition.
pub(crate) fn joined(
    kind: JoinKind,
    null_equals_null: bool,
    left: &[Row],
    right: &[Row],
    condition: impl Fn(&Row, &Row) -> Verdict,
) -> (Vec<Shown>, Vec<String>) {
    let mut errors = Vec::new();
    let mut pairs: Vec<(usize, usize)> = Vec::new();
    for (l, one) in left.iter().enumerate() {
        for (r, other) in right.iter().enumerate() {
            let equal = |(a, b): (&Option<String>, &Option<String>)| a == b && (null_equals_null || a.is_some());
            if one.keys.iter().zip(&other.keys).all(equal) {
                match condition(one, other) {
                    Ok(true) => pairs.push((l, r)),
                    Ok(false) => {}
                    Err(reason) => errors.push(reason),
                }
            }
        }
    }
    let with_match = |l: &usize| pairs.iter().any(|pair| pair.0 == *l);
    let matched = || (0..left.len()).filter(with_match).map(|l| (Some(l), None, true));
    let unmatched_left = || (0..left.len()).filter(|l| !with_match(l)).map(|l| (Some(l), None, false));
    let unmatched_right =
        || (0..right.len()).filter(|r| pairs.iter().all(|pair| pair.1 != *r)).map(|r| (None, Some(r), false));
    let both = || pairs.iter().map(|(l, r)| (Some(*l), Some(*r), true));
    let shown = match kind {
        JoinKind::Inner => both().collect(),
        JoinKind::Left => both().chain(unmatched_left()).collect(),
        JoinKind::Right => both().chain(unmatched_right()).collect(),
        JoinKind::Full => both().chain(unmatched_left()).chain(unmatched_right()).collect(),
        JoinKind::LeftSemi => matched().collect(),
        JoinKind::LeftAnti => unmatched_left().collect(),
        JoinKind::LeftMark => matched().chain(unmatched_left()).collect(),
        // x <> ALL (…): true if it is for each, unknown if it is for one, and unknown rows are not shown.
        JoinKind::NullAwareAnti => {
            let differs = |x: &Option<String>, y: &Option<String>| x.is_some() && y.is_some() && x != y;
            let all_differ = |l: &usize| right.iter().all(|other| differs(&left[*l].keys[0], &other.keys[0]));
            (0..left.len()).filter(all_differ).map(|l| (Some(l), None, false)).collect()
        }
    };
    (shown, errors)
}
