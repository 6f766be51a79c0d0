//! A line diff that a reader understands at once.

/// `None` when equal; otherwise the lines with `-` (only in `expected`) and `+` (only in `actual`) before them.
pub fn lines(expected: &str, actual: &str) -> Option<String> {
    if expected == actual {
        return None;
    }
    let left: Vec<&str> = expected.split('\n').collect();
    let right: Vec<&str> = actual.split('\n').collect();
    let mut text = String::new();
    for (mark, line) in align(&left, &right) {
        text.push_str(&format!("{mark} {}\n", line.escape_debug()));
    }
    Some(text)
}

/// Only the changed lines and two lines before and after each.
pub fn around_changes(diff: &str) -> String {
    let lines: Vec<&str> = diff.lines().collect();
    let changed: Vec<usize> = (0..lines.len()).filter(|&i| !lines[i].starts_with(' ')).collect();
    let mut text = String::new();
    let mut last = None;
    for (index, line) in lines.iter().enumerate() {
        if changed.iter().any(|&c| c.abs_diff(index) <= 2) {
            if last.is_some_and(|l| l + 1 != index) {
                text.push_str("  ...\n");
            }
            text.push_str(line);
            text.push('\n');
            last = Some(index);
        }
    }
    text
}

/// Longest common subsequence, by the textbook. Outputs of commands are short.
fn align<'a>(left: &[&'a str], right: &[&'a str]) -> Vec<(char, &'a str)> {
    let (n, m) = (left.len(), right.len());
    let mut table = vec![vec![0_u32; m + 1]; n + 1];
    for i in (0..n).rev() {
        for j in (0..m).rev() {
            table[i][j] = if left[i] == right[j] {
                table[i + 1][j + 1] + 1
            } else {
                table[i + 1][j].max(table[i][j + 1])
            };
        }
    }
    let (mut i, mut j, mut result) = (0, 0, Vec::new());
    while i < n || j < m {
        if i < n && j < m && left[i] == right[j] {
            result.push((' ', left[i]));
            i += 1;
            j += 1;
        } else if j == m || (i < n && table[i + 1][j] >= table[i][j + 1]) {
            result.push(('-', left[i]));
            i += 1;
        } else {
            result.push(('+', right[j]));
            j += 1;
        }
    }
    result
}
