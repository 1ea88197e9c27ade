//! What Debian's package index says, read without touching the system.
//!
//! Pure parts only: stanzas, version order, and which packages make up the
//! stock kernel of a series. Old kernels vanish from the index, so a release
//! number is never written down here: the meta package `linux-image-amd64`
//! names the image of the day, the image names its version, and the headers'
//! own dependencies name the rest.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use crate::error::{Error, Result};

/// The fields of one package in one version.
pub(crate) type Stanza = BTreeMap<String, String>;

/// Splits the output of `apt-cache show`; folded lines are dropped.
pub(crate) fn stanzas<S: AsRef<str>>(lines: &[S]) -> Vec<Stanza> {
    let mut all = vec![Stanza::new()];
    for line in lines {
        let line = line.as_ref();
        if line.trim().is_empty() {
            all.push(Stanza::new());
        } else if let Some((key, value)) = line
            .split_once(':')
            .filter(|_| !line.starts_with([' ', '\t']))
        {
            // Some tools leave the blank line out; a new name starts anew.
            if key == "Package" && all.last().is_some_and(|s| s.contains_key(key)) {
                all.push(Stanza::new());
            }
            if let Some(stanza) = all.last_mut() {
                stanza.insert(key.to_owned(), value.trim().to_owned());
            }
        }
    }
    all.retain(|s| !s.is_empty());
    all
}

/// One dependency: the name and, if it has one, the version after the relation.
pub(crate) fn dependencies(field: &str) -> impl Iterator<Item = (&str, Option<&str>)> {
    field.split(',').filter_map(|entry| {
        let first = entry.split('|').next()?.trim();
        let (name, rest) = first.split_once(' ').unwrap_or((first, ""));
        let version = rest
            .trim_matches(['(', ')'])
            .trim_start_matches(['=', '<', '>', ' '])
            .split_whitespace()
            .next();
        (!name.is_empty()).then_some((name, version))
    })
}

/// One package to download.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Package {
    /// Its name.
    pub(crate) name: String,
    /// The exact version.
    pub(crate) version: String,
    /// Bytes of the archive.
    pub(crate) size: u64,
}

/// The packages of one stock kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KernelSet {
    /// As `uname -r`: "6.1.0-56-amd64".
    pub(crate) release: String,
    /// The package version: "6.1.192-2".
    pub(crate) version: String,
    /// The image.
    pub(crate) image: Package,
    /// Headers, common headers and build tools.
    pub(crate) headers: Vec<Package>,
    /// The compiler and libraries that these need, if this release is older than
    /// they are (`foreign.rs`).
    pub(crate) tools: Vec<Package>,
}

/// Finds the newest stock kernel of `series`, "6.12", or "7.x" for the newest 7;
/// `show` gives the stanzas of a name.
pub(crate) fn resolve(
    series: &str,
    show: impl Fn(&str) -> Result<Vec<Stanza>>,
) -> Result<KernelSet> {
    let no = |why: &str| Error::NoKernel {
        series: series.to_owned(),
        why: why.to_owned(),
    };
    let prefix = format!("{}.", series.trim_end_matches(".x"));
    let metas = show("linux-image-amd64")?;
    let meta = newest(
        metas.iter().filter(|s| version_of(s).starts_with(&prefix)),
        |_| true,
    )
    .ok_or_else(|| no("linux-image-amd64 has no such version"))?;
    let depends = meta.get("Depends").map_or("", String::as_str);
    let (image_name, image_version) = dependencies(depends)
        .find(|(name, _)| name.starts_with("linux-image-") && name.ends_with("-amd64"))
        .ok_or_else(|| no("linux-image-amd64 depends on no image"))?;
    let release = image_name.trim_start_matches("linux-image-").to_owned();
    let version = image_version.unwrap_or_else(|| version_of(meta)).to_owned();

    let exact = |name: &str| -> Result<Package> {
        let found = show(name)?;
        let stanza = newest(found.iter(), |v| v == version)
            .ok_or_else(|| no(&format!("{name} is not there in version {version}")))?;
        package(name, stanza).ok_or_else(|| no(&format!("{name} has no size")))
    };
    // Since 7.1 that package is an empty one, which depends on the file's.
    let found = show(image_name)?;
    let depends = newest(found.iter(), |v| v == version)
        .and_then(|s| s.get("Depends"))
        .map_or("", String::as_str);
    let binary = dependencies(depends).find(|(name, _)| name.starts_with("linux-binary-"));
    let image = exact(binary.map_or(image_name, |(name, _)| name))?;
    let headers_name = format!("linux-headers-{release}");
    let mut headers = vec![exact(&headers_name)?];
    let found = show(&headers_name)?;
    let depends = newest(found.iter(), |v| v == version)
        .and_then(|s| s.get("Depends"))
        .map_or("", String::as_str);
    for (name, _) in dependencies(depends) {
        if name.ends_with("-common") || name.starts_with("linux-kbuild-") {
            headers.push(exact(name)?);
        }
    }
    if headers.len() < 3 {
        return Err(no(&format!(
            "{headers_name} names no common headers or no kbuild"
        )));
    }
    Ok(KernelSet {
        release,
        version,
        image,
        headers,
        tools: Vec::new(),
    })
}

