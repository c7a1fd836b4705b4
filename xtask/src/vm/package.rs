//! The names of kernel packages: which one is meant by a version.

/// In this order of preference: for VMs, Debian's other one, Ubuntu's.
const FLAVOURS: [&str; 3] = ["-cloud-amd64", "-amd64", "-generic"];
const PREFIX: &str = "linux-image-";

/// The packages of `names` for kernel `version` (`6.1` is also 6.1.0 but not 6.12), best first.
pub fn candidates(names: &[String], version: &str) -> Vec<String> {
    let mut found: Vec<_> = names
        .iter()
        .filter_map(|name| {
            let (release, flavour) = release_and_flavour(name)?;
            let rest = release.strip_prefix(version)?;
            let whole = rest.is_empty() || rest.starts_with(['.', '-', '+']);
            whole.then(|| (flavour, std::cmp::Reverse(numbers(release)), name.clone()))
        })
        .collect();
    found.sort();
    found.into_iter().map(|(.., name)| name).collect()
}

/// The names in the output of `apt-cache search`.
pub fn names(listed: &str) -> Vec<String> {
    listed
        .lines()
        .filter_map(|line| line.split_once(" - "))
        .map(|(name, _)| name.to_owned())
        .collect()
}

/// Where Ubuntu has the modules of a kernel package.
pub fn module_packages(image: &str) -> Vec<String> {
    let release = image
        .strip_prefix(PREFIX)
        .filter(|release| release.ends_with("-generic"));
    let packages = release
        .map(|release| ["modules", "modules-extra"].map(|what| format!("linux-{what}-{release}")));
    packages.into_iter().flatten().collect()
}

pub fn is_version(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_digit())
        && text
            .chars()
            .all(|letter| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '-' | '+' | '~'))
}

/// `linux-image-6.12.41+deb13-cloud-amd64` -> (`6.12.41+deb13`, the flavour's rank). Not for other builds (rt, dbg,
/// unsigned), nor for packages that only depend on the newest one.
fn release_and_flavour(name: &str) -> Option<(&str, usize)> {
    let name = name.strip_prefix(PREFIX)?;
    let ending = |(rank, flavour): (usize, &&str)| Some((name.strip_suffix(*flavour)?, rank));
    let (release, flavour) = FLAVOURS.iter().enumerate().find_map(ending)?;
    let mut parts = release.split(['.', '-', '+', '~']);
    let known = parts.all(|part| {
        let number = ["deb", "bpo", "rc"]
            .iter()
            .find_map(|word| part.strip_prefix(word))
            .unwrap_or(part);
        number.chars().all(|digit| digit.is_ascii_digit())
    });
    let leads_elsewhere = numbers(release).len() < 3;
    (known && !leads_elsewhere).then_some((release, flavour))
}

fn numbers(release: &str) -> Vec<u32> {
    release
        .split(|letter: char| !letter.is_ascii_digit())
        .filter_map(|digits| digits.parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTED: &str = "\
linux-image-6.1.0-9-cloud-amd64 - Linux 6.1 for x86-64 cloud (signed)
linux-image-6.1.0-50-cloud-amd64 - Linux 6.1 for x86-64 cloud (signed)
linux-image-6.1.0-50-cloud-amd64-unsigned - Linux 6.1 for x86-64 cloud
linux-image-6.1.0-50-cloud-amd64-dbg - Debug symbols for linux-image-6.1.0-50-cloud-amd64
linux-image-6.1.0-56-amd64 - Linux 6.1 for 64-bit PCs (signed)
linux-image-6.1.0-56-rt-amd64 - Linux 6.1 for 64-bit PCs, PREEMPT_RT (signed)
linux-image-6.12-cloud-amd64 - Linux for x86-64 cloud (meta-package)
linux-image-6.12.107+deb12-cloud-amd64 - Linux 6.12 for x86-64 cloud (signed)
linux-image-6.12.41+deb13-cloud-amd64 - Linux 6.12 for x86-64 cloud (signed)
linux-image-6.12.9+bpo-cloud-amd64 - Linux 6.12 for x86-64 cloud (signed)
linux-image-7.0-amd64 - Linux for 64-bit PCs (meta-package)
linux-image-7.0.2+deb14-amd64 - Linux 7.0 for 64-bit PCs (signed)
linux-image-6.8.0-31-generic - Signed kernel image generic
linux-image-unsigned-6.8.0-31-generic - Linux kernel image
linux-image-cloud-amd64 - Linux for x86-64 cloud (meta-package)
";

    fn first(version: &str) -> Option<String> {
        candidates(&names(LISTED), version).into_iter().next()
    }

    #[test]
    fn newest_cloud_kernel_of_the_version_is_taken() {
        assert_eq!(
            first("6.1").as_deref(),
            Some("linux-image-6.1.0-50-cloud-amd64")
        );
        assert_eq!(
            first("6.12").as_deref(),
            Some("linux-image-6.12.107+deb12-cloud-amd64")
        );
        assert_eq!(
            first("6.12.41").as_deref(),
            Some("linux-image-6.12.41+deb13-cloud-amd64")
        );
    }

    #[test]
    fn other_flavours_serve_where_there_is_no_cloud_kernel() {
        assert_eq!(first("7").as_deref(), Some("linux-image-7.0.2+deb14-amd64"));
        assert_eq!(
            first("6.8").as_deref(),
            Some("linux-image-6.8.0-31-generic")
        );
        assert_eq!(first("5.10"), None);
        let all = candidates(&names(LISTED), "6.1");
        assert_eq!(
            all[1..],
            [
                "linux-image-6.1.0-9-cloud-amd64",
                "linux-image-6.1.0-56-amd64"
            ]
        );
    }

    #[test]
    fn ubuntus_modules_have_packages_of_their_own() {
        let packages = module_packages("linux-image-6.8.0-31-generic");
        assert_eq!(
            packages,
            [
                "linux-modules-6.8.0-31-generic",
                "linux-modules-extra-6.8.0-31-generic"
            ]
        );
        assert!(module_packages("linux-image-6.1.0-50-cloud-amd64").is_empty());
    }

    #[test]
    fn versions_are_told_from_other_words() {
        assert!(
            ["6.1", "7", "6.12.41+deb13", "6.1.0-50"]
                .into_iter()
                .all(is_version)
        );
        assert!(
            !["", "newest", "6.1;ls", "./vmlinuz"]
                .into_iter()
                .any(is_version)
        );
    }
}
