//! What jobs become: each `plans/*.sql` gives the plan of its `*.txt`.

#[path = "plans/catalog.rs"]
mod catalog;

use std::fmt::Write as _;

use catalog::{StaticCatalog, golden};
use highwater::plan::{JobPlan, Node, NodeKind, explain, explain_state, plan};
use highwater::sql::parse;

fn planned(name: &str, text: &str) -> JobPlan {
    match parse(text).and_then(|job| plan(&job, &mut StaticCatalog)) {
        Ok(plan) => plan,
        Err(mistakes) => {
            let shown: Vec<String> = mistakes.iter().map(|mistake| mistake.render(name, text, false)).collect();
            panic!("{}", shown.join("\n"));
        }
    }
}

#[test]
fn jobs_become_plans() {
    golden("plans", |name, text| {
        let plan = planned(name, text);
        for view in &plan.views {
            assert_eq!(view.schema, view.root.schema, "{name}: {}", view.name);
            check(&view.root);
        }
        let mut shown = explain(&plan);
        shown.push_str("\nstate\n");
        shown.push_str(&explain_state(&plan));
        shown.push_str("\nread\n");
        for source in &plan.sources {
            for table in &source.tables {
                let columns: Vec<_> = table.schema.fields().iter().map(|field| field.name().as_str()).collect();
                let _ = writeln!(shown, "{}.{} [{}]", source.name, table.name, columns.join(", "));
            }
        }
        for sink in &plan.sinks {
            let _ = writeln!(shown, "sink {} {:?} {:?} to {}", sink.name, sink.input, sink.emit, sink.connector);
        }
        for text in &plan.explains {
            let _ = write!(shown, "\nexplain\n{text}");
        }
        shown
    });
}

/// Every index points to a column, and every expression gives the type of its column.
fn check(node: &Node) {
    let inputs = node.inputs();
    if let (NodeKind::Project { expressions, .. }, [input]) = (&node.kind, inputs.as_slice()) {
        assert_eq!(expressions.len(), node.schema.fields().len());
        for (expression, field) in expressions.iter().zip(node.schema.fields()) {
            let data_type = expression.data_type(&input.schema).expect("the expression has a type");
            assert_eq!(&data_type, field.data_type(), "{}: {expression}", field.name());
        }
    }
    if let (NodeKind::Aggregate { keys, calls, closing, .. }, [input]) = (&node.kind, inputs.as_slice()) {
        let width = input.schema.fields().len();
        assert!(keys.iter().all(|key| *key < width));
        assert!(calls.iter().all(|call| call.arguments.iter().all(|column| *column < width)));
        assert!(closing.is_none_or(|position| position < keys.len()));
        assert_eq!(node.schema.fields().len(), keys.len() + calls.len());
    }
    if let (NodeKind::Union { .. }, _) = (&node.kind, ()) {
        for input in &inputs {
            for (field, own) in input.schema.fields().iter().zip(node.schema.fields()) {
                assert_eq!(field.data_type(), own.data_type());
            }
        }
    }
    for input in inputs {
        check(input);
    }
}
