//! The dependency law, and the maps that people follow.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use cargo_metadata::{DependencyKind, MetadataCommand};

/// Who may depend on whom. Anything not listed is forbidden.
const LAW: &[(&str, &[&str])] = &[
    ("highwater-engine", &[]),
    ("highwater-operators", &["highwater-engine"]),
    ("highwater-connectors", &["highwater-engine"]),
    // A support of tests, and a dependency of tests alone.
    ("highwater-testnode", &[]),
    ("highwater-sinks", &["highwater-engine"]),
    ("highwater", &["highwater-engine", "highwater-operators", "highwater-connectors", "highwater-sinks"]),
    (
        "highwater-benches",
        &[
            "highwater",
            "highwater-engine",
            "highwater-operators",
            "highwater-connectors",
            "highwater-sinks",
            "highwater-testnode",
        ],
    ),
];

/// Heavy trees that must stay out of the small crates.
const KEPT_OUT: &[(&str, &[&str])] = &[
    ("highwater-engine", &["datafusion", "alloy", "solana", "reqwest", "clap"]),
    ("highwater-operators", &["datafusion", "alloy", "solana", "reqwest", "clap", "tokio"]),
    ("highwater-connectors", &["datafusion", "differential-dataflow", "clap"]),
    ("highwater-sinks", &["datafusion", "differential-dataflow", "clap"]),
];

/// Name, whether optional, whether ours.
type Dependency = (String, bool, bool);

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn packages() -> BTreeMap<String, Vec<Dependency>> {
    let metadata = MetadataCommand::new().current_dir(root()).no_deps().exec().unwrap();
    metadata
        .workspace_packages()
        .into_iter()
        .map(|package| {
            let dependencies = package
                .dependencies
                .iter()
                .filter(|dependency| dependency.kind == DependencyKind::Normal)
                .map(|dependency| (dependency.name.clone(), dependency.optional, dependency.path.is_some()))
                .collect();
            (package.name.to_string(), dependencies)
        })
        .collect()
}

#[test]
fn crates_depend_only_on_whom_they_may() {
    let packages = packages();
    let known: BTreeSet<&str> = LAW.iter().map(|(name, _)| *name).collect();
    assert_eq!(packages.keys().map(String::as_str).collect::<BTreeSet<_>>(), known, "a crate is not in the law");
    for (name, allowed) in LAW {
        for (dependency, _, ours) in &packages[*name] {
            assert!(!ours || allowed.contains(&dependency.as_str()), "{name} must not depend on {dependency}");
        }
    }
}

#[test]
fn only_the_command_sees_connectors_and_sinks() {
    for (dependency, optional, _) in &packages()["highwater"] {
        let edge = matches!(dependency.as_str(), "highwater-connectors" | "highwater-sinks" | "clap" | "indicatif");
        assert!(!edge || *optional, "{dependency} belongs behind the feature cli");
    }
}

#[test]
fn heavy_trees_stay_out_of_small_crates() {
    let packages = packages();
    for (name, kept_out) in KEPT_OUT {
        for (dependency, _, _) in &packages[*name] {
            let heavy = kept_out.iter().find(|heavy| dependency.starts_with(**heavy));
            assert!(heavy.is_none() || dependency == "alloy-primitives", "{name} must build without {dependency}");
        }
    }
}

#[test]
fn there_is_one_arrow_in_the_tree() {
    let lock = std::fs::read_to_string(root().join("Cargo.lock")).unwrap();
    for name in ["arrow", "arrow-array", "parquet", "timely", "differential-dataflow"] {
        let count = lock.lines().filter(|line| *line == format!("name = \"{name}\"")).count();
        assert_eq!(count, 1, "{name} is there {count} times");
    }
}

#[test]
fn the_maps_name_every_crate() {
    for file in ["README.md", "ARCHITECTURE.md"] {
        let text = std::fs::read_to_string(root().join(file)).unwrap();
        for folder in ["engine", "operators", "connectors", "sinks", "queries", "benches"] {
            assert!(text.contains(&format!("`{folder}")), "{file} does not name {folder}");
        }
    }
}

#[test]
fn every_crate_is_a_workspace_member() {
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
    for entry in std::fs::read_dir(root()).unwrap() {
        let path = entry.unwrap().path();
        if path.join("Cargo.toml").exists() {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            assert!(manifest.contains(&format!("\"{name}\"")), "{name} is not a member");
        }
    }
}
