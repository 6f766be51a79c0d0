//! The names of pgBackRest's options: older ones, and those with the number of a host or of a repository in them.

/// Names that an option had, and its name of today.
const RENAMED: [(&str, &str); 13] = [
    ("archive-queue-max", "archive-push-queue-max"),
    ("backup-host", "repo1-host"),
    ("backup-cmd", "repo1-host-cmd"),
    ("backup-config", "repo1-host-config"),
    ("backup-ssh-port", "repo1-host-port"),
    ("backup-user", "repo1-host-user"),
    ("hardlink", "repo1-hardlink"),
    ("retention-full", "repo1-retention-full"),
    ("retention-diff", "repo1-retention-diff"),
    ("retention-archive", "repo1-retention-archive"),
    ("retention-archive-type", "repo1-retention-archive-type"),
    ("ssh-port", "host-port"),
    ("user", "host-user"),
];

/// The name of today, with the number 1 where an older one had none.
pub(super) fn today(option: &str) -> String {
    let renamed = |name: &str| RENAMED.iter().find(|(old, _)| *old == name).map(|(_, new)| *new);
    if let Some(name) = renamed(option) {
        return name.to_owned();
    }
    if let Some((group, number, rest)) = numbered(option) {
        match group {
            // db-path, db2-ssh-port
            "db" => {
                let rest = match rest {
                    "ssh-port" | "user" => renamed(rest).unwrap_or(rest),
                    "timeout" | "include" | "exclude" => return option.to_owned(),
                    other if other.starts_with("include-") => return option.to_owned(),
                    other => other,
                };
                return format!("pg{number}-{rest}");
            }
            _ => return format!("{group}{number}-{rest}"),
        }
    }
    option.to_owned()
}

/// The group of an option, the number in its name (1 where there is none), and the rest: `pg2-path` is `pg`, 2, `path`.
pub(super) fn numbered(option: &str) -> Option<(&'static str, u32, &str)> {
    let (head, rest) = option.split_once('-')?;
    let group = ["pg", "repo", "db"].into_iter().find(|group| {
        head.strip_prefix(group)
            .is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_digit()))
    })?;
    let digits = head.get(group.len()..).unwrap_or_default();
    let number = if digits.is_empty() {
        1
    } else {
        digits.parse().ok()?
    };
    Some((group, number, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn older_names_are_known() {
        for (old, new) in [
            ("pg1-path", "pg1-path"),
            ("db-path", "pg1-path"),
            ("db2-ssh-port", "pg2-host-port"),
            ("db-user", "pg1-host-user"),
            ("db-timeout", "db-timeout"),
            ("db-include", "db-include"),
            ("repo-path", "repo1-path"),
            ("retention-full", "repo1-retention-full"),
            ("backup-host", "repo1-host"),
            ("process-max", "process-max"),
            ("pg-version-force", "pg1-version-force"),
        ] {
            assert_eq!(today(old), new);
        }
        assert_eq!(numbered("repo12-s3-key"), Some(("repo", 12, "s3-key")));
        assert_eq!(numbered("page-header-check"), None);
        assert_eq!(numbered("pg99999999999-path"), None);
    }
}
