//! The report: the figures beside what they are compared with and their goals. plot.rs draws them.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Instant;

use super::{Plan, machine, plot};

/// The goal of a figure.
#[derive(Debug, Clone, Copy)]
pub enum Goal {
    /// At least this.
    AtLeast(f64),
    /// At most this.
    AtMost(f64),
}

impl Goal {
    fn is_reached_by(self, figure: f64) -> bool {
        match self {
            Self::AtLeast(bound) => figure >= bound,
            Self::AtMost(bound) => figure <= bound,
        }
    }
}

/// The figures of a series, one a round.
#[derive(Debug, Clone)]
pub struct Series {
    /// The name of the series.
    pub name: String,
    /// One a round.
    pub values: Vec<f64>,
}

impl Series {
    /// An empty one.
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), values: vec![] }
    }

    /// Their median.
    pub fn median(&self) -> f64 {
        median(&self.values)
    }
}

/// The middle one; the lower of two.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len().saturating_sub(1) / 2).copied().unwrap_or(f64::NAN)
}

/// Measures all series in turns, so that disturbances of the machine affect all of them.
pub fn interleaved(rounds: usize, names: &[&str], mut measure: impl FnMut(usize) -> f64) -> Vec<Series> {
    let mut series: Vec<Series> = names.iter().map(|name| Series::new(name)).collect();
    for _ in 0..rounds {
        for (at, one) in series.iter_mut().enumerate() {
            one.values.push(measure(at));
        }
    }
    series
}

struct Row {
    what: String,
    figure: String,
    goal: String,
    verdict: &'static str,
}

struct Section {
    name: String,
    began: Instant,
    took: f64,
    notes: Vec<String>,
    rows: Vec<Row>,
    tables: Vec<(String, String, Vec<Series>)>,
}

/// The results.
pub struct Report {
    folder: PathBuf,
    quick: bool,
    about: Vec<(String, String)>,
    sections: Vec<Section>,
}

impl Report {
    /// An empty one.
    pub fn new(plan: &Plan) -> Self {
        Self { folder: plan.folder.clone(), quick: plan.quick, about: machine::about(), sections: vec![] }
    }

    /// Begins a section.
    pub fn begin(&mut self, name: &str) {
        eprintln!("== {name}");
        let section = Section {
            name: name.to_owned(),
            began: Instant::now(),
            took: 0.0,
            notes: vec![],
            rows: vec![],
            tables: vec![],
        };
        self.sections.push(section);
    }

    fn section(&mut self) -> &mut Section {
        self.sections.last_mut().expect("begin comes first")
    }

    /// Adds a note on the figures, or the command that produced them.
    pub fn note(&mut self, text: &str) {
        eprintln!("   {text}");
        self.section().notes.push(text.to_owned());
    }

    /// A figure, with its goal if it has one.
    pub fn figure(&mut self, what: &str, figure: f64, unit: &str, goal: Option<Goal>) {
        let unit = if unit.is_empty() { String::new() } else { format!(" {unit}") };
        let (bound, verdict) = match goal {
            Some(goal @ Goal::AtLeast(bound)) => {
                (format!("≥ {}{unit}", number(bound)), said(goal.is_reached_by(figure)))
            }
            Some(goal @ Goal::AtMost(bound)) => {
                (format!("≤ {}{unit}", number(bound)), said(goal.is_reached_by(figure)))
            }
            None => (String::new(), ""),
        };
        let figure = format!("{}{unit}", number(figure));
        eprintln!("   {what}: {figure} {bound} {verdict}");
        self.section().rows.push(Row { what: what.to_owned(), figure, goal: bound, verdict });
    }

    /// One median divided by another.
    pub fn ratio(&mut self, what: &str, ours: &Series, theirs: &Series, goal: Option<Goal>) {
        self.figure(what, ours.median() / theirs.median(), "", goal);
    }

    /// The rounds behind the figures: a table and a plot of their own.
    pub fn series(&mut self, title: &str, unit: &str, series: &[Series]) {
        for one in series {
            let rounds: Vec<String> = one.values.iter().map(|value| number(*value)).collect();
            eprintln!("   {title}: {}: {} {unit} ({})", one.name, number(one.median()), rounds.join(", "));
        }
        self.section().tables.push((title.to_owned(), unit.to_owned(), series.to_vec()));
    }

    /// Ends the section: writes `report.md` and a plot for each series.
    pub fn write(&mut self) {
        let section = self.section();
        section.took = section.began.elapsed().as_secs_f64();
        for section in &self.sections {
            for (title, unit, series) in &section.tables {
                let file = self.folder.join(file_name(&section.name, title));
                std::fs::write(file, plot::bars(title, unit, series)).unwrap();
            }
        }
        std::fs::write(self.folder.join("report.md"), self.markdown()).unwrap();
    }

    /// The whole report as Markdown.
    pub fn markdown(&self) -> String {
        let mut out = String::from("# Measured by scripts/bench\n\n");
        if self.quick {
            out += "A quick run shows that everything runs. Its figures mean nothing.\n\n";
        }
        out += "| | |\n|---|---|\n";
        for (what, value) in &self.about {
            let _ = writeln!(out, "| {what} | {value} |");
        }
        for section in &self.sections {
            section.write_to(&mut out);
        }
        out
    }
}

impl Section {
    fn write_to(&self, out: &mut String) {
        let _ = writeln!(out, "\n## {}\n\n| what | figure | goal | |\n|---|---|---|---|", self.name);
        for Row { what, figure, goal, verdict } in &self.rows {
            let _ = writeln!(out, "| {what} | {figure} | {goal} | {verdict} |");
        }
        out.push('\n');
        for note in &self.notes {
            let _ = writeln!(out, "- {note}");
        }
        for (title, unit, series) in &self.tables {
            let _ = writeln!(out, "\n{title}, {unit} ([plot]({})):\n", file_name(&self.name, title));
            let _ = writeln!(out, "| | median | rounds |\n|---|---|---|");
            for one in series {
                let rounds: Vec<String> = one.values.iter().map(|value| number(*value)).collect();
                let _ = writeln!(out, "| {} | {} | {} |", one.name, number(one.median()), rounds.join(", "));
            }
        }
        let _ = writeln!(out, "\nTook {:.0} s.", self.took);
    }
}

fn file_name(section: &str, title: &str) -> String {
    let plain = title.to_lowercase().replace(|c: char| !c.is_ascii_alphanumeric(), "-");
    format!("{section}-{}.svg", plain.split('-').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("-"))
}

const fn said(reached: bool) -> &'static str {
    if reached { "reached" } else { "**missed**" }
}

/// Rounds to the significant digits.
pub fn number(value: f64) -> String {
    if value.is_nan() {
        return "none".to_owned();
    }
    if value.abs() < 10.0 {
        return format!("{value:.2}");
    }
    if value.abs() < 100.0 {
        return format!("{value:.1}");
    }
    let whole = format!("{value:.0}");
    let groups: Vec<&str> = whole.as_bytes().rchunks(3).rev().map(|group| str::from_utf8(group).unwrap()).collect();
    groups.join(",")
}
