//! Medians, tables, JSON.

use serde_json::{Map, Value, json};

/// The results of all jobs.
#[derive(Debug, Default)]
pub struct Report {
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    job: String,
    unit: &'static str,
    stacks: Vec<(&'static str, Vec<f64>)>,
}

/// One stack in an interleaved measurement.
pub type Runner<'a> = (&'static str, Box<dyn FnMut() -> f64 + 'a>);

impl Report {
    /// Runs the stacks by turns, `rounds` times, and notes each one's median.
    pub fn measure(
        &mut self,
        job: &str,
        unit: &'static str,
        rounds: usize,
        mut stacks: Vec<Runner<'_>>,
    ) {
        let mut results: Vec<_> = stacks.iter().map(|(name, _)| (*name, Vec::new())).collect();
        for _ in 0..rounds {
            for ((_, run), (_, samples)) in stacks.iter_mut().zip(&mut results) {
                samples.push(run());
            }
        }
        let row = Row { job: job.to_owned(), unit, stacks: results };
        eprintln!("{}", row.line());
        self.rows.push(row);
    }

    /// The table in Markdown.
    pub fn table(&self) -> String {
        let names: Vec<_> = self.rows.first().map_or_else(Vec::new, |row| {
            row.stacks.iter().map(|(name, _)| *name).collect()
        });
        let mut table = format!("| job | unit | {} |\n", names.join(" | "));
        table.push_str(&"|---".repeat(2 + names.len()));
        table.push_str("|\n");
        for row in &self.rows {
            table.push_str(&row.line());
            table.push('\n');
        }
        table
    }

    /// Everything, samples included.
    pub fn json(&self) -> Value {
        let rows = self.rows.iter().map(|row| {
            let stacks: Map<_, _> = row
                .stacks
                .iter()
                .map(|(name, samples)| {
                    let figures = json!({ "median": median(samples), "samples": samples });
                    ((*name).to_owned(), figures)
                })
                .collect();
            json!({ "job": row.job, "unit": row.unit, "stacks": stacks })
        });
        Value::Array(rows.collect())
    }

    /// Prints the table and writes the JSON to a file, if one is named.
    pub fn finish(&self, json: Option<&std::path::Path>) -> std::io::Result<()> {
        println!("{}", self.table());
        match json {
            Some(path) => std::fs::write(path, format!("{:#}\n", self.json())),
            None => Ok(()),
        }
    }
}

impl Row {
    fn line(&self) -> String {
        let cells: Vec<_> =
            self.stacks.iter().map(|(_, samples)| figure(median(samples))).collect();
        format!("| {} | {} | {} |", self.job, self.unit, cells.join(" | "))
    }
}

/// The middle of the samples.
pub fn median(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[n / 2],
        n => (sorted[n / 2 - 1] + sorted[n / 2]) / 2.0,
    }
}

fn figure(value: f64) -> String {
    match value {
        v if v.is_nan() => "-".to_owned(),
        v if v >= 100.0 => format!("{v:.0}"),
        v if v >= 10.0 => format!("{v:.1}"),
        v => format!("{v:.2}"),
    }
}
