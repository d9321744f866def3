//! The facts are those of the tables in `reference_test.go`, `normalize_test.go` and `regexp_test.go` of
//! `distribution/reference` v0.6.0 (Apache-2.0), read through `ParseNormalizedNamed`, and what the kubelet was seen
//! doing. `pass` and `fail` were each put to the Go parser too.

#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use rstest::rstest;

use super::*;

const HEX: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn sha256() -> String {
    format!("sha256:{HEX}")
}

fn sha512() -> String {
    format!("sha512:{HEX}{HEX}")
}

fn error(text: &str) -> ReferenceError {
    Reference::parse(text).unwrap_err()
}

/// Input, registry, repository, tag, short form of the name.
#[rstest]
// A name of one part is never a registry, whatever it looks like.
#[case("nginx", "docker.io", "library/nginx", None, "nginx")]
#[case("test_com", "docker.io", "library/test_com", None, "test_com")]
#[case("test.com:tag", "docker.io", "library/test.com", Some("tag"), "test.com")]
#[case("test.com:5000", "docker.io", "library/test.com", Some("5000"), "test.com")]
#[case("localhost:5000", "docker.io", "library/localhost", Some("5000"), "localhost")]
#[case("foo_bar.com:8080", "docker.io", "library/foo_bar.com", Some("8080"), "foo_bar.com")]
#[case("192.168.1.1:5000", "docker.io", "library/192.168.1.1", Some("5000"), "192.168.1.1")]
#[case("index.docker.io", "docker.io", "library/index.docker.io", None, "index.docker.io")]
#[case("lowercase:Uppercase", "docker.io", "library/lowercase", Some("Uppercase"), "lowercase")]
// Registries.
#[case("test.com/repo:tag", "test.com", "repo", Some("tag"), "test.com/repo")]
#[case("test:5000/repo", "test:5000", "repo", None, "test:5000/repo")]
#[case("test:5000/repo:tag", "test:5000", "repo", Some("tag"), "test:5000/repo")]
#[case("test-com:8080/foo", "test-com:8080", "foo", None, "test-com:8080/foo")]
#[case("localhost/fooo/bar", "localhost", "fooo/bar", None, "localhost/fooo/bar")]
#[case("localhost:8080/bar", "localhost:8080", "bar", None, "localhost:8080/bar")]
#[case("LOCALDOMAIN/fooo", "LOCALDOMAIN", "fooo", None, "LOCALDOMAIN/fooo")]
#[case("Foo/bar:1", "Foo", "bar", Some("1"), "Foo/bar")]
#[case("Uppercase/lowercase:tag", "Uppercase", "lowercase", Some("tag"), "Uppercase/lowercase")]
#[case("Asdf.com/foo/bar", "Asdf.com", "foo/bar", None, "Asdf.com/foo/bar")]
#[case("192.168.1.1:5000/repo:5050", "192.168.1.1:5000", "repo", Some("5050"), "192.168.1.1:5000/repo")]
#[case("192.168.1.1:750050/a", "192.168.1.1:750050", "a", None, "192.168.1.1:750050/a")]
#[case("sub-dom1.foo.com/bar/baz/quux", "sub-dom1.foo.com", "bar/baz/quux", None, "sub-dom1.foo.com/bar/baz/quux")]
#[case("xn--n3h.com/myimage:xn--n3h.com", "xn--n3h.com", "myimage", Some("xn--n3h.com"), "xn--n3h.com/myimage")]
#[case("b.gcr.io/t.example.com/a-b:t.e", "b.gcr.io", "t.example.com/a-b", Some("t.e"), "b.gcr.io/t.example.com/a-b")]
#[case("0101.com/a", "0101.com", "a", None, "0101.com/a")]
#[case("ab.c-om/a", "ab.c-om", "a", None, "ab.c-om/a")]
// IPv6 in brackets; the address is not checked, but what marks it as a registry is needed.
#[case("[2001:db8::1]/repo", "[2001:db8::1]", "repo", None, "[2001:db8::1]/repo")]
#[case("[2001:db8::1]:5000/repo:tag", "[2001:db8::1]:5000", "repo", Some("tag"), "[2001:db8::1]:5000/repo")]
#[case("[::1]:5000/repo", "[::1]:5000", "repo", None, "[::1]:5000/repo")]
#[case("[fd00123123123]:75050/a", "[fd00123123123]:75050", "a", None, "[fd00123123123]:75050/a")]
#[case("[F]/a", "[F]", "a", None, "[F]/a")]
// Docker Hub.
#[case("docker/migrator", "docker.io", "docker/migrator", None, "docker/migrator")]
#[case("test_com/foo", "docker.io", "test_com/foo", None, "test_com/foo")]
#[case("do__cker/docker", "docker.io", "do__cker/docker", None, "do__cker/docker")]
#[case("docker---rules/d", "docker.io", "docker---rules/d", None, "docker---rules/d")]
#[case("foo/foo_bar.com:8080", "docker.io", "foo/foo_bar.com", Some("8080"), "foo/foo_bar.com")]
#[case("docker.io/nginx", "docker.io", "library/nginx", None, "nginx")]
#[case("index.docker.io/nginx:1", "docker.io", "library/nginx", Some("1"), "nginx")]
#[case("index.docker.io/fooo/bar", "docker.io", "fooo/bar", None, "fooo/bar")]
#[case("library/ubuntu", "docker.io", "library/ubuntu", None, "ubuntu")]
#[case("docker.io/library/foo/bar", "docker.io", "library/foo/bar", None, "library/foo/bar")]
#[case("other/library", "docker.io", "other/library", None, "other/library")]
#[case(
    "registry-1.docker.io/library/nginx",
    "registry-1.docker.io",
    "library/nginx",
    None,
    "registry-1.docker.io/library/nginx"
)]
#[case("docker.io:443/nginx", "docker.io:443", "nginx", None, "docker.io:443/nginx")]
#[case("Docker.io/nginx", "Docker.io", "nginx", None, "Docker.io/nginx")]
#[case("dbcc1:dbcc1", "docker.io", "library/dbcc1", Some("dbcc1"), "dbcc1")]
// Separators.
#[case("r.io/foo/a--b.c--d.e---f--g", "r.io", "foo/a--b.c--d.e---f--g", None, "r.io/foo/a--b.c--d.e---f--g")]
#[case("example.com/some__underscore/i", "example.com", "some__underscore/i", None, "example.com/some__underscore/i")]
// A registry by its looks and none by the grammar.
#[case("my_host.example/app:1", "", "my_host.example/app", Some("1"), "my_host.example/app")]
// What a search for ":latest" gets wrong.
#[case("host:5000/app", "host:5000", "app", None, "host:5000/app")]
#[case("host:5000/app:latest", "host:5000", "app", Some("latest"), "host:5000/app")]
#[case("app:latest-foo", "docker.io", "library/app", Some("latest-foo"), "app")]
#[case("my.latest", "docker.io", "library/my.latest", None, "my.latest")]
#[case("a/latest:1", "docker.io", "a/latest", Some("1"), "a/latest")]
#[case("latest", "docker.io", "library/latest", None, "latest")]
#[case("app:LATEST", "docker.io", "library/app", Some("LATEST"), "app")]
#[case("app:null", "docker.io", "library/app", Some("null"), "app")]
fn pass(
    #[case] text: &str,
    #[case] registry: &str,
    #[case] repository: &str,
    #[case] tag: Option<&str>,
    #[case] short_name: &str,
) {
    for digest in [None, Some(sha256()), Some(sha512()), Some(format!("sha384:{}", &sha512()[7..103]))] {
        let suffix = digest.as_ref().map(|digest| format!("@{digest}")).unwrap_or_default();
        let written = format!("{text}{suffix}");
        let reference = Reference::parse(&written).unwrap();
        assert_eq!(reference.original(), written);
        assert_eq!(reference.registry(), registry);
        assert_eq!(reference.repository(), repository);
        assert_eq!(reference.tag(), tag);
        assert_eq!(reference.digest(), digest.as_deref());
        assert_eq!(reference.pinned_digest(), digest.as_deref().filter(|digest| !digest.contains("384")));
        assert_eq!(reference.tag_missing(), tag.is_none() && digest.is_none());
        let suffix = tag.map(|tag| format!(":{tag}")).unwrap_or_default() + &suffix;
        assert_eq!(reference.familiar().to_string(), format!("{short_name}{suffix}"));
        let slash = if registry.is_empty() { "" } else { "/" };
        assert_eq!(reference.to_string(), format!("{registry}{slash}{repository}{suffix}"));
    }
}

