//! Paths, folders, bytes.

use std::fs;
use std::path::{Path, PathBuf};

use super::super::{ErrorKind, Glob, Source, discover, load, to_text};

fn write(root: &Path, files: &[&str]) {
    for file in files {
        let path = root.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "a: 1\n").unwrap();
    }
}

fn found(root: &Path, exclude: &[&str]) -> (Vec<String>, Vec<String>) {
    let globs: Vec<Glob> = exclude.iter().map(|glob| glob.parse().unwrap()).collect();
    let discovery = discover(&[root.to_owned()], &globs);
    let short =
        |name: &str| name.replace(&format!("{}/", root.display()), "").replace(&root.display().to_string(), "ROOT");
    let names = discovery.sources.iter().map(|source| short(&source.name)).collect();
    (names, discovery.errors.iter().map(|error| short(&error.to_string())).collect())
}

#[test]
fn folders_are_walked_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let files = [
        "b.yaml",
        "a/z.yml",
        "a/b.JSON",
        "c.txt",
        ".git/x.yaml",
        ".hidden.yaml",
        "a/.x/y.yaml",
        "a.yaml",
        "d/e/f.yaml",
    ];
    write(folder.path(), &files);
    let (names, errors) = found(folder.path(), &[]);
    assert_eq!(names, ["a/b.JSON", "a/z.yml", "a.yaml", "b.yaml", "d/e/f.yaml"]);
    assert!(errors.is_empty());
    for (exclude, left) in [
        (["*.yaml"], vec!["a/b.JSON", "a/z.yml"]),
        (["a"], vec!["a.yaml", "b.yaml", "d/e/f.yaml"]),
        (["a/*.yml"], vec!["a/b.JSON", "a.yaml", "b.yaml", "d/e/f.yaml"]),
        (["d/**"], vec!["a/b.JSON", "a/z.yml", "a.yaml", "b.yaml"]),
        (["**/f.yaml"], vec!["a/b.JSON", "a/z.yml", "a.yaml", "b.yaml"]),
        (["/*.yaml"], vec!["a/b.JSON", "a/z.yml", "d/e/f.yaml"]),
        (["?.yaml"], vec!["a/b.JSON", "a/z.yml"]),
    ] {
        assert_eq!(found(folder.path(), &exclude).0, left, "{exclude:?}");
    }
    for bad in ["", "/", "[a]", "{a,b}", "!a"] {
        assert!(bad.parse::<Glob>().is_err(), "{bad:?}");
    }
}

#[test]
fn charts_give_one_error_each() {
    let folder = tempfile::tempdir().unwrap();
    write(
        folder.path(),
        &[
            "x/Chart.yaml",
            "x/values.yaml",
            "x/templates/a.yaml",
            "x/templates/b.yaml",
            "x/crds/c.yaml",
            "x/charts/y/Chart.yaml",
            "x/charts/y/templates/d.yaml",
            "templates/e.yaml",
        ],
    );
    let (names, errors) = found(folder.path(), &[]);
    assert_eq!(names, ["templates/e.yaml", "x/Chart.yaml", "x/charts/y/Chart.yaml", "x/crds/c.yaml", "x/values.yaml"]);
    assert_eq!(errors, ["x/Chart.yaml:1:1: x is a Helm chart: helm template x | immutable check -"]);
    assert_eq!(found(folder.path(), &["x"]).1, [""; 0]);
}

#[cfg(unix)]
#[test]
fn links_in_a_circle_end() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &["a/b.yaml", "data/real.yaml"]);
    std::os::unix::fs::symlink(folder.path(), folder.path().join("a/loop")).unwrap();
    std::os::unix::fs::symlink("self.yaml", folder.path().join("self.yaml")).unwrap();
    std::os::unix::fs::symlink(folder.path().join("data/real.yaml"), folder.path().join("link.yaml")).unwrap();
    let (names, errors) = found(folder.path(), &[]);
    assert_eq!(names, ["a/b.yaml", "data/real.yaml", "link.yaml"]);
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(errors[0].starts_with("self.yaml:1:1: cannot be read: "));
}

#[test]
fn named_paths() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &["notes.txt"]);
    let paths = [PathBuf::from("-"), folder.path().join("notes.txt"), folder.path().join("missing.yaml")];
    let discovery = discover(&paths, &[]);
    assert_eq!(discovery.sources.len(), 2);
    assert!(discovery.sources.iter().all(|source| source.named));
    assert_eq!((discovery.sources[0].name.as_str(), discovery.sources[0].path.is_none()), ("-", true));
    assert_eq!(discovery.errors[0].kind, ErrorKind::Unreadable);
    assert_eq!(load(&discovery.sources[1]).unwrap(), "a: 1\n");
    let as_file = Source { name: "d".into(), path: Some(folder.path().to_owned()), named: true };
    assert!(load(&as_file).is_err());
    let large = folder.path().join("large.yaml");
    fs::File::create(&large).unwrap().set_len(super::super::MAX_INPUT + 1).unwrap();
    let error = load(&Source { name: "l".into(), path: Some(large), named: true }).unwrap_err();
    assert_eq!(error.to_string(), "l:1:1: larger than 512 MiB: split it");
}

#[test]
fn only_text_is_read() {
    for (bytes, expected) in [
        (&b"a: 1\nb: \xff\n"[..], "-:2:4: not valid UTF-8"),
        (b"\x7fELF\x02\x00\x01", "-:1:1: is binary data, not YAML or JSON"),
        (b"\xff\xfea\0", "-:1:1: is UTF-16 or UTF-32: save it as UTF-8"),
        (b"\xfe\xff\0a", "-:1:1: is UTF-16 or UTF-32: save it as UTF-8"),
    ] {
        assert_eq!(to_text("-", bytes.to_vec()).unwrap_err().to_string(), expected);
    }
}
