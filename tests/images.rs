//! Image references are read as the kubelet reads them: our parser beside distribution/reference.

#[path = "agreement/random.rs"]
mod random;
mod support;

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use immutable_core::image::Reference;
use random::{Random, seed};
use serde_json::{Value, json};

/// How many strings one run compares.
const STRINGS: usize = 200_000;

/// Parts that references are made of, right and nearly right ones.
const PARTS: &[&str] = &[
    "nginx",
    "library/nginx",
    "docker.io/",
    "index.docker.io/",
    "registry.example:5000/",
    "localhost/",
    "localhost:5000",
    "[::1]:5000/",
    "[fe80::a]/",
    "[b]/",
    "Foo/",
    "my_host.example/",
    "ghcr.io/shop/web",
    "a.b/c",
    "a__b",
    "a___b",
    "a-b--c",
    "a..b",
    "-a",
    ":latest",
    ":1.27.3",
    ":v1_2-3.x",
    ":",
    ":-x",
    ":Latest",
    "@",
    "@sha256:",
    "@sha512:",
    "@sha384:",
    "@md5:",
    "@sha256:ABCDEF",
    "/",
    "//",
    " ",
    "\n",
    "\u{0}",
    "\u{430}",
    "\u{200b}",
    "é",
    "{{ .Values.tag }}",
    "${TAG}",
    "https://",
    "user@",
    "é/x",
];

/// A string in the neighbourhood of the grammar.
fn candidate(random: &mut Random) -> String {
    let hex = |random: &mut Random, length: usize| -> String {
        (0..length).map(|_| *random.pick(&['0', '9', 'a', 'f', 'c'])).collect()
    };
    let mut text = String::new();
    if random.chance(60) {
        // Valid so far, so that what is appended decides.
        text.push_str(random.pick::<&str>(&[
            "nginx",
            "docker.io/library/nginx",
            "r.example:5000/a/b",
            "[::1]:5000/a",
            "Foo/bar",
        ]));
        text.push_str(random.pick::<&str>(&["", "", ":latest", ":1.27.3"]));
    }
    for _ in 0..random.below(3) {
        text.push_str(random.pick::<&str>(PARTS));
    }
    if random.chance(30) {
        let (algorithm, length) =
            *random.pick(&[("sha256", 64), ("sha384", 96), ("sha512", 128), ("sha256", 63), ("sha256", 65)]);
        text = format!("{text}@{algorithm}:{}", hex(random, length));
    }
    if random.chance(5) {
        text = hex(random, 64);
    }
    if random.chance(10) {
        let filling = (*random.pick(&["a", "a/", "a.", "ab-"])).repeat(100 + random.below(160));
        text = format!("{}{filling}{text}", random.pick(&["", "docker.io/", "r.example/"]));
    }
    if random.chance(15) && !text.is_empty() {
        let at = random.below(text.len());
        if text.is_char_boundary(at) {
            text.insert(at, *random.pick(&['.', '-', '_', ':', '@', '/', 'A', 'z', '0', ' ']));
        }
    }
    text
}

/// What we make of a string, in the words of the Go program.
fn ours(text: &str) -> Value {
    match Reference::parse(text) {
        Err(_) => Value::Null,
        Ok(reference) => json!({
            "domain": reference.registry(),
            "path": reference.repository(),
            "tag": reference.tag().unwrap_or_default(),
            "digest": reference.digest().unwrap_or_default(),
        }),
    }
}

#[tokio::test]
async fn our_parser_agrees_with_distribution_reference() -> Result<()> {
    let seed = seed("images")?;
    let mut child =
        Command::new(support::binary("reference-parse").await?).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut stdin = child.stdin.take().context("no stdin")?;
    let writer = std::thread::spawn(move || -> Result<()> {
        for case in 0..STRINGS {
            writeln!(stdin, "{}", serde_json::to_string(&candidate(&mut Random::of(seed, case)))?)?;
        }
        Ok(())
    });
    let mut valid = 0_usize;
    let mut answered = 0_usize;
    for (case, line) in BufReader::new(child.stdout.take().context("no stdout")?).lines().enumerate() {
        let answer: Value = serde_json::from_str(&line?)?;
        let theirs = if answer["error"].is_string() { Value::Null } else { answer };
        let text = candidate(&mut Random::of(seed, case));
        ensure!(ours(&text) == theirs, "{text:?}: we {}, Go {theirs}", ours(&text));
        valid += usize::from(!theirs.is_null());
        answered += 1;
    }
    writer.join().map_err(|_| anyhow::anyhow!("the writer panicked"))??;
    child.wait()?;
    println!("{answered} strings, {valid} of them valid, no difference");
    ensure!(answered == STRINGS, "only {answered} answers");
    ensure!(valid > STRINGS / 20 && valid < STRINGS * 19 / 20, "{valid} valid ones say too little of one side");
    Ok(())
}
