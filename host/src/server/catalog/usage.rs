//! What tenants have used, by day in UTC: a line for each node of a pipeline, with the plugin that it was, and one for the runners.

use jiff::civil::Date;
use rusqlite::{Connection, Row, params};
use serde::{Deserialize, Serialize};

use crate::ids::TenantId;
use crate::jobs::{RunnerSpent, Spender, Spent};
use crate::server::refusal::Refusal;
use crate::telemetry::NodeCounts;

/// How the parts of an account are cut.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
    utoipa::ToSchema,
    clap::ValueEnum,
)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// A version of a plugin; what is no plugin goes without a name
    #[default]
    Plugin,
    /// A day in UTC
    Day,
    /// A pipeline
    Pipeline,
}

/// What a plugin, a day or a pipeline has used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Part {
    /// Of which: `split-words@2`, `2026-11-22`, `counts`. Empty for what is no plugin.
    pub name: String,
    /// Microseconds of processor time in plugins.
    pub plugin_cpu_us: u64,
    /// Calls into plugins.
    pub calls: u64,
    /// Rows that a plugin was given; else records that sources have decoded.
    pub rows_in: u64,
    /// Bytes that sources have read.
    pub bytes_in: u64,
}

/// What the runners of a tenant have used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Total {
    /// Milliseconds of processor time: plugins and the host's own work on their rows.
    pub cpu_ms: u64,
    /// Memory times the time that it was held.
    pub memory_byte_seconds: u64,
}

/// Adds what was used on a day, by tenants that are still there.
///
/// # Errors
/// When the catalog cannot be written.
pub fn add(db: &Connection, day: Date, spent: &Spent) -> Result<(), Refusal> {
    for (spender, counts) in &spent.nodes {
        add_node(db, day, spender, counts)?;
    }
    let mut add = db.prepare_cached(
        "INSERT INTO usage_of_runners (tenant, day, cpu_ms, memory_byte_seconds) SELECT name, ?2, ?3, ?4 FROM tenant WHERE name = ?1
         ON CONFLICT DO UPDATE SET cpu_ms = cpu_ms + excluded.cpu_ms,
           memory_byte_seconds = memory_byte_seconds + excluded.memory_byte_seconds",
    )?;
    for (tenant, spent) in &spent.runners {
        let RunnerSpent {
            cpu_ms,
            memory_byte_seconds,
        } = *spent;
        let values = params![
            tenant.as_str(),
            day.to_string(),
            integer(cpu_ms),
            integer(memory_byte_seconds)
        ];
        add.execute(values)?;
    }
    Ok(())
}

fn add_node(
    db: &Connection,
    day: Date,
    spender: &Spender,
    counts: &NodeCounts,
) -> Result<(), Refusal> {
    let mut add = db.prepare_cached(
        "INSERT INTO usage (tenant, day, pipeline, node, plugin, plugin_cpu_us, calls, rows_in, bytes_in)
         SELECT name, ?2, ?3, ?4, coalesce((SELECT plugin || '@' || plugin_version FROM pipeline_plugin
           WHERE tenant = ?1 AND pipeline = ?3 AND node = ?4 AND version = ?5), ''), ?6, ?7, ?8, ?9 FROM tenant WHERE name = ?1
         ON CONFLICT DO UPDATE SET plugin_cpu_us = plugin_cpu_us + excluded.plugin_cpu_us, calls = calls + excluded.calls,
           rows_in = rows_in + excluded.rows_in, bytes_in = bytes_in + excluded.bytes_in",
    )?;
    add.execute(params![
        spender.tenant.as_str(),
        day.to_string(),
        spender.pipeline.as_str(),
        spender.node.as_str(),
        spender.version,
        integer(counts.cpu_nanos / 1000),
        integer(counts.calls),
        integer(counts.rows_in),
        integer(counts.bytes_in),
    ])?;
    Ok(())
}

/// Forgets what was used before a day.
///
/// # Errors
/// When the catalog cannot be written.
pub fn forget_before(db: &Connection, day: Date) -> Result<(), Refusal> {
    let day = day.to_string();
    db.execute("DELETE FROM usage WHERE day < ?", [&day])?;
    db.execute("DELETE FROM usage_of_runners WHERE day < ?", [&day])?;
    Ok(())
}

