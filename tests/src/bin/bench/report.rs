//! What was measured, as a table and as JSON lines.

use std::fs;
use std::path::Path;

/// Figures in the order in which they were measured.
#[derive(Default)]
pub struct Report {
    figures: Vec<Figure>,
}

struct Figure {
    name: String,
    value: f64,
    unit: &'static str,
}

/// What a figure should be, where a goal is set.
const GOALS: [(&str, &str); 23] = [
    ("wasmill_1_over_native", "at least 0.65"),
    ("wasmill_2_over_1", "at least 1.8"),
    ("machine_2_over_1", "what two runs at once come to"),
    ("wasmill_2_over_spark_dstream", "at least 15"),
    ("wasmill_2_over_spark_structured", "at least 15"),
    ("plugin_call_ns", "at most 1,000"),
    ("peak_rss_mb", "under 300"),
    ("native_words_per_s", "the measure of the others"),
    ("keyed_over_aggregate", "how close it comes"),
    ("checkpoint_cost_ratio", "at most 0.10"),
    ("touched_keys_ratio", "about 1"),
    ("sliding_60_over_tumbling", "at most 1.5"),
    ("resume_1gb_s", "at most 5"),
    ("latency_p50_ms", "at most 120"),
    ("latency_p99_ms", "at most 200"),
    ("idle_pipeline_mb", "at most 2"),
    ("pipeline_start_ms", "at most 50"),
    ("api_p99_ms", "at most 20"),
    ("neighbour_p99_ratio", "at most 1.1"),
    ("hostile_survived", "as many as hostile_total"),
    ("c_over_rust_row", "at most 1.3"),
    ("script_load_ms", "at most 10"),
    ("script_instance_ms", "at most 2"),
];

impl Report {
    /// Adds a figure.
    pub fn add(&mut self, name: &str, value: f64, unit: &'static str) {
        self.figures.push(Figure {
            name: name.to_owned(),
            value,
            unit,
        });
    }

    /// Prints all of it to standard output.
    pub fn print(&self) {
        for Figure { name, value, unit } in &self.figures {
            let goal = GOALS
                .iter()
                .find(|(of, _)| of == name)
                .map_or("", |(_, goal)| goal);
            let line = format!("  {name:<34} {:>14} {unit:<8} {goal}", number(*value));
            println!("{}", line.trim_end());
        }
    }

    /// Writes a line of JSON a figure.
    pub fn write_json(&self, file: &Path) -> std::io::Result<()> {
        let line = |figure: &Figure| {
            let Figure { name, value, unit } = figure;
            format!("{{\"name\": \"{name}\", \"value\": {value}, \"unit\": \"{unit}\"}}\n")
        };
        fs::write(file, self.figures.iter().map(line).collect::<String>())
    }
}

/// Large numbers in groups of three digits, small ones with two digits behind the point.
fn number(value: f64) -> String {
    if value < 1000.0 {
        return format!("{value:.2}");
    }
    let digits = format!("{value:.0}");
    let mut grouped = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// The middle one; of an even number the lower middle.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[(sorted.len() - 1) / 2]
}

/// The median of `above / below`, turn by turn.
pub fn ratio(above: &[f64], below: &[f64]) -> f64 {
    let ratios: Vec<_> = above
        .iter()
        .zip(below)
        .map(|(above, below)| above / below)
        .collect();
    median(&ratios)
}

#[cfg(test)]
mod tests {
    use super::{median, number, ratio};

    #[test]
    fn large_numbers_are_grouped_and_small_ones_keep_two_digits() {
        let shown = [0.654, 999.0, 1000.0, 12_345.6, 21_456_789.0].map(number);
        assert_eq!(shown, ["0.65", "999.00", "1,000", "12,346", "21,456,789"]);
    }

    #[test]
    fn a_ratio_is_the_median_over_the_turns() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(ratio(&[1.0, 20.0, 9.0], &[2.0, 10.0, 9.0]), 1.0);
    }
}
