//! The reference pages in `docs` are what the code says. `UPDATE=1` rewrites them.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::path::Path;
use std::process::Command;

fn page(name: &str) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_highwater")).args(["reference", name]).output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_reference_is_up_to_date() {
    for name in ["sql", "functions", "tables", "connectors", "errors"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../docs/{name}.md"));
        let made = page(name);
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&path, &made).unwrap();
        }
        let found = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(found, made, "docs/{name}.md is not what the code says; UPDATE=1 rewrites it");
    }
}
