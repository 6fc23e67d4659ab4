//! Paths with `*`, `?` and `**`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Whether a path is a pattern.
pub(super) fn is_pattern(path: &str) -> bool {
    path.contains(['*', '?'])
}

/// The files that a pattern names, in the order of their paths. `*` and `?` stay within a folder, `**` stands
/// for any folders.
pub(super) fn files(pattern: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = vec![PathBuf::new()];
    for part in pattern.components() {
        let text = part.as_os_str().to_string_lossy();
        if !is_pattern(&text) {
            found.iter_mut().for_each(|path| path.push(part));
            continue;
        }
        let mut next = Vec::new();
        for folder in &found {
            match text.as_ref() {
                "**" => add_folders(folder, &mut next)?,
                text => {
                    let entries = entries(folder)?;
                    next.extend(entries.into_iter().filter(|path| matches(text, &name(path))));
                }
            }
        }
        found = next;
    }
    found.retain(|path| path.is_file());
    found.sort();
    found.dedup();
    Ok(found)
}

/// The files below a folder with this ending, in the order of their paths.
pub(super) fn files_below(folder: &Path, ending: &str) -> io::Result<Vec<PathBuf>> {
    let mut folders = Vec::new();
    add_folders(folder, &mut folders)?;
    let mut found = Vec::new();
    for folder in folders {
        found.extend(entries(&folder)?.into_iter().filter(|path| path.is_file() && name(path).ends_with(ending)));
    }
    found.sort();
    Ok(found)
}

fn add_folders(folder: &Path, found: &mut Vec<PathBuf>) -> io::Result<()> {
    found.push(folder.to_owned());
    for entry in entries(folder)?.into_iter().filter(|path| path.is_dir() && !path.is_symlink()) {
        add_folders(&entry, found)?;
    }
    Ok(())
}

/// What is in a folder, hidden things left out; nothing if there is no such folder.
fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let here = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let read = match fs::read_dir(here) {
        Ok(read) => read,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for entry in read {
        let entry = entry?.file_name();
        if !entry.to_string_lossy().starts_with('.') {
            found.push(folder.join(entry));
        }
    }
    found.sort();
    Ok(found)
}

fn name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// Whether a name fits a pattern. Quadratic at worst: the last star alone is tried again.
fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(c) if *c == '?' || *c == name[n] => {
                p += 1;
                n += 1;
            }
            _ => match &mut star {
                Some((at, from)) => {
                    *from += 1;
                    (p, n) = (*at + 1, *from);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_patterns() {
        for (pattern, name, fits) in [
            ("*.parquet", "a.parquet", true),
            ("*.parquet", "a.parquet.tmp", false),
            ("a?c*", "abcd", true),
            ("a?c", "ac", false),
            ("*a*b", "xaxbxab", true),
            ("*", "", true),
        ] {
            assert_eq!(matches(pattern, name), fits, "{pattern} {name}");
        }
    }

    #[test]
    fn files_are_found_in_folders() {
        let folder = tempfile::tempdir().unwrap();
        for path in ["a/1.csv", "a/b/2.csv", "a/3.txt", "c/4.csv"] {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        let found = |pattern: &str| {
            let found = files(&folder.path().join(pattern)).unwrap();
            let base = folder.path();
            let shown = found.iter().map(|path| path.strip_prefix(base).unwrap().display().to_string());
            shown.collect::<Vec<_>>()
        };
        assert_eq!(found("*/*.csv"), ["a/1.csv", "c/4.csv"]);
        assert_eq!(found("**/*.csv"), ["a/1.csv", "a/b/2.csv", "c/4.csv"]);
        assert_eq!(found("none/*.csv"), [""; 0]);
        assert_eq!(files_below(folder.path(), ".txt").unwrap().len(), 1);
    }
}
