//! Results by row and contestant, and the table of their medians.

use std::fmt::Write as _;

use crate::meter::Cost;

/// One line of a row: who, and what each round gave.
struct Line {
    who: &'static str,
    costs: Vec<Option<Cost>>,
    reason: Option<String>,
}

/// An operation, with everybody who performed it. The first line is the one that the others are compared with.
struct Row {
    name: &'static str,
    lines: Vec<Line>,
}

/// All results.
#[derive(Default)]
pub struct Table {
    rows: Vec<Row>,
    rates: String,
}

/// A ratio that barkeep is to keep: row, barkeep's line, the peer's line, at most.
pub type Target = (&'static str, &'static str, &'static str, f64);

impl Table {
    /// Notes what one round gave.
    pub fn note(&mut self, row: &'static str, who: &'static str, outcome: Result<Cost, String>) {
        match &outcome {
            Ok(cost) => eprintln!("  {row}: {who}: {:.2} s", cost.seconds),
            Err(reason) => eprintln!("  {row}: {who}: {reason}"),
        }
        let line = self.line(row, who);
        match outcome {
            Ok(cost) => line.costs.push(Some(cost)),
            Err(reason) => {
                line.costs.push(None);
                line.reason = Some(reason);
            }
        }
    }

    fn line(&mut self, row: &'static str, who: &'static str) -> &mut Line {
        let at = self
            .rows
            .iter()
            .position(|known| known.name == row)
            .unwrap_or_else(|| {
                let lines = Vec::new();
                self.rows.push(Row { name: row, lines });
                self.rows.len() - 1
            });
        let lines = &mut self.rows[at].lines;
        let at = lines
            .iter()
            .position(|known| known.who == who)
            .unwrap_or_else(|| {
                let (costs, reason) = (Vec::new(), None);
                lines.push(Line { who, costs, reason });
                lines.len() - 1
            });
        &mut lines[at]
    }

    fn find(&self, row: &str, who: &str) -> Option<&Line> {
        self.rows
            .iter()
            .find(|known| known.name == row)?
            .lines
            .iter()
            .find(|line| line.who == who)
    }

    /// The table, as Markdown that reads well as it is.
    pub fn render(&self) -> String {
        let head = [
            "operation",
            "tool",
            "seconds",
            "CPU s near",
            "CPU s far",
            "peak MiB near",
            "peak MiB far",
            "sent MB",
            "stored MB",
            "first : it (range)",
        ];
        let mut cells: Vec<Vec<String>> = vec![head.map(str::to_owned).to_vec()];
        let mut notes = String::new();
        for row in &self.rows {
            let mut name = row.name;
            for (index, line) in row.lines.iter().enumerate() {
                if let Some(reason) = &line.reason {
                    let _ = writeln!(notes, "{}: {}: {reason}", row.name, line.who);
                }
                let Some(middle) = line.median() else { continue };
                let ratio = if index == 0 {
                    None
                } else {
                    ratio(&row.lines[0], line)
                };
                cells.push(vec![
                    std::mem::take(&mut name).to_owned(),
                    line.who.to_owned(),
                    format!("{:.2}", middle.seconds),
                    format!("{:.1}", middle.near_cpu),
                    format!("{:.1}", middle.far_cpu),
                    mib(middle.near_peak),
                    mib(middle.far_peak),
                    format!("{:.0}", middle.wire as f64 / 1e6),
                    middle
                        .stored
                        .map(|bytes| format!("{:.0}", bytes as f64 / 1e6))
                        .unwrap_or_default(),
                    ratio
                        .map(|r| format!("{:.2} ({:.2}–{:.2})", r.0, r.1, r.2))
                        .unwrap_or_default(),
                ]);
            }
        }
        let mut text = lay_out(&cells);
        if !notes.is_empty() {
            let _ = write!(text, "\nNot performed:\n{notes}");
        }
        text
    }

    /// Which targets are met, one line each.
    pub fn verdicts(&self, targets: &[Target]) -> String {
        let mut text = String::new();
        for (row, ours, theirs, limit) in targets {
            let ratio = self
                .find(row, ours)
                .zip(self.find(row, theirs))
                .and_then(|(a, b)| ratio(a, b));
            let Some(ratio) = ratio else { continue };
            let verdict = if ratio.0 <= *limit { "met" } else { "MISSED" };
            let _ = writeln!(
                text,
                "{verdict:6}  {row}: {ours} : {theirs} = {:.2}, at most {limit:.2}",
                ratio.0
            );
        }
        text
    }

    /// Whether the memory of every line of `who` stays within the limits of both sides, in bytes.
    pub fn frugality(&self, who: &str, limits: (u64, u64)) -> String {
        let lines = self.rows.iter().flat_map(|row| {
            let ours = row.lines.iter().filter(|line| line.who.starts_with(who));
            ours.filter_map(move |line| Some((row.name, line.median()?)))
        });
        let (mut near, mut far) = ((0, ""), (0, ""));
        for (row, cost) in lines {
            near = near.max((cost.near_peak, row));
            far = far.max((cost.far_peak, row));
        }
        let verdict = |met: bool| if met { "met" } else { "MISSED" };
        let line = |side: &str, (bytes, row): (u64, &str), limit: u64| {
            let verdict = verdict(bytes <= limit);
            format!(
                "{verdict:6}  memory, {side}: {} MiB ({row}), at most {}",
                mib(bytes),
                mib(limit)
            )
        };
        format!("{}\n{}", line("near", near, limits.0), line("far", far, limits.1))
    }

    /// Whether `ours` stores and sends no more than `limit` times what `theirs` stores.
    pub fn thrift(&self, row: &str, ours: &str, theirs: &str, limit: f64) -> String {
        let median = |who| self.find(row, who).and_then(Line::median);
        let (Some(ours), Some(theirs)) = (median(ours), median(theirs)) else {
            return String::new();
        };
        let least = theirs.stored.unwrap_or(0) as f64;
        let line = |what: &str, bytes: u64| {
            let ratio = bytes as f64 / least;
            let verdict = if ratio <= limit { "met" } else { "MISSED" };
            format!("{verdict:6}  {row}: bytes {what} : changed pages = {ratio:.2}, at most {limit:.2}")
        };
        format!(
            "{}\n{}",
            line("stored", ours.stored.unwrap_or(0)),
            line("sent", ours.wire)
        )
    }

    /// Notes the rate of a limited operation; it must not exceed the limit by more than `tolerance`, a part of it.
    pub fn note_rate(&mut self, row: &str, rate: f64, limit: f64, tolerance: f64) {
        let verdict = if rate <= limit * (1.0 + tolerance) {
            "met"
        } else {
            "MISSED"
        };
        let _ = writeln!(
            self.rates,
            "{verdict:6}  {row}: {rate:.0} KiB/s, limit {limit:.0}: {:.3}",
            rate / limit
        );
    }

    /// The rates of limited operations.
    pub fn rates(&self) -> &str {
        &self.rates
    }

    /// Whether nothing failed.
    pub fn is_complete(&self) -> bool {
        self.rows
            .iter()
            .flat_map(|row| &row.lines)
            .all(|line| line.reason.is_none())
    }
}

impl Line {
    /// The round in the middle by time, with the median of every figure.
    fn median(&self) -> Option<Cost> {
        let costs: Vec<&Cost> = self.costs.iter().flatten().collect();
        let of = |figure: &dyn Fn(&Cost) -> f64| median(costs.iter().map(|cost| figure(cost)).collect());
        let bytes = |figure: &dyn Fn(&Cost) -> u64| of(&|cost| figure(cost) as f64).map(|value| value as u64);
        Some(Cost {
            seconds: of(&|cost| cost.seconds)?,
            near_cpu: of(&|cost| cost.near_cpu)?,
            far_cpu: of(&|cost| cost.far_cpu)?,
            // What counts of memory is the most that was ever used.
            near_peak: costs.iter().map(|cost| cost.near_peak).max()?,
            far_peak: costs.iter().map(|cost| cost.far_peak).max()?,
            wire: bytes(&|cost| cost.wire)?,
            stored: costs
                .first()?
                .stored
                .and_then(|_| bytes(&|cost| cost.stored.unwrap_or(0))),
        })
    }
}

/// Median, least and greatest ratio of the same round's times.
fn ratio(ours: &Line, theirs: &Line) -> Option<(f64, f64, f64)> {
    let rounds = ours.costs.iter().zip(&theirs.costs);
    let mut all: Vec<f64> = rounds
        .filter_map(|(a, b)| Some(a.as_ref()?.seconds / b.as_ref()?.seconds))
        .collect();
    all.sort_by(f64::total_cmp);
    Some((median(all.clone())?, *all.first()?, *all.last()?))
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        odd if odd % 2 == 1 => values.get(middle).copied(),
        _ => Some((values[middle - 1] + values[middle]) / 2.0),
    }
}

fn mib(bytes: u64) -> String {
    if bytes == 0 {
        String::new()
    } else {
        format!("{:.0}", bytes as f64 / f64::from(1 << 20))
    }
}

fn lay_out(cells: &[Vec<String>]) -> String {
    let columns = cells.first().map_or(0, Vec::len);
    let width = |column: usize| {
        cells
            .iter()
            .map(|row| row[column].chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for (index, row) in cells.iter().enumerate() {
        let padded: Vec<String> = row
            .iter()
            .zip(&widths)
            .enumerate()
            .map(|(column, (cell, width))| {
                if column < 2 {
                    format!("{cell:<width$}")
                } else {
                    format!("{cell:>width$}")
                }
            })
            .collect();
        let _ = writeln!(text, "| {} |", padded.join(" | "));
        if index == 0 {
            let rule = |(column, width): (usize, &usize)| {
                let dashes = "-".repeat(width - usize::from(column >= 2));
                if column < 2 { dashes } else { format!("{dashes}:") }
            };
            let rules: Vec<String> = widths.iter().enumerate().map(rule).collect();
            let _ = writeln!(text, "| {} |", rules.join(" | "));
        }
    }
    text
}