#[rstest]
#[case("", ReferenceError::Empty)]
// Templates.
#[case("{{ .Values.image }}", ReferenceError::Template { artefact: "{{" })]
#[case("repo:${TAG}", ReferenceError::Template { artefact: "${" })]
#[case("repo:$(TAG)", ReferenceError::Template { artefact: "$(" })]
#[case("repo:<no value>", ReferenceError::Template { artefact: "<no value>" })]
#[case("repo:%!s(<nil>)", ReferenceError::Template { artefact: "<nil>" })]
// Characters.
#[case(" ", ReferenceError::Whitespace { character: ' ', position: 1 })]
#[case("nginx ", ReferenceError::Whitespace { character: ' ', position: 6 })]
#[case("nginx:1\n", ReferenceError::Whitespace { character: '\n', position: 8 })]
#[case("nginx\u{a0}", ReferenceError::Whitespace { character: '\u{a0}', position: 6 })]
#[case("ng\0inx", ReferenceError::Invisible { character: '\0', position: 3 })]
#[case("nginx:\u{200b}1", ReferenceError::Invisible { character: '\u{200b}', position: 7 })]
#[case("\u{feff}nginx", ReferenceError::Invisible { character: '\u{feff}', position: 1 })]
#[case("nginx:lаtest", ReferenceError::NotAscii { character: 'а', position: 8 })]
#[case("nginx:١", ReferenceError::NotAscii { character: '١', position: 7 })]
#[case("ﬁle/Kelvin", ReferenceError::NotAscii { character: 'ﬁ', position: 1 })]
// What is no reference at all.
#[case("https://github.com/docker/docker", ReferenceError::Scheme)]
#[case("docker://nginx", ReferenceError::Scheme)]
#[case(HEX, ReferenceError::Identifier)]
#[case("user@host/x", ReferenceError::User)]
#[case("[fe80::1%@zone]:5000/repo", ReferenceError::User)]
#[case("nginx@a@b", ReferenceError::SecondDigest)]
#[case(":justtag", ReferenceError::NameMissing)]
#[case("@sha256:ff", ReferenceError::NameMissing)]
// Registries.
#[case("foo-/bar", ReferenceError::RepositorySeparator)]
#[case("-foo.io/bar", ReferenceError::Registry)]
#[case("ghcr.io./a", ReferenceError::Registry)]
#[case("ab.-com/a", ReferenceError::Registry)]
#[case("foo_bar:5000/x", ReferenceError::Registry)]
#[case("do__cker:8080/docker", ReferenceError::Registry)]
#[case("localhost:http/name", ReferenceError::RegistryPort)]
#[case("nginx:tag/x", ReferenceError::RegistryPort)]
#[case("foo.com:/bar", ReferenceError::RegistryPort)]
#[case("fc00::1:5000/debian", ReferenceError::Registry)]
#[case("[2001:db8::1]", ReferenceError::Registry)]
#[case("[2001:db8::1]:5000", ReferenceError::Registry)]
#[case("[fe80::1%eth0]:5000/repo", ReferenceError::Registry)]
#[case("[2001:db8:3:4::192.0.2.33]:5000/debian", ReferenceError::Registry)]
#[case("[fd00:1:2::3]75050/a", ReferenceError::Registry)]
#[case("[fd00:1:2::3]::75050/a", ReferenceError::Registry)]
#[case("[]:1/a", ReferenceError::Registry)]
#[case("[b]/a", ReferenceError::Registry)]
#[case("FOO_bar/x", ReferenceError::Registry)]
// Repositories.
#[case("/nginx", ReferenceError::RepositoryPartEmpty)]
#[case("docker/", ReferenceError::RepositoryPartEmpty)]
#[case("a//b", ReferenceError::RepositoryPartEmpty)]
#[case("docker.io/docker///docker", ReferenceError::RepositoryPartEmpty)]
#[case("Uppercase:tag", ReferenceError::RepositoryUppercase { character: 'U' })]
#[case("Foo/FarB", ReferenceError::RepositoryUppercase { character: 'F' })]
#[case("test:5000/Uppercase/lowercase:tag", ReferenceError::RepositoryUppercase { character: 'U' })]
#[case("aa/asdf$$^/aa", ReferenceError::RepositoryCharacter { character: '$' })]
#[case("a^a", ReferenceError::RepositoryCharacter { character: '^' })]
#[case("-docker", ReferenceError::RepositorySeparator)]
#[case("_docker/_docker", ReferenceError::RepositorySeparator)]
#[case("____/____", ReferenceError::RepositorySeparator)]
#[case("docker_/docker_", ReferenceError::RepositorySeparator)]
#[case("foo/bar-", ReferenceError::RepositorySeparator)]
#[case("foo/-bar", ReferenceError::RepositorySeparator)]
#[case("foo/b..r", ReferenceError::RepositorySeparator)]
#[case("dock_.er/docker", ReferenceError::Registry)]
#[case("a/dock_.er", ReferenceError::RepositorySeparator)]
#[case("dock-.er", ReferenceError::RepositorySeparator)]
#[case("a___b", ReferenceError::RepositorySeparator)]
#[case("example.com/.dots/myimage", ReferenceError::RepositorySeparator)]
// Tags.
#[case("nginx:", ReferenceError::TagEmpty)]
#[case("host:5000/nginx:", ReferenceError::TagEmpty)]
#[case("nginx:-x", ReferenceError::TagStart { character: '-' })]
#[case("nginx:.x", ReferenceError::TagStart { character: '.' })]
#[case("registry.com:8080/myapp:invalid~tag", ReferenceError::TagCharacter { character: '~' })]
#[case("nginx:1:2", ReferenceError::TagCharacter { character: ':' })]
#[case("nginx:1+2", ReferenceError::TagCharacter { character: '+' })]
// Digests.
#[case("nginx@", ReferenceError::DigestEmpty)]
#[case("nginx:1@", ReferenceError::DigestEmpty)]
#[case("nginx@bad", ReferenceError::DigestAlgorithm)]
#[case("nginx@md5:d41d8cd98f00b204e9800998ecf8427e", ReferenceError::DigestAlgorithm)]
#[case("nginx@SHA256:ff", ReferenceError::DigestAlgorithm)]
#[case("nginx@sha256:abc", ReferenceError::DigestLength { algorithm: "sha256", expected: 64, length: 3 })]
#[case("nginx@sha512:", ReferenceError::DigestLength { algorithm: "sha512", expected: 128, length: 0 })]
#[case("nginx@sha256:FFFF", ReferenceError::DigestUppercase { character: 'F' })]
#[case("nginx@sha256:xyz", ReferenceError::DigestCharacter { character: 'x' })]
fn fail(#[case] text: &str, #[case] expected: ReferenceError) {
    assert_eq!(error(text), expected);
    let message = expected.to_string();
    assert!(!message.contains('\n') && message.len() < 200, "{message}");
    assert!(message.is_ascii() || matches!(expected, ReferenceError::NotAscii { .. }), "{message}");
}

