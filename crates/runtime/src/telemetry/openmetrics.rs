//! Writes a Prometheus registry in the OpenMetrics text format 1.0, which the `prometheus` crate does not write.

use std::fmt::{self, Display, Formatter, Write};

use prometheus::proto::{Histogram, LabelPair, Metric, MetricFamily, MetricType};

/// Units that a metric's name may end with.
const UNITS: [&str; 3] = ["seconds", "bytes", "ratio"];

/// The exposition with its end mark.
#[must_use]
pub fn encode(families: &[MetricFamily]) -> String {
    let mut text = String::new();
    for family in families {
        family_text(&mut text, family).expect("writing to a string does not fail");
    }
    text.push_str("# EOF\n");
    text
}

fn family_text(text: &mut String, family: &MetricFamily) -> fmt::Result {
    let (kind, name, suffix) = kind(family);
    writeln!(text, "# TYPE {name} {kind}")?;
    if let Some(unit) = UNITS.iter().find(|unit| name.ends_with(&format!("_{unit}"))) {
        writeln!(text, "# UNIT {name} {unit}")?;
    }
    if !family.help().is_empty() {
        writeln!(text, "# HELP {name} {}", Escaped(family.help()))?;
    }
    for metric in family.get_metric() {
        let labels = metric.get_label();
        match family.get_field_type() {
            MetricType::COUNTER => sample(text, name, suffix, labels, metric.get_counter().get_value())?,
            MetricType::HISTOGRAM => histogram(text, name, metric, metric.get_histogram())?,
            _ => sample(text, name, suffix, labels, metric.get_gauge().get_value())?,
        }
    }
    Ok(())
}

/// Type and name of a family, and the suffix of its samples. In OpenMetrics the family's name has no suffix.
fn kind(family: &MetricFamily) -> (&'static str, &str, &'static str) {
    let name = family.name();
    match family.get_field_type() {
        MetricType::COUNTER => ("counter", name.strip_suffix("_total").unwrap_or(name), "_total"),
        MetricType::HISTOGRAM => ("histogram", name, ""),
        _ => match name.strip_suffix("_info") {
            Some(name) => ("info", name, "_info"),
            None => ("gauge", name, ""),
        },
    }
}

fn histogram(text: &mut String, name: &str, metric: &Metric, histogram: &Histogram) -> fmt::Result {
    let labels = metric.get_label();
    let bounds = histogram
        .get_bucket()
        .iter()
        .filter(|bucket| bucket.upper_bound().is_finite())
        // the format requires `1.0`, which Debug writes; Display writes `1`
        .map(|bucket| (format!("{:?}", bucket.upper_bound()), bucket.cumulative_count()));
    let all = ("+Inf".to_owned(), histogram.get_sample_count());
    for (bound, count) in bounds.chain([all]) {
        writeln!(text, "{name}_bucket{} {count}", Labels(labels, Some(&bound)))?;
    }
    writeln!(
        text,
        "{name}_count{} {}",
        Labels(labels, None),
        histogram.get_sample_count()
    )?;
    sample(text, name, "_sum", labels, histogram.get_sample_sum())
}

fn sample(text: &mut String, name: &str, suffix: &str, labels: &[LabelPair], value: f64) -> fmt::Result {
    write!(text, "{name}{suffix}{} ", Labels(labels, None))?;
    match value {
        _ if value.is_nan() => writeln!(text, "NaN"),
        f64::INFINITY => writeln!(text, "+Inf"),
        f64::NEG_INFINITY => writeln!(text, "-Inf"),
        _ => writeln!(text, "{value}"),
    }
}

/// `{name="value",…}`, with a bucket's bound if there is one. Empty without labels.
struct Labels<'a>(&'a [LabelPair], Option<&'a str>);

impl Display for Labels<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let own = self.0.iter().map(|label| (label.name(), label.value()));
        let mut before = '{';
        for (name, value) in own.chain(self.1.map(|bound| ("le", bound))) {
            write!(f, "{before}{name}=\"{}\"", Escaped(value))?;
            before = ',';
        }
        if before == ',' { f.write_char('}') } else { Ok(()) }
    }
}

