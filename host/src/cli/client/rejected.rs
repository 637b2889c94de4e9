//! `wasmill rejected`: rows that a pipeline on a server has turned away.

use jiff::Timestamp;
use reqwest::Method;

use super::connection::segment;
use super::{Connection, Form, Listing, Remote, listing};
use crate::cli::output;
use crate::server::rejected::{
    Choice, Discarded, GivenBack, Rejected, RejectedRow, RowId, RowState,
};

/// Look at rows that a pipeline has rejected, give them back to it, or discard them
#[derive(Debug, clap::Subcommand)]
pub enum RejectedCommand {
    /// Count rejected rows by step, plugin and reason
    Ls(Pipeline),
    /// Show rejected rows, the latest first, or one with all that is kept of it
    Show {
        #[command(flatten)]
        pipeline: Pipeline,

        /// One row, by the name that the list has for it
        #[arg(value_name = "ROW", conflicts_with_all = ["node", "before", "all", "limit"])]
        row: Option<RowId>,

        /// Those of a source, step or sink
        #[arg(long, value_name = "NAME")]
        node: Option<String>,

        /// Those of before then, as in 2026-11-22T10:00:00Z
        #[arg(long, value_name = "TIME")]
        before: Option<Timestamp>,

        /// Those too that were given back
        #[arg(long)]
        all: bool,

        /// At most so many
        #[arg(long, value_name = "N", default_value_t = 50)]
        limit: u32,
    },
    /// Give rejected rows back to the step that has turned them away, once
    Replay {
        #[command(flatten)]
        pipeline: Pipeline,

        #[command(flatten)]
        rows: Rows,
    },
    /// Remove rejected rows for good, those too that were given back
    Discard {
        #[command(flatten)]
        pipeline: Pipeline,

        #[command(flatten)]
        rows: Rows,
    },
}

/// A pipeline on a server.
#[derive(Debug, clap::Args)]
pub struct Pipeline {
    /// The pipeline
    #[arg(value_name = "PIPELINE")]
    name: String,

    #[command(flatten)]
    remote: Remote,
}

/// Which rows are meant: those of which all is true.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = true)]
pub struct Rows {
    /// These rows, by the names that `wasmill rejected show` has for them
    #[arg(value_name = "ROW")]
    rows: Vec<RowId>,

    /// Those of a source, step or sink
    #[arg(long, value_name = "NAME")]
    node: Option<String>,

    /// Those of before then, as in 2026-11-22T10:00:00Z
    #[arg(long, value_name = "TIME")]
    before: Option<Timestamp>,

    /// All of them
    #[arg(long, conflicts_with_all = ["rows", "node", "before"])]
    all: bool,
}

impl Rows {
    fn choice(self) -> Choice {
        Choice {
            ids: self.rows.into_iter().collect(),
            node: self.node,
            before: self.before,
            all: self.all,
        }
    }
}

/// Characters of a text in a table.
const CELL: usize = 60;

impl RejectedCommand {
    /// Does it.
    ///
    /// # Errors
    /// When the server refuses.
    pub fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Ls(pipeline) => pipeline.count(),
            Self::Show {
                pipeline,
                row: Some(row),
                ..
            } => pipeline.show(row),
            Self::Show {
                pipeline,
                node,
                before,
                all,
                limit,
                ..
            } => {
                let mut query = format!("?limit={limit}&all={all}");
                if let Some(node) = node {
                    query += &format!("&node={}", segment(&node));
                }
                if let Some(before) = before {
                    query += &format!("&before={}", segment(&before.to_string()));
                }
                pipeline.list(&query)
            }
            Self::Replay { pipeline, rows } => pipeline.replay(&rows.choice()),
            Self::Discard { pipeline, rows } => pipeline.discard(&rows.choice()),
        }
    }
}

impl Pipeline {
    fn open(&self, rest: &str) -> anyhow::Result<(Connection, String)> {
        let connection = Connection::open(&self.remote)?;
        let path = format!("/pipelines/{}/rejected{rest}", segment(&self.name));
        let path = connection.of_tenant(&path)?;
        Ok((connection, path))
    }