#[test]
fn a_digest_needs_its_exact_length() {
    for (algorithm, expected) in DIGEST_ALGORITHMS {
        for length in [32, 64, 96, 128, expected - 1, expected + 1] {
            let text = format!("nginx@{algorithm}:{}", "f".repeat(length));
            assert_eq!(Reference::parse(&text).is_ok(), length == expected, "{text}");
        }
        let text = format!("nginx@{algorithm}:{}", "F".repeat(expected));
        assert_eq!(error(&text), ReferenceError::DigestUppercase { character: 'F' });
    }
}

#[test]
fn an_image_id_is_a_name_only_where_it_cannot_be_mistaken() {
    for text in [&format!("docker.io/{HEX}"), &format!("{HEX}:1"), &HEX[..63], &format!("{HEX}0"), &format!("a/{HEX}")]
    {
        assert!(Reference::parse(text).is_ok(), "{text}");
    }
    // In capitals it is no image id, and no repository either.
    assert_eq!(error(&HEX.to_uppercase()), ReferenceError::RepositoryUppercase { character: 'A' });
}

/// What stands before the repository, and how much of the 255 characters it takes.
#[rstest]
#[case("", 8)]
#[case("docker.io/", 8)]
#[case("index.docker.io/", 8)]
#[case("docker.io/a/", 2)]
#[case("library/", 8)]
#[case("domain/", 7)]
#[case("a/", 2)]
#[case("a.b/", 0)]
#[case("a:1/", 0)]
#[case("A/", 0)]
#[case("localhost/", 0)]
#[case("localhos/", 9)]
#[case("[::1]/", 0)]
#[case("a_b.c/", 6)]
fn a_repository_has_255_characters_at_most(#[case] start: &str, #[case] taken: usize) {
    let longest = REPOSITORY_LENGTH_MAX - taken;
    for suffix in ["", ":tag-puts-this-over-max", &format!("@{}", sha256())] {
        let text = format!("{start}{}{suffix}", "a".repeat(longest));
        assert_eq!(Reference::parse(&text).unwrap().repository().len(), REPOSITORY_LENGTH_MAX);
        let text = format!("{start}{}{suffix}", "a".repeat(longest + 1));
        assert_eq!(error(&text), ReferenceError::RepositoryLength { length: REPOSITORY_LENGTH_MAX + 1 });
    }
}

