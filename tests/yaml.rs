//! YAML is read as kubectl reads it: our reading of a corpus beside that of kubectl's own libraries.

mod support;

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use immutable_operator::manifest::{to_text, trees};
use serde::Deserialize as _;
use serde_json::Value;

/// The YAML files of a folder of the corpus, in order.
fn corpus(folder: &str) -> Result<Vec<PathBuf>> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(Path::new("tests/data/yaml").join(folder))?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()?;
    files.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    ensure!(!files.is_empty(), "no corpus in {folder:?}");
    Ok(files)
}

/// What kubectl's libraries make of files: the documents, or the error.
async fn kubectl_reads(files: &[PathBuf]) -> Result<Vec<Result<Vec<Value>, String>>> {
    let mut child =
        Command::new(support::binary("yaml-to-json").await?).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut stdin = child.stdin.take().context("no stdin")?;
    for file in files {
        writeln!(stdin, "{}", serde_json::to_string(&std::path::absolute(file)?)?)?;
    }
    drop(stdin);
    let answers = BufReader::new(child.stdout.take().context("no stdout")?)
        .lines()
        .map(|line| {
            let line = line?;
            // One text of the corpus is nested deeper than this reader of JSON goes; that kubectl reads it is all that counts.
            let answer: Value = match serde_json::from_str(&line) {
                Err(error) if line.starts_with("{\"documents\"") && error.to_string().contains("recursion limit") => {
                    return Ok(Ok(Vec::new()));
                }
                answer => answer?,
            };
            Ok(match answer["documents"].as_array() {
                Some(documents) => Ok(documents.clone()),
                None => Err(answer["error"].to_string()),
            })
        })
        .collect::<Result<_>>()?;
    child.wait()?;
    Ok(answers)
}

/// What we make of a file: the documents that hold something, or the first error.
fn we_read(file: &Path) -> Result<Result<Vec<Value>, String>> {
    let text = match to_text("file", std::fs::read(file)?) {
        Ok(text) => text,
        Err(error) => return Ok(Err(error.to_string())),
    };
    let mut documents = Vec::new();
    for tree in trees("file", &text) {
        match tree {
            Ok(tree) => match Value::deserialize(tree.root()) {
                Ok(Value::Null) => {}
                Ok(value) => documents.push(value),
                Err(error) => return Ok(Err(error.to_string())),
            },
            Err(error) => return Ok(Err(error.to_string())),
        }
    }
    Ok(Ok(documents))
}

/// JSON has one kind of number: Go writes the float 1000.0 as 1000.
fn one_kind_of_number(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(one_kind_of_number),
        Value::Object(fields) => fields.values_mut().for_each(one_kind_of_number),
        Value::Number(number) => *value = serde_json::json!(number.as_f64()),
        _ => {}
    }
}

#[tokio::test]
async fn we_read_what_kubectl_reads() -> Result<()> {
    let files = corpus("")?;
    for (file, theirs) in files.iter().zip(kubectl_reads(&files).await?) {
        let (mut ours, mut theirs) = (we_read(file)?, theirs);
        for documents in [&mut ours, &mut theirs].into_iter().flatten() {
            documents.retain(|document| !document.is_null());
            documents.iter_mut().for_each(one_kind_of_number);
        }
        ensure!(
            ours.is_ok() && ours.as_ref().ok() == theirs.as_ref().ok(),
            "{}: we {ours:?}, kubectl {theirs:?}",
            file.display()
        );
    }
    Ok(())
}

#[tokio::test]
async fn we_refuse_what_kubectl_refuses() -> Result<()> {
    let files = corpus("refused")?;
    for (file, theirs) in files.iter().zip(kubectl_reads(&files).await?) {
        let ours = we_read(file)?;
        ensure!(ours.is_err(), "{}: we read {ours:?}", file.display());
        ensure!(theirs.is_err(), "{}: kubectl reads {theirs:?}", file.display());
    }
    Ok(())
}

#[tokio::test]
async fn where_we_are_stricter_we_are_so_on_purpose() -> Result<()> {
    let files = corpus("stricter")?;
    for (file, theirs) in files.iter().zip(kubectl_reads(&files).await?) {
        ensure!(we_read(file)?.is_err(), "{}: we read it", file.display());
        ensure!(theirs.is_ok(), "{}: kubectl refuses it too: {theirs:?}", file.display());
    }
    Ok(())
}
