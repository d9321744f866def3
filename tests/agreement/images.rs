//! Images: what people write, what they mistype, and what only an attacker writes.

use crate::random::Random;

const HEXADECIMAL: &str = "0123456789abcdef";

/// A digest of an algorithm, `sha256:0123…`.
pub(crate) fn digest(algorithm: &str, length: usize) -> String {
    format!("{algorithm}:{}", HEXADECIMAL.repeat(length.div_ceil(16)).split_at(length).0)
}

/// An image that breaks no rule.
pub(crate) fn pinned() -> String {
    format!("registry.example/team/app:1.27.3@{}", digest("sha256", 64))
}

/// References at the edges of the grammar and beyond, as somebody may have written them.
const WRITTEN: &[&str] = &[
    "nginx",
    "nginx:latest",
    "nginx:1.27.3",
    "nginx:stable",
    // Tags that look like the CEL of rules.
    "nginx:ci-1.2.3",
    "nginx:ci.image-1",
    "nginx:api-image",
    "nginx:image",
    "nginx:i",
    "nginx:r.x",
    "nginx:c.resources.x",
    "nginx:c.securityContext.x",
    "nginx:main",
    "nginx:pr-1",
    "nginx:pr-",
    "nginx:pr",
    "nginx:v1",
    "nginx:LATEST",
    "nginx:Latest",
    "nginx:latest-1",
    "nginx:not-latest",
    "library/nginx:latest",
    "docker.io/nginx",
    "docker.io/library/nginx:latest",
    "index.docker.io/nginx:1",
    "localhost/app:1",
    "localhost/app",
    "localhost:5000/app",
    "localhost:5000/app:latest",
    "registry.example:5000/team/app:stable",
    "team/app",
    "[2001:db8::1]:5000/app:1",
    "[2001:db8::1]/app",
    "[::1]/app:latest",
    "[fe80]/app",
    "[fe80]:1/app:2",
    "[]/app:1",
    "[g]/app:1",
    "my_host.example/app",
    "my_host/app:1",
    "my_host.example:5000/app",
    "Registry.Example/app:1",
    "UPPER/app:1",
    "app/UPPER:1",
    "Nginx:1",
    "a/B",
    "nginx:",
    ":tag",
    ":",
    "@",
    "/",
    "//",
    "nginx@",
    "nginx:1@",
    "nginx@sha256:abc",
    "nginx@sha256:",
    "nginx::1",
    "nginx:1:2",
    "nginx:1/2",
    "a/b:c/d",
    "host:port/app",
    "host:/app",
    "http://nginx",
    "https://r.example/a:1",
    "$(IMAGE)",
    "{{ .Values.image }}",
    "<image>",
    "nginx:${TAG}",
    "ngi nx",
    "nginx :1",
    "nginx: 1",
    "nginx:1\n",
    "nginx\nlatest",
    "nginx\t:1",
    "nginx:1\u{0}",
    "\u{7f}nginx",
    "ng\u{456}nx:1",
    "nginx\u{ff1a}latest",
    "nginx\u{200b}:latest",
    "\u{1F600}",
    "caf\u{e9}:1",
    "nginx:\u{661}",
    "a__b:1",
    "a___b:1",
    "a_.b:1",
    "a..b:1",
    "a--b:1",
    "a---b:1",
    "a-:1",
    "-a:1",
    "_a:1",
    ".a:1",
    "a.:1",
    "a/:1",
    "/a:1",
    "a//b:1",
    "a.b-c_d/e:1",
    "nginx:.1",
    "nginx:-1",
    "nginx:_1",
    "nginx:1.",
    "nginx:1-_.",
    "1:1",
    "1.2.3.4/a",
    "1.2.3.4:80/a:1",
    "a.b",
    "a.b:1",
    "a:5000/b",
    "a:5000",
    "x@y:z",
    "'\"\\",
    "nginx|latest",
    "nginx: latest",
    "nginx; latest",
    "?",
    "...",
];

/// References at the edges of the grammar and beyond.
pub(crate) fn edges() -> Vec<String> {
    let sha256 = digest("sha256", 64);
    let mut edges: Vec<String> = WRITTEN.iter().map(ToString::to_string).collect();
    edges.extend(with_digests(&sha256));
    // At the lengths at which texts are cut, refused, or handled in another way.
    for length in [77, 78, 80, 81, 82, 127, 128, 129, 130, 247, 248, 249, 255, 256, 257] {
        edges.extend([
            "a".repeat(length),
            format!("{}:1", "a".repeat(length - 2)),
            format!("nginx:{}", "t".repeat(length)),
            format!("registry.example/{}:1", "a".repeat(length)),
            format!("registry.example:5000/{}", "a".repeat(length)),
            format!("docker.io/{}:1", "a".repeat(length)),
            format!("team/{}:latest", "a".repeat(length)),
            format!("localhost/{}@{sha256}", "a".repeat(length)),
            format!("my_host.example/{}:1", "a".repeat(length)),
            format!("{}\u{e9}", "a".repeat(length - 1)),
            "\u{e9}".repeat(length),
        ]);
    }
    for length in [1023, 1024, 1025, 3000] {
        edges.push(format!("{}/nginx:latest", "r".repeat(length - 13)));
        edges.push(format!("{}.example/nginx:1", "r".repeat(length - 16)));
        edges.push("\u{1F600}".repeat(length));
    }
    edges
}