#[test]
fn a_registry_may_be_of_any_length() {
    let registry = format!("{}:{}", "a".repeat(1000), "5".repeat(1000));
    assert_eq!(Reference::parse(&format!("{registry}/a")).unwrap().registry(), registry);
}

#[test]
fn a_tag_has_128_characters_at_most() {
    assert!(Reference::parse(&format!("nginx:{}", "a".repeat(128))).is_ok());
    assert_eq!(error(&format!("nginx:{}", "a".repeat(129))), ReferenceError::TagLength { length: 129 });
}

#[test]
fn messages_say_what_to_write() {
    for (text, message) in [
        ("nginx:", "there is no tag after ':'; write NAME:TAG"),
        ("Nginx", "the repository has the capital letter 'N'; write it in lower case"),
        ("nginx:lаtest", "character 8, 'а' (U+0430), is not ASCII even if it looks so; type it again in ASCII"),
        ("nginx@sha256:abc", "the sha256 digest has 3 characters; write all 64 of them"),
        ("nginx\u{200b}", "character 6 is invisible (U+200B); remove it"),
    ] {
        assert_eq!(error(text).to_string(), message);
    }
}

/// Built from the grammar, so that it is valid by construction.
fn valid() -> impl Strategy<Value = String> {
    let registry = "((localhost|[a-zA-Z0-9]{1,5}(-{1,2}[a-z0-9]{1,3})?\\.[a-z]{2,3}|\\[[0-9a-f]{0,3}:{1,2}[0-9a-f]{0,3}\\])(:[0-9]{1,5})?/)?";
    let repository = "[a-z0-9]{1,4}((/|\\.|_|__|-{1,3})[a-z0-9]{1,4}){0,4}";
    let tag = "(:[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,20})?";
    let digest = "(@(sha256:[a-f0-9]{64}|sha384:[a-f0-9]{96}|sha512:[a-f0-9]{128}))?";
    (registry, repository, tag, digest)
        .prop_map(|(registry, repository, tag, digest)| format!("{registry}{repository}{tag}{digest}"))
}

