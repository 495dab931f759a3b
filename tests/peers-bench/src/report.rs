//! Medians, tables, JSON.

use serde_json::{Map, Value, json};

/// The results of all jobs.
#[derive(Debug, Default)]
pub struct Report {
    rounds: usize,
    job: String,
    stack: String,
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    job: String,
    unit: &'static str,
    stacks: Vec<(&'static str, Vec<f64>)>,
}

/// The same job for every stack: `each_stack!(|C, share| job::<C>(100 * share))`, where `C` is the
/// [`Connection`](crate::Connection) and `share` how much of the work it does, so that each takes
/// about as long.
#[macro_export]
macro_rules! each_stack {
    (|$connection:ident, $share:ident| $job:expr) => {{
        let mut stacks: Vec<$crate::report::Runner<'_>> = Vec::new();
        $crate::each_stack!(@add stacks, $crate::ours::Ours, 4, $connection, $share, $job);
        $crate::each_stack!(@add stacks, $crate::webrtc_rs::WebrtcRs, 2, $connection, $share, $job);
        $crate::each_stack!(@add stacks, $crate::str0m::Str0m, 1, $connection, $share, $job);
        stacks
    }};
    (@add $stacks:ident, $stack:ty, $value:expr, $connection:ident, $share:ident, $job:expr) => {{
        type $connection = $stack;
        let $share: u64 = $value;
        let name = <$stack as $crate::Connection>::NAME;
        $stacks.push((name, Box::new(move || $job)));
    }};
}

/// One stack in an interleaved measurement.
pub type Runner<'a> = (&'static str, Box<dyn FnMut() -> f64 + 'a>);

/// One stack in an interleaved measurement of two figures.
pub type Runner2<'a> = (&'static str, Box<dyn FnMut() -> (f64, f64) + 'a>);

impl Report {
    /// A report over `rounds` turns of the jobs and stacks whose names contain `job` and `stack`.
    pub fn new(rounds: usize, job: &str, stack: &str) -> Self {
        Self {
            rounds,
            job: job.to_owned(),
            stack: stack.to_owned(),
            rows: Vec::new(),
        }
    }

    /// Runs the stacks by turns and notes each one's figures.
    pub fn measure(&mut self, job: &str, unit: &'static str, mut stacks: Vec<Runner<'_>>) {
        if !job.contains(&self.job) {
            return;
        }
        stacks.retain(|(name, _)| name.contains(&self.stack));
        let mut results: Vec<_> = stacks.iter().map(|(name, _)| (*name, Vec::new())).collect();
        for _ in 0..self.rounds {
            for ((_, run), (_, samples)) in stacks.iter_mut().zip(&mut results) {
                samples.push(run());
            }
        }
        let row = Row {
            job: job.to_owned(),
            unit,
            stacks: results,
        };
        eprintln!(
            "{}",
            row.line(&row.stacks.iter().map(|it| it.0).collect::<Vec<_>>())
        );
        self.rows.push(row);
    }

    /// The same for jobs that give two figures at once.
    pub fn measure_two(
        &mut self,
        jobs: [&str; 2],
        units: [&'static str; 2],
        mut stacks: Vec<Runner2<'_>>,
    ) {
        if !jobs.iter().any(|job| job.contains(&self.job)) {
            return;
        }
        stacks.retain(|(name, _)| name.contains(&self.stack));
        let empty: Vec<_> = stacks.iter().map(|(name, _)| (*name, Vec::new())).collect();
        let mut results = [empty.clone(), empty];
        for _ in 0..self.rounds {
            for (index, (_, run)) in stacks.iter_mut().enumerate() {
                let (first, second) = run();
                results[0][index].1.push(first);
                results[1][index].1.push(second);
            }
        }
        for ((job, unit), stacks) in jobs.into_iter().zip(units).zip(results) {
            self.note(job, unit, stacks);
        }
    }

    /// Notes figures that were measured elsewhere.
    pub fn note(&mut self, job: &str, unit: &'static str, stacks: Vec<(&'static str, Vec<f64>)>) {
        let row = Row {
            job: job.to_owned(),
            unit,
            stacks,
        };
        eprintln!(
            "{}",
            row.line(&row.stacks.iter().map(|it| it.0).collect::<Vec<_>>())
        );
        self.rows.push(row);
    }

    /// The table in Markdown.
    pub fn table(&self) -> String {
        let mut names: Vec<&str> = Vec::new();
        for (name, _) in self.rows.iter().flat_map(|row| &row.stacks) {
            if !names.contains(name) {
                names.push(name);
            }
        }
        let mut table = format!("| job | unit | {} |\n", names.join(" | "));
        table.push_str(&"|---".repeat(2 + names.len()));
        table.push_str("|\n");
        for row in &self.rows {
            table.push_str(&row.line(&names));
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
    fn line(&self, names: &[&str]) -> String {
        let cell = |name: &&str| {
            let found = self.stacks.iter().find(|(stack, _)| stack == name);
            figure(found.map_or(f64::NAN, |(_, samples)| median(samples)))
        };
        let cells: Vec<_> = names.iter().map(cell).collect();
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
        v if v >= 0.1 => format!("{v:.2}"),
        v => format!("{v:.4}"),
    }
}