/// The source package of a series: of the kernel's own version if the index still
/// has it, else the newest.
pub(crate) fn resolve_source(
    series: &str,
    version: &str,
    show: impl Fn(&str) -> Result<Vec<Stanza>>,
) -> Result<Package> {
    let name = format!("linux-source-{series}");
    let found = show(&name)?;
    exactly(&name, version, &found)
        .or_else(|| newest_of(&name, &found))
        .ok_or(Error::NoPackage { name })
}

/// The package of that version among the stanzas of its name.
pub(crate) fn exactly(name: &str, version: &str, found: &[Stanza]) -> Option<Package> {
    package(name, newest(found.iter(), |v| v == version)?)
}

/// The codename in an os-release(5) file of Debian.
pub(crate) fn codename(os_release: &str) -> Option<&str> {
    let value = |key: &str| {
        let line = os_release.lines().find_map(|l| l.strip_prefix(key));
        line.map(|v| v.trim_matches('"'))
    };
    value("ID=").filter(|id| *id == "debian")?;
    value("VERSION_CODENAME=").filter(|name| !name.is_empty())
}

/// The suite of a release's backports.
pub(crate) fn backports_suite(codename: &str) -> String {
    format!("{codename}-backports")
}

/// A source for the backports of a release, beside the source of the release
/// itself; none if it is there already, or if there is nothing to derive it from.
///
/// `targets` are lines of `apt-get indextargets`: address, codename, component.
pub(crate) fn backports_source<S: AsRef<str>>(
    targets: &[S],
    codename: &str,
    keyring: Option<&str>,
) -> Option<String> {
    let suite = backports_suite(codename);
    let fields = |line: &S| {
        let mut words = line.as_ref().split(' ').map(str::to_owned);
        Some((words.next()?, words.next()?, words.next()?))
    };
    let all: Vec<_> = targets.iter().filter_map(fields).collect();
    if all.iter().any(|(_, name, _)| *name == suite) {
        return None;
    }
    let (uri, ..) = all
        .iter()
        .find(|(_, name, component)| name == codename && component == "main")?;
    let key = keyring.map_or(String::new(), |key| format!("Signed-By: {key}\n"));
    Some(format!(
        "Types: deb\nURIs: {uri}\nSuites: {suite}\nComponents: main\n{key}"
    ))
}

/// A source for the release after this one, and its backports.
///
/// `targets` are as in [`backports_source`].
pub(crate) fn next_source<S: AsRef<str>>(
    targets: &[S],
    codename: &str,
    keyring: Option<&str>,
) -> Option<String> {
    let next = match codename {
        "bookworm" => "trixie",
        _ => return None,
    };
    let uri = targets.iter().find_map(|line| {
        let mut words = line.as_ref().split(' ');
        let uri = words.next()?;
        (words.eq([codename, "main"])).then_some(uri)
    })?;
    let key = keyring.map_or(String::new(), |key| format!("Signed-By: {key}\n"));
    let backports = backports_suite(next);
    Some(format!(
        "Types: deb\nURIs: {uri}\nSuites: {next} {backports}\nComponents: main\n{key}"
    ))
}

/// Name and version of each package that `apt-get --simulate` would install.
pub(crate) fn simulated<S: AsRef<str>>(lines: &[S]) -> Vec<(String, String)> {
    let install = |line: &S| {
        // "Inst NAME [OLD] (VERSION SUITE [ARCH])"
        let (name, rest) = line.as_ref().strip_prefix("Inst ")?.split_once(' ')?;
        let version = rest.split_once('(')?.1.split_whitespace().next()?;
        Some((name.to_owned(), version.to_owned()))
    };
    lines.iter().filter_map(install).collect()
}

/// The newest version of a package.
pub(crate) fn newest_of(name: &str, found: &[Stanza]) -> Option<Package> {
    package(name, newest(found.iter(), |_| true)?)
}

fn version_of(stanza: &Stanza) -> &str {
    stanza.get("Version").map_or("", String::as_str)
}

fn newest<'a>(
    stanzas: impl Iterator<Item = &'a Stanza>,
    accept: impl Fn(&str) -> bool,
) -> Option<&'a Stanza> {
    stanzas
        .filter(|s| accept(version_of(s)))
        .max_by(|a, b| compare_versions(version_of(a), version_of(b)))
}

