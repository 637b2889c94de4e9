//! The text format of Prometheus, version 0.0.4, which every scraper reads.
//!
//! `prometheus-client` writes OpenMetrics, in which a counter's type and help stand under another name than its samples: Prometheus's own
//! `promtool check metrics` takes these for metrics without help. The format is three kinds of lines.

use std::fmt::Write as _;

/// What the text is called in HTTP.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What a metric's values do.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// They only grow, and begin at zero again after a start.
    Counter,
    /// They go up and down.
    Gauge,
}

/// A text that is being written, metric by metric, each with all of its samples.
#[derive(Default)]
pub struct Exposition(String);

impl Exposition {
    /// Begins a metric.
    pub fn metric(&mut self, name: &str, kind: Kind, help: &str) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        // Writing to a String cannot fail, here and below.
        write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n").ok();
    }

    /// Adds a sample of the metric begun last.
    pub fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        self.0.push_str(name);
        for (place, (label, value)) in labels.iter().enumerate() {
            let before = if place == 0 { '{' } else { ',' };
            write!(self.0, "{before}{label}=\"{}\"", escaped(value)).ok();
        }
        if !labels.is_empty() {
            self.0.push('}');
        }
        writeln!(self.0, " {value}").ok();
    }

    /// The whole text.
    pub fn into_text(self) -> String {
        self.0
    }
}

fn escaped(value: &str) -> String {
    let value = value.replace('\\', "\\\\").replace('"', "\\\"");
    value.replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_end_a_label_is_escaped() {
        let mut text = Exposition::default();
        text.metric("a_total", Kind::Counter, "One\\two\nthree.");
        text.sample("a_total", &[("b", "x\"} 1\ny\\"), ("c", "")], 0.5);
        text.sample("a_total", &[], 3.0);
        let expected = concat!(
            "# HELP a_total One\\\\two\\nthree.\n",
            "# TYPE a_total counter\n",
            "a_total{b=\"x\\\"} 1\\ny\\\\\",c=\"\"} 0.5\n",
            "a_total 3\n",
        );
        assert_eq!(text.into_text(), expected);
    }
}
