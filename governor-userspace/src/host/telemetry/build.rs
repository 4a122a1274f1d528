//! Makes `prometheus` metrics from rows of the [table](super::table), and sees that none is left out.

use super::table::{Definition, Kind, TABLE};
use prometheus::core::Collector;
use prometheus::{
    Counter, Gauge, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
    Opts, Registry,
};

/// Table and code disagree, or a metric cannot be written out. The first is found by any test.
#[derive(Debug, thiserror::Error)]
pub enum MetricsError {
    #[error("metric {0} is not in the table, or with another kind")]
    NotInTable(&'static str),
    #[error("metric {0} is in the table but never built")]
    NotBuilt(&'static str),
    #[error(transparent)]
    Prometheus(#[from] prometheus::Error),
}

/// Makes metrics from rows and remembers which rows are done.
#[derive(Default)]
pub(super) struct Builder {
    registry: Registry,
    built: Vec<&'static str>,
}

impl Builder {
    fn row(
        &mut self,
        name: &'static str,
        fits: fn(Kind) -> bool,
    ) -> Result<&'static Definition, MetricsError> {
        let row = TABLE.iter().find(|row| row.name == name && fits(row.kind));
        self.built.push(name);
        row.ok_or(MetricsError::NotInTable(name))
    }

    fn register<M: Collector + Clone + 'static>(&self, metric: M) -> Result<M, MetricsError> {
        self.registry.register(Box::new(metric.clone()))?;
        Ok(metric)
    }

    pub(super) fn counter(&mut self, name: &'static str) -> Result<IntCounter, MetricsError> {
        let row = self.row(name, |kind| kind == Kind::Counter)?;
        self.register(IntCounter::with_opts(opts(row))?)
    }

    pub(super) fn counter_float(&mut self, name: &'static str) -> Result<Counter, MetricsError> {
        let row = self.row(name, |kind| kind == Kind::CounterFloat)?;
        self.register(Counter::with_opts(opts(row))?)
    }

    pub(super) fn gauge(&mut self, name: &'static str) -> Result<IntGauge, MetricsError> {
        let row = self.row(name, |kind| kind == Kind::Gauge)?;
        self.register(IntGauge::with_opts(opts(row))?)
    }

    pub(super) fn gauge_float(&mut self, name: &'static str) -> Result<Gauge, MetricsError> {
        let row = self.row(name, |kind| kind == Kind::GaugeFloat)?;
        self.register(Gauge::with_opts(opts(row))?)
    }

    pub(super) fn histogram(&mut self, name: &'static str) -> Result<Histogram, MetricsError> {
        let row = self.row(name, |kind| matches!(kind, Kind::Histogram(_)))?;
        self.register(Histogram::with_opts(buckets(row))?)
    }

    pub(super) fn counters(&mut self, name: &'static str) -> Result<IntCounterVec, MetricsError> {
        let row = self.row(name, |kind| kind == Kind::Counter)?;
        self.register(IntCounterVec::new(opts(row), &label_names(row))?)
    }

    pub(super) fn gauges(&mut self, name: &'static str) -> Result<IntGaugeVec, MetricsError> {
        let row = self.row(name, |kind| kind == Kind::Gauge)?;
        self.register(IntGaugeVec::new(opts(row), &label_names(row))?)
    }

    pub(super) fn histograms(&mut self, name: &'static str) -> Result<HistogramVec, MetricsError> {
        let row = self.row(name, |kind| matches!(kind, Kind::Histogram(_)))?;
        self.register(HistogramVec::new(buckets(row), &label_names(row))?)
    }

    pub(super) fn finish(self) -> Result<Registry, MetricsError> {
        match TABLE.iter().find(|row| !self.built.contains(&row.name)) {
            Some(row) => Err(MetricsError::NotBuilt(row.name)),
            None => Ok(self.registry),
        }
    }
}

fn opts(row: &Definition) -> Opts {
    Opts::new(row.name, row.help)
}

fn buckets(row: &Definition) -> HistogramOpts {
    let bounds = if let Kind::Histogram(bounds) = row.kind { bounds } else { &[] };
    HistogramOpts::new(row.name, row.help).buckets(bounds.to_vec())
}

fn label_names(row: &Definition) -> Vec<&'static str> {
    row.labels.iter().map(|label| label.name).collect()
}