fn package(name: &str, stanza: &Stanza) -> Option<Package> {
    Some(Package {
        name: name.to_owned(),
        version: version_of(stanza).to_owned(),
        size: stanza.get("Size")?.parse().ok()?,
    })
}

/// Debian's version order (deb-version(7)): epoch, upstream version, revision;
/// digits by value, letters before other signs, `~` before the end.
pub(crate) fn compare_versions(a: &str, b: &str) -> Ordering {
    fn split(version: &str) -> (u64, &str, &str) {
        let (epoch, rest) = version.split_once(':').unwrap_or(("0", version));
        let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, ""));
        (epoch.parse().unwrap_or(0), upstream, revision)
    }
    let ((ea, ua, ra), (eb, ub, rb)) = (split(a), split(b));
    ea.cmp(&eb)
        .then_with(|| compare_part(ua, ub))
        .then_with(|| compare_part(ra, rb))
}

fn compare_part(a: &str, b: &str) -> Ordering {
    fn weight(c: Option<&u8>) -> i32 {
        match c {
            Some(b'~') => -1,
            Some(c) if c.is_ascii_digit() => 0,
            None => 0,
            Some(c) if c.is_ascii_alphabetic() => i32::from(*c),
            Some(c) => i32::from(*c) + 256,
        }
    }
    fn number(digits: &mut &[u8]) -> u128 {
        let end = digits
            .iter()
            .position(|c| !c.is_ascii_digit())
            .unwrap_or(digits.len());
        let (head, tail) = digits.split_at(end);
        *digits = tail;
        head.iter().fold(0, |n, c| n * 10 + u128::from(c - b'0'))
    }
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    while !a.is_empty() || !b.is_empty() {
        loop {
            let (x, y) = (a.first(), b.first());
            let at_digit = |c: Option<&u8>| c.is_none_or(u8::is_ascii_digit);
            if at_digit(x) && at_digit(y) {
                break;
            }
            match weight(x).cmp(&weight(y)) {
                Ordering::Equal => {}
                unequal => return unequal,
            }
            a = a.get(1..).unwrap_or_default();
            b = b.get(1..).unwrap_or_default();
        }
        match number(&mut a).cmp(&number(&mut b)) {
            Ordering::Equal => {}
            unequal => return unequal,
        }
    }
    Ordering::Equal
}

