//! The tables, as they came to be: a list of changes, of which none is ever edited once it was released.

use rusqlite_migration::{M, Migrations};

const FIRST: &str = "
CREATE TABLE tenant (
  name TEXT PRIMARY KEY,
  policy TEXT NOT NULL,
  created INTEGER NOT NULL
) STRICT;

-- Without a tenant it is an administrator's.
CREATE TABLE token (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  hash BLOB NOT NULL UNIQUE,
  label TEXT NOT NULL,
  tenant TEXT REFERENCES tenant (name),
  created INTEGER NOT NULL,
  used INTEGER,
  revoked INTEGER
) STRICT;

-- Numbers are never given twice, whatever is removed.
CREATE TABLE plugin (
  tenant TEXT NOT NULL REFERENCES tenant (name),
  name TEXT NOT NULL,
  newest INTEGER NOT NULL,
  PRIMARY KEY (tenant, name)
) STRICT;

CREATE TABLE plugin_version (
  tenant TEXT NOT NULL,
  name TEXT NOT NULL,
  version INTEGER NOT NULL,
  digest TEXT NOT NULL,
  world TEXT NOT NULL,
  contract TEXT NOT NULL,
  size INTEGER NOT NULL,
  capabilities TEXT NOT NULL,
  pushed_by TEXT NOT NULL,
  pushed INTEGER NOT NULL,
  PRIMARY KEY (tenant, name, version),
  FOREIGN KEY (tenant, name) REFERENCES plugin (tenant, name)
) STRICT;
CREATE INDEX plugin_digest ON plugin_version (digest);

CREATE TABLE pipeline (
  tenant TEXT NOT NULL REFERENCES tenant (name),
  name TEXT NOT NULL,
  newest INTEGER NOT NULL,
  current INTEGER NOT NULL,
  wanted TEXT NOT NULL,
  accept_changes INTEGER NOT NULL,
  PRIMARY KEY (tenant, name)
) STRICT;

CREATE TABLE pipeline_version (
  tenant TEXT NOT NULL,
  pipeline TEXT NOT NULL,
  version INTEGER NOT NULL,
  text TEXT NOT NULL,
  workers INTEGER NOT NULL,
  applied_by TEXT NOT NULL,
  applied INTEGER NOT NULL,
  PRIMARY KEY (tenant, pipeline, version),
  FOREIGN KEY (tenant, pipeline) REFERENCES pipeline (tenant, name) ON DELETE CASCADE
) STRICT;

CREATE TABLE pipeline_plugin (
  tenant TEXT NOT NULL,
  pipeline TEXT NOT NULL,
  version INTEGER NOT NULL,
  node TEXT NOT NULL,
  reference TEXT NOT NULL,
  plugin TEXT NOT NULL,
  plugin_version INTEGER NOT NULL,
  PRIMARY KEY (tenant, pipeline, version, node),
  FOREIGN KEY (tenant, pipeline, version) REFERENCES pipeline_version (tenant, pipeline, version) ON DELETE CASCADE,
  FOREIGN KEY (tenant, plugin, plugin_version) REFERENCES plugin_version (tenant, name, version)
) STRICT;
CREATE INDEX plugin_use ON pipeline_plugin (tenant, plugin, plugin_version);

CREATE TABLE audit (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  time INTEGER NOT NULL,
  who TEXT NOT NULL,
  tenant TEXT,
  action TEXT NOT NULL,
  subject TEXT NOT NULL,
  before TEXT,
  after TEXT
) STRICT;
CREATE INDEX audit_tenant ON audit (tenant, id);
";

const TRIALS: &str = "
-- The current version of a pipeline if it is on trial, or the one that has failed on it.
CREATE TABLE trial (
  tenant TEXT NOT NULL,
  pipeline TEXT NOT NULL,
  version INTEGER NOT NULL,
  before INTEGER NOT NULL,
  epochs INTEGER NOT NULL,
  ended INTEGER,
  failure TEXT,
  stays TEXT,
  PRIMARY KEY (tenant, pipeline),
  FOREIGN KEY (tenant, pipeline) REFERENCES pipeline (tenant, name) ON DELETE CASCADE
) STRICT;
";