/// References with a digest, or something like one.
fn with_digests(sha256: &str) -> Vec<String> {
    vec![
        format!("nginx@{sha256}"),
        format!("nginx:latest@{sha256}"),
        format!("nginx:stable@{sha256}"),
        format!("docker.io/library/nginx@{sha256}"),
        format!("nginx:@{sha256}"),
        format!("@{sha256}"),
        format!("nginx:1@{sha256}@{sha256}"),
        format!("nginx:1@{sha256}0"),
        format!("nginx:1@{sha256} "),
        format!("nginx:1@{}", &sha256[..sha256.len() - 1]),
        format!("nginx:1@{}", sha256.to_uppercase()),
        format!("nginx:1@sha256:{}", sha256[7..].to_uppercase()),
        format!("nginx:1@{}", digest("sha384", 96)),
        format!("nginx@{}", digest("sha384", 96)),
        format!("nginx:1@{}", digest("sha512", 128)),
        format!("nginx@{}", digest("sha512", 64)),
        format!("nginx:1@{}", digest("sha1", 40)),
        format!("nginx:1@{}", digest("md5", 32)),
        format!("nginx:1@{}", digest("sha256+b64", 64)),
        format!("nginx:1@{}", digest("blake3", 64)),
        sha256.to_owned(),
        sha256[7..].to_owned(),
        sha256[8..].to_owned(),
        format!("{}:latest", &sha256[7..]),
        format!("x/{}", &sha256[7..]),
    ]
}

const CHARACTERS: [char; 34] = [
    'a',
    'z',
    'A',
    'Z',
    '0',
    '9',
    'f',
    'g',
    ':',
    '/',
    '.',
    '-',
    '_',
    '@',
    '[',
    ']',
    ' ',
    '\n',
    '\t',
    '\\',
    '\'',
    '"',
    '%',
    '+',
    '*',
    '~',
    '!',
    '\u{7f}',
    '\u{e9}',
    '\u{200b}',
    '\u{ff0f}',
    '\u{430}',
    '\u{1F600}',
    '\u{130}',
];

/// Any image: mostly one that a person could have meant.
pub(crate) fn any(random: &mut Random, edges: &[String]) -> String {
    match random.below(20) {
        0..=4 => random.pick(edges).clone(),
        5..=8 => mutated(random, edges),
        _ => composed(random),
    }
}

fn composed(random: &mut Random) -> String {
    let registry = *random.pick(&[
        "",
        "",
        "",
        "docker.io/",
        "registry.example/",
        "localhost:5000/",
        "ghcr.io/",
        "[::1]:5000/",
        "r_x.example/",
    ]);
    let repository = *random.pick(&[
        "nginx",
        "team/app",
        "team/app/part",
        "a.b/c-d",
        "library/redis",
        "x__y/z--w",
        "very/deep/path/of/parts",
    ]);
    let tag = *random.pick(&[
        "",
        "",
        ":latest",
        ":1.27.3",
        ":stable",
        ":api-image",
        ":i.image",
        ":main",
        ":pr-17",
        ":v2",
        ":20260101",
        ":_x",
        ":canary.1",
        ":V1-rc.2",
    ]);
    let digest = match random.below(8) {
        0 | 1 => format!("@{}", digest("sha256", 64)),
        2 => format!("@{}", digest("sha512", 128)),
        3 => format!("@{}", digest("sha384", 96)),
        _ => String::new(),
    };
    format!("{registry}{repository}{tag}{digest}")
}

fn mutated(random: &mut Random, edges: &[String]) -> String {
    let image = if random.chance(50) { composed(random) } else { random.pick(edges).clone() };
    let mut characters: Vec<char> = image.chars().collect();
    for _ in 0..=random.below(2) {
        let at = random.below(characters.len());
        let character = *random.pick(&CHARACTERS);
        match random.below(4) {
            0 => characters.insert(at, character),
            1 if characters.len() > 1 => drop(characters.remove(at)),
            2 if at < characters.len() => characters[at] = character,
            _ => characters.push(character),
        }
    }
    characters.into_iter().collect()
}