/// What an index has of a name.
#[cfg(test)]
pub(crate) fn indexed(index: &str, name: &str) -> Result<Vec<Stanza>> {
    let lines: Vec<&str> = index.lines().collect();
    let mut all = stanzas(&lines);
    all.retain(|s| s["Package"] == name);
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    const INDEX: &str = "\
Package: linux-image-amd64
Version: 6.1.192-2
Depends: linux-image-6.1.0-56-amd64 (= 6.1.192-2)

Package: linux-image-amd64
Version: 6.1.176-1
Depends: linux-image-6.1.0-50-amd64 (= 6.1.176-1)

Package: linux-image-amd64
Version: 6.12.95-1~bpo12+1
Depends: linux-image-6.12.95+deb12-amd64 (= 6.12.95-1~bpo12+1)

Package: linux-image-6.1.0-56-amd64
Version: 6.1.192-2
Size: 70550672
Description: Linux 6.1
 folded: line

Package: linux-headers-6.1.0-56-amd64
Version: 6.1.192-2
Depends: linux-headers-6.1.0-56-common (= 6.1.192-2), linux-kbuild-6.1 (>= 6.1.192-2), linux-compiler-gcc-12-x86
Size: 1841552

Package: linux-headers-6.1.0-56-common
Version: 6.1.192-2
Size: 100

Package: linux-kbuild-6.1
Version: 6.1.176-1
Size: 1
Package: linux-kbuild-6.1
Version: 6.1.192-2
Size: 2
";

    fn show(name: &str) -> Result<Vec<Stanza>> {
        indexed(INDEX, name)
    }

    #[test]
    fn the_newest_kernel_of_the_series_is_taken_with_its_headers() {
        let set = resolve("6.1", show).expect("resolves");
        assert_eq!(set.release, "6.1.0-56-amd64");
        assert_eq!(set.version, "6.1.192-2");
        assert_eq!(set.image.size, 70_550_672);
        let names: Vec<_> = set.headers.iter().map(|p| p.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "linux-headers-6.1.0-56-amd64",
                "linux-headers-6.1.0-56-common",
                "linux-kbuild-6.1"
            ]
        );
        assert!(set.headers.iter().all(|p| p.version == "6.1.192-2"));
    }

    #[test]
    fn a_series_is_not_a_string_prefix() {
        // 6.12 starts with "6.1" but is another series; its image is missing here.
        let error = resolve("6.12", show)
            .expect_err("no such image")
            .to_string();
        assert!(error.contains("linux-image-6.12.95+deb12-amd64"), "{error}");
    }

    #[test]
    fn what_the_index_lacks_is_named() {
        let error = resolve("5.10", show).expect_err("not there").to_string();
        assert!(
            error.contains("5.10") && error.contains("linux-image-amd64"),
            "{error}"
        );
        let empty = resolve("6.1", |_| Ok(Vec::new()))
            .expect_err("empty index")
            .to_string();
        assert!(
            empty.contains("linux-image-amd64 has no such version"),
            "{empty}"
        );
    }

    #[test]
    fn backports_are_derived_from_the_release_s_own_source() {
        let os = "PRETTY_NAME=\"Debian\"\nID=debian\nVERSION_CODENAME=bookworm\n";
        assert_eq!(codename(os), Some("bookworm"));
        assert_eq!(codename("ID=ubuntu\nVERSION_CODENAME=noble\n"), None);
        let mut targets = vec![
            "http://mirror/debian-security/ bookworm-security main",
            "http://mirror/debian/ bookworm main",
        ];
        let source = backports_source(&targets, "bookworm", Some("/key")).expect("derived");
        assert_eq!(
            source,
            "Types: deb\nURIs: http://mirror/debian/\nSuites: bookworm-backports\n\
             Components: main\nSigned-By: /key\n"
        );
        assert_eq!(backports_source(&targets[..1], "bookworm", None), None);
        targets.push("http://mirror/debian/ bookworm-backports main");
        assert_eq!(
            backports_source(&targets, "bookworm", None),
            None,
            "it is there"
        );
    }

    #[test]
    fn the_next_release_is_looked_for_where_this_one_is() {
        let targets = [
            "http://mirror/debian-security/ bookworm-security main",
            "http://mirror/debian/ bookworm-updates main",
            "http://mirror/debian/ bookworm main",
        ];
        let source = next_source(&targets, "bookworm", Some("/key")).expect("derived");
        assert_eq!(
            source,
            "Types: deb\nURIs: http://mirror/debian/\nSuites: trixie trixie-backports\n\
             Components: main\nSigned-By: /key\n"
        );
        assert_eq!(next_source(&targets[..2], "bookworm", None), None);
        assert_eq!(next_source(&targets, "trixie", None), None, "not known yet");
    }

    #[test]
    fn what_apt_would_install_is_read() {
        let lines = [
            "Inst libfdt1 (1.6.1-4+b1 Debian:12.15/oldstable [amd64])",
            "Inst seabios [1.16.2-1] (1.16.3-2~bpo12+1 Debian Backports:oldstable-backports [all])",
            "Remv qemu-old [1.0]",
            "Conf libfdt1 (1.6.1-4+b1 Debian:12.15/oldstable [amd64])",
        ];
        let pair = |name: &str, version: &str| (name.to_owned(), version.to_owned());
        assert_eq!(
            simulated(&lines),
            [
                pair("libfdt1", "1.6.1-4+b1"),
                pair("seabios", "1.16.3-2~bpo12+1")
            ]
        );
    }

    #[test]
    fn a_source_of_the_kernel_s_version_is_preferred() {
        let show = |name: &str| {
            let text = [
                "Package: linux-source-6.1",
                "Version: 6.1.192-2",
                "Size: 2",
                "",
                "Package: linux-source-6.1",
                "Version: 6.1.176-1",
                "Size: 1",
            ];
            Ok(if name == "linux-source-6.1" {
                stanzas(&text)
            } else {
                Vec::new()
            })
        };
        let version = |wanted| resolve_source("6.1", wanted, show).map(|p| p.version);
        assert_eq!(version("6.1.176-1").expect("there"), "6.1.176-1");
        assert_eq!(version("6.1.1-1").expect("the newest"), "6.1.192-2");
        let none = resolve_source("5.10", "", show).expect_err("none");
        assert!(none.to_string().contains("linux-source-5.10"), "{none}");
    }

    #[test]
    fn versions_compare_as_debian_says() {
        let order = [
            "1.0~~",
            "1.0~rc1",
            "1.0",
            "1.0-1",
            "1.0a",
            "1.0+b",
            "1.2",
            "1.10",
            "6.1.176-1",
            "6.1.192-1",
            "6.1.192-2~deb11u1",
            "6.1.192-2",
            "6.1.192-10",
            "6.12.1-1~bpo12+1",
            "6.12.1-1",
            "1:0.1",
        ];
        for (i, a) in order.iter().enumerate() {
            for (j, b) in order.iter().enumerate() {
                assert_eq!(compare_versions(a, b), i.cmp(&j), "{a} against {b}");
            }
        }
        assert_eq!(compare_versions("1.01", "1.1"), Ordering::Equal);
    }
}