const SIGNATURES: &str = "
-- In minisign's format, and the id of the key; of versions that were pushed with one.
ALTER TABLE plugin_version ADD COLUMN signature TEXT;
ALTER TABLE plugin_version ADD COLUMN signed_by TEXT;
";

const REJECTED: &str = "
-- Rows of a pipeline that were given back to one of its nodes, in a file of their own. State: begun, written, read.
CREATE TABLE replay (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  tenant TEXT NOT NULL,
  pipeline TEXT NOT NULL,
  node TEXT NOT NULL,
  state TEXT NOT NULL,
  FOREIGN KEY (tenant, pipeline) REFERENCES pipeline (tenant, name) ON DELETE CASCADE
) STRICT;

-- Rejected rows, of one file each, that were given back, or are gone.
CREATE TABLE rejected_mark (
  tenant TEXT NOT NULL,
  pipeline TEXT NOT NULL,
  epoch INTEGER NOT NULL,
  partition INTEGER NOT NULL,
  first INTEGER NOT NULL,
  last INTEGER NOT NULL,
  replay INTEGER,
  FOREIGN KEY (tenant, pipeline) REFERENCES pipeline (tenant, name) ON DELETE CASCADE
) STRICT;
CREATE INDEX rejected_mark_file ON rejected_mark (tenant, pipeline, epoch, partition);

-- Rejected rows that were dropped to keep within the limit.
CREATE TABLE rejected_dropped (
  tenant TEXT NOT NULL,
  pipeline TEXT NOT NULL,
  rows INTEGER NOT NULL,
  PRIMARY KEY (tenant, pipeline),
  FOREIGN KEY (tenant, pipeline) REFERENCES pipeline (tenant, name) ON DELETE CASCADE
) STRICT;
";

const USAGE: &str = "
-- By day in UTC, 2026-11-22. A node that was no plugin has none.
CREATE TABLE usage (
  tenant TEXT NOT NULL REFERENCES tenant (name),
  day TEXT NOT NULL,
  pipeline TEXT NOT NULL,
  node TEXT NOT NULL,
  plugin TEXT NOT NULL,
  plugin_cpu_us INTEGER NOT NULL,
  calls INTEGER NOT NULL,
  rows_in INTEGER NOT NULL,
  bytes_in INTEGER NOT NULL,
  PRIMARY KEY (tenant, day, pipeline, node, plugin)
) STRICT;

CREATE TABLE usage_of_runners (
  tenant TEXT NOT NULL REFERENCES tenant (name),
  day TEXT NOT NULL,
  cpu_ms INTEGER NOT NULL,
  memory_byte_seconds INTEGER NOT NULL,
  PRIMARY KEY (tenant, day)
) STRICT;
";

const SECRETS: &str = "
-- Encrypted: what a catalog alone shows is that there are such secrets.
CREATE TABLE secret (
  tenant TEXT NOT NULL REFERENCES tenant (name),
  name TEXT NOT NULL,
  sealed BLOB NOT NULL,
  set_by TEXT NOT NULL,
  set_at INTEGER NOT NULL,
  PRIMARY KEY (tenant, name)
) STRICT;
";

const SCOPES: &str = "
-- full, read or metrics.
ALTER TABLE token ADD COLUMN scope TEXT NOT NULL DEFAULT 'full';
";

/// All of them, in order.
pub fn migrations() -> Migrations<'static> {
    Migrations::new(vec![
        M::up(FIRST),
        M::up(TRIALS),
        M::up(SIGNATURES),
        M::up(REJECTED),
        M::up(USAGE),
        M::up(SECRETS),
        M::up(SCOPES),
    ])
}
