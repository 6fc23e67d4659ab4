//! The queries of TPC-H and Nexmark as maintained views: each file of `tests/tpch` and `tests/nexmark` is kept up to date
//! while the rows of its tables come and go, and compared with DataFusion's engine over the rows that are there.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod dialect;
mod nexmark;
mod oracle;
mod random;
mod tpch;
mod workload;

/// One test a query, and one that no file is left out.
macro_rules! workload {
    ($workload:ident: $($query:ident)*) => {
        mod $workload {
            $(
                #[test]
                fn $query() {
                    crate::workload::check(stringify!($workload), stringify!($query), super::super::$workload::rows());
                }
            )*

            #[test]
            fn every_file_is_run() {
                crate::workload::are_all(stringify!($workload), &[$(stringify!($query)),*]);
            }
        }
    };
}

mod queries {
    workload!(tpch: q01 q02 q03 q04 q05 q06 q07 q08 q09 q10 q11 q12 q13 q14 q15 q16 q17 q18 q19 q20 q21 q22);
    workload!(nexmark: q00 q01 q02 q03 q04 q05 q06 q07 q08 q09 q10 q11 q12 q13 q14 q15 q16 q17 q18 q19 q20 q21 q22);
}

/// Joins of TPC-H meet over keys; only the one value of a subquery is compared with every row.
#[test]
fn joins_of_tpch_have_keys() {
    for number in 1..=22 {
        let query = format!("q{number:02}");
        let without = workload::joins_without_keys("tpch", &query);
        let wanted = usize::from(query == "q11" || query == "q22");
        assert_eq!(without.len(), wanted, "{query}: {without:?}");
    }
}