    fn count(&self) -> anyhow::Result<()> {
        let (connection, path) = self.open("")?;
        let rejected: Rejected = connection.get(&path)?;
        if self.remote.output == Form::Json {
            return listing::show_json(&rejected);
        }
        let listing = Listing::of(&[
            "NODE", "PLUGIN", "OPEN", "REPLAYED", "FIRST", "LAST", "REASON",
        ]);
        let listing = listing.rows(&rejected.groups, |group| {
            vec![
                group.node.clone(),
                digest(group.plugin.as_deref()),
                group.open.to_string(),
                group.given_back.to_string(),
                format!("{:.0}", group.first),
                format!("{:.0}", group.last),
                cut(&group.reason),
            ]
        });
        listing.show(Form::Table, &rejected)?;
        let mut said = String::new();
        if rejected.more_groups > 0 {
            said += &format!("and {} other reasons\n", rejected.more_groups);
        }
        if rejected.dropped > 0 {
            said += &format!(
                "{} rows were dropped to keep within {} bytes\n",
                rejected.dropped, rejected.limit
            );
        }
        output::write(said.as_bytes())
    }

    fn list(&self, query: &str) -> anyhow::Result<()> {
        let (connection, path) = self.open(&format!("/rows{query}"))?;
        let rows: Vec<RejectedRow> = connection.get(&path)?;
        let listing = Listing::of(&["ROW", "STATE", "TIME", "NODE", "ORIGIN", "REASON"]);
        let listing = listing.rows(&rows, |row| {
            vec![
                row.id.to_string(),
                state(row.state).to_owned(),
                format!("{:.0}", row.time),
                whose(row),
                cut(&row.origin),
                cut(&row.reason),
            ]
        });
        listing.show(self.remote.output, &rows)
    }

    fn show(&self, id: RowId) -> anyhow::Result<()> {
        let (connection, path) = self.open(&format!("/rows/{id}"))?;
        let row: RejectedRow = connection.get(&path)?;
        if self.remote.output == Form::Json {
            return listing::show_json(&row);
        }
        let lines = [
            ("row", row.id.to_string()),
            ("state", state(row.state).to_owned()),
            ("time", row.time.to_string()),
            ("node", whose(&row)),
            ("plugin", row.plugin.unwrap_or_else(|| "-".to_owned())),
            ("origin", row.origin),
            ("reason", row.reason),
        ];
        let bytes = row.bytes.map(|bytes| ("bytes", bytes));
        let cut = row.cut.then(|| ("cut", "the record is longer".to_owned()));
        let text = lines.iter().chain(&bytes).chain(&cut);
        let text = text.map(|(what, said)| format!("{what:<8}{said}\n"));
        let kept = row.row.map_or("-".to_owned(), |row| row.get().to_owned());
        output::write(format!("{}\n{kept}\n", text.collect::<String>()).as_bytes())
    }

    fn replay(&self, choice: &Choice) -> anyhow::Result<()> {
        let (connection, path) = self.open("/replay")?;
        let done: GivenBack = connection.send(Method::POST, &path, choice)?;
        if self.remote.output == Form::Json {
            return listing::show_json(&done);
        }
        let mut said = format!("given back: {}\n", done.rows);
        if done.left_out > 0 {
            said += &format!("left out: {}\n", done.left_out);
        }
        for left in &done.why {
            said += &format!("  {}: {}\n", left.id, left.reason);
        }
        output::write(said.as_bytes())
    }

    fn discard(&self, choice: &Choice) -> anyhow::Result<()> {
        let (connection, path) = self.open("/discard")?;
        let done: Discarded = connection.send(Method::POST, &path, choice)?;
        if self.remote.output == Form::Json {
            return listing::show_json(&done);
        }
        output::write(format!("discarded: {}\n", done.rows).as_bytes())
    }
}

/// The node that has rejected a row, and of which of its inputs.
fn whose(row: &RejectedRow) -> String {
    match row.input {
        Some(input) => format!("{}, input {input}", row.node),
        None => row.node.clone(),
    }
}

fn state(state: RowState) -> &'static str {
    match state {
        RowState::Open => "open",
        RowState::GivenBack => "replayed",
    }
}

fn digest(digest: Option<&str>) -> String {
    digest.map_or("-".to_owned(), |digest| digest.chars().take(19).collect())
}

/// A text as a cell of a table: one line, not too long.
fn cut(text: &str) -> String {
    let mut cell: String = text.chars().take(CELL).collect();
    if cell.len() < text.len() {
        cell.push('…');
    }
    cell.replace(|c: char| c.is_control(), " ")
}