struct Escaped<'a>(&'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '\\' => f.write_str("\\\\")?,
                '"' => f.write_str("\\\"")?,
                '\n' => f.write_str("\\n")?,
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use prometheus::core::Collector;
    use prometheus::{Gauge, GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, Opts};

    use super::*;

    fn text(collector: &impl Collector) -> String {
        encode(&collector.collect())
    }

    #[test]
    fn an_empty_registry_is_only_the_end_mark() {
        assert_eq!(encode(&[]), "# EOF\n");
    }

    #[test]
    fn a_counters_family_has_no_suffix_and_its_samples_have_one() {
        let rows = IntCounterVec::new(Opts::new("rows_total", "Rows."), &["outcome"]).unwrap();
        rows.with_label_values(&["inserted"]).inc_by(3);
        assert_eq!(
            text(&rows),
            "# TYPE rows counter\n# HELP rows Rows.\nrows_total{outcome=\"inserted\"} 3\n# EOF\n"
        );
    }

    #[test]
    fn the_unit_is_named_where_the_name_ends_with_one() {
        let cpu = prometheus::Counter::new("cpu_seconds_total", "Time.").unwrap();
        cpu.inc_by(0.25);
        assert_eq!(
            text(&cpu),
            "# TYPE cpu_seconds counter\n# UNIT cpu_seconds seconds\n# HELP cpu_seconds Time.\ncpu_seconds_total 0.25\n# EOF\n"
        );
    }

    #[test]
    fn a_histogram_ends_with_the_unbounded_bucket_and_writes_bounds_as_floats() {
        let options = HistogramOpts::new("load_seconds", "Load.").buckets(vec![0.5, 1.0, 10.0]);
        let load = HistogramVec::new(options, &["lane"]).unwrap();
        for seconds in [0.25, 0.75, 20.0] {
            load.with_label_values(&["live"]).observe(seconds);
        }
        assert_eq!(
            text(&load),
            "# TYPE load_seconds histogram\n# UNIT load_seconds seconds\n# HELP load_seconds Load.\n\
             load_seconds_bucket{lane=\"live\",le=\"0.5\"} 1\n\
             load_seconds_bucket{lane=\"live\",le=\"1.0\"} 2\n\
             load_seconds_bucket{lane=\"live\",le=\"10.0\"} 2\n\
             load_seconds_bucket{lane=\"live\",le=\"+Inf\"} 3\n\
             load_seconds_count{lane=\"live\"} 3\n\
             load_seconds_sum{lane=\"live\"} 21\n# EOF\n"
        );
    }

    #[test]
    fn labels_and_help_are_escaped() {
        let source = GaugeVec::new(Opts::new("lag", "a \"b\"\nc \\ d"), &["source"]).unwrap();
        source.with_label_values(&["a\"b\\c\nd"]).set(-1.5);
        assert_eq!(
            text(&source),
            "# TYPE lag gauge\n# HELP lag a \\\"b\\\"\\nc \\\\ d\nlag{source=\"a\\\"b\\\\c\\nd\"} -1.5\n# EOF\n"
        );
    }

    #[test]
    fn a_gauge_named_info_is_an_info() {
        let build = Gauge::new("build_info", "Version.").unwrap();
        build.set(1.0);
        assert_eq!(
            text(&build),
            "# TYPE build info\n# HELP build Version.\nbuild_info 1\n# EOF\n"
        );
    }

    #[test]
    fn infinities_and_nan_are_written_as_the_format_requires() {
        let odd = GaugeVec::new(Opts::new("odd", "Odd."), &["of"]).unwrap();
        for (of, value) in [("a", f64::NAN), ("b", f64::INFINITY), ("c", f64::NEG_INFINITY)] {
            odd.with_label_values(&[of]).set(value);
        }
        let text = text(&odd);
        for line in [
            "odd{of=\"a\"} NaN\n",
            "odd{of=\"b\"} +Inf\n",
            "odd{of=\"c\"} -Inf\n",
        ] {
            assert!(text.contains(line), "{text}");
        }
    }
}