/// What a tenant has used since a day, the first part first by name.
///
/// # Errors
/// When the catalog cannot be read.
pub fn parts(
    db: &Connection,
    tenant: &TenantId,
    by: By,
    since: Option<Date>,
) -> Result<Vec<Part>, Refusal> {
    let (name, is_given) = match by {
        By::Plugin => ("plugin", "plugin <> ''"),
        By::Day => ("day", "FALSE"),
        By::Pipeline => ("pipeline", "FALSE"),
    };
    // Of what is no plugin, sources alone have read bytes: rows that go from step to step are counted once.
    let mut query = db.prepare_cached(&format!(
        "SELECT {name} AS name, sum(plugin_cpu_us) AS plugin_cpu_us, sum(calls) AS calls,
           sum(CASE WHEN {is_given} OR bytes_in > 0 THEN rows_in ELSE 0 END) AS rows_in, sum(bytes_in) AS bytes_in
         FROM usage WHERE tenant = ?1 AND day >= ?2 GROUP BY {name} ORDER BY {name}"
    ))?;
    let parts = query.query_map(params![tenant.as_str(), first(since)], part)?;
    Ok(parts.collect::<rusqlite::Result<_>>()?)
}

/// What the runners of a tenant have used since a day.
///
/// # Errors
/// When the catalog cannot be read.
pub fn total(db: &Connection, tenant: &TenantId, since: Option<Date>) -> Result<Total, Refusal> {
    let mut query = db.prepare_cached(
        "SELECT coalesce(sum(cpu_ms), 0) AS cpu_ms, coalesce(sum(memory_byte_seconds), 0) AS memory_byte_seconds
         FROM usage_of_runners WHERE tenant = ?1 AND day >= ?2",
    )?;
    let total = query.query_row(params![tenant.as_str(), first(since)], |row| {
        Ok(Total {
            cpu_ms: number(row, "cpu_ms")?,
            memory_byte_seconds: number(row, "memory_byte_seconds")?,
        })
    })?;
    Ok(total)
}

fn part(row: &Row<'_>) -> rusqlite::Result<Part> {
    Ok(Part {
        name: row.get("name")?,
        plugin_cpu_us: number(row, "plugin_cpu_us")?,
        calls: number(row, "calls")?,
        rows_in: number(row, "rows_in")?,
        bytes_in: number(row, "bytes_in")?,
    })
}

/// Days are written so that their order is that of their texts.
fn first(since: Option<Date>) -> String {
    since.map(|day| day.to_string()).unwrap_or_default()
}

fn integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn number(row: &Row<'_>, column: &str) -> rusqlite::Result<u64> {
    Ok(row.get::<_, i64>(column)?.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;
    use crate::server::catalog::tenant::{self, Policy};

    fn counts(calls: u64, bytes_in: u64) -> NodeCounts {
        NodeCounts {
            calls,
            rows_in: 10,
            bytes_in,
            cpu_nanos: calls * 1000,
            ..NodeCounts::default()
        }
    }

    fn spent(tenant: &TenantId) -> Spent {
        let spender = |node: &str| Spender {
            tenant: tenant.clone(),
            pipeline: "counts".into(),
            version: 1,
            node: node.into(),
        };
        let runner = RunnerSpent {
            cpu_ms: 7,
            memory_byte_seconds: 100,
        };
        Spent {
            nodes: [
                (spender("lines"), counts(0, 80)),
                (spender("words"), counts(3, 0)),
            ]
            .into(),
            runners: [(tenant.clone(), runner)].into(),
        }
    }

    fn shown(parts: Vec<Part>) -> Vec<(String, u64, u64, u64)> {
        let parts = parts.into_iter();
        parts
            .map(|part| (part.name, part.plugin_cpu_us, part.rows_in, part.bytes_in))
            .collect()
    }

    #[test]
    fn what_was_used_adds_up_by_day_and_is_forgotten_in_time() {
        let acme = TenantId::parse("acme").unwrap();
        let (first, second) = (date(2026, 11, 21), date(2026, 11, 22));
        let catalog = crate::server::catalog::tests::empty();
        let kept = catalog.change(|db| {
            tenant::create(db, &acme, &Policy::default())?;
            for day in [first, second, second] {
                add(db, day, &spent(&acme))?;
            }
            let by = |by, since| parts(db, &acme, by, since).map(shown);
            let day = |day: Date, times: u64| (day.to_string(), 3 * times, 10 * times, 80 * times);
            assert_eq!(by(By::Day, None)?, [day(first, 1), day(second, 2)]);
            assert_eq!(by(By::Day, Some(second))?, [day(second, 2)]);
            assert_eq!(by(By::Pipeline, None)?, [("counts".to_owned(), 9, 30, 240)]);
            let total_since = |since| total(db, &acme, since);
            assert_eq!(total_since(None)?.cpu_ms, 21);
            assert_eq!(total_since(Some(second))?.memory_byte_seconds, 200);
            forget_before(db, second)?;
            assert_eq!(total_since(None)?.cpu_ms, 14);
            by(By::Day, None)
        });
        assert_eq!(kept.unwrap().len(), 1);
    }
}