proptest! {
    #[test]
    fn the_full_form_means_the_same(text in valid()) {
        let reference = Reference::parse(&text).unwrap();
        let full = reference.to_string();
        let again = Reference::parse(&full).unwrap();
        prop_assert_eq!(again.to_string(), full.as_str());
        prop_assert_eq!(again.registry(), reference.registry());
        prop_assert_eq!(again.repository(), reference.repository());
        prop_assert_eq!(again.tag(), reference.tag());
        prop_assert_eq!(again.digest(), reference.digest());
    }

    #[test]
    fn never_panics(text in any::<String>(), near in "[aZ0._:/@\\[\\]{}$<% é\u{200b}-]{0,24}") {
        for text in [text, near] {
            match Reference::parse(&text) {
                Ok(reference) => prop_assert!(text.is_ascii() && !reference.to_string().is_empty()),
                Err(error) => {
                    prop_assert!(!error.to_string().contains('\n'));
                    // The last resort of the explanation: these texts are too short for it to be true.
                    let unexplained = matches!(error, ReferenceError::RepositoryLength { .. });
                    prop_assert!(!unexplained || text.len() > 247, "{}", text);
                }
            }
        }
    }

    #[test]
    fn one_foreign_character_anywhere_is_refused(text in valid(), at in any::<prop::sample::Index>(), foreign in "[^!-~]") {
        let at = at.index(text.len() + 1);
        let changed = format!("{}{foreign}{}", &text[..at], &text[at..]);
        let told = matches!(
            error(&changed),
            ReferenceError::Whitespace { .. } | ReferenceError::Invisible { .. } | ReferenceError::NotAscii { .. }
        );
        prop_assert!(told, "{}", changed);
    }
}
