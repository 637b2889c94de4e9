//! What the pipelines of a tenant may use and know: as its supervisor says it, and as the runs of a runner share it.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::plugin::{Engine, HostPort};
use crate::run::intake::Intake;
use crate::run::kept::StatePool;
use crate::secret::{Hidden, SecretSource, Secrets};
use crate::throttle::{Throttle, Verdict};

/// Limits of all pipelines of a tenant together. What is not set is all there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quotas {
    /// Thousandths of a processor that plugins may have.
    pub millicores: Option<u32>,
    /// Bytes of linear memory that plugins may have.
    pub memory: Option<u64>,
    /// Bytes that steps may remember.
    pub state: Option<u64>,
    /// Rows that sources may take in within a second.
    pub rows_per_second: Option<u32>,
    /// Lines that may be said within a second.
    pub log_lines_per_second: Option<u32>,
}

/// What a tenant's pipelines are run with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// What they may use.
    pub quotas: Quotas,
    /// Hosts, `host` or `host:port`, whose addresses may be private.
    pub private_hosts: Vec<String>,
    /// What their plugins' settings may name; counts for runs that start from then on.
    pub secrets: Secrets,
    /// Where their things lie, the longest path first: what they say has paths without it.
    pub folders: Vec<String>,
}

/// What the runs of a runner share; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Allowance {
    /// Rows.
    pub intake: Arc<Intake>,
    /// State.
    pub state: Arc<StatePool>,
    /// Log lines.
    pub lines: Arc<Lines>,
    /// What none of them may say.
    hidden: Arc<RwLock<Hidden>>,
    folders: Arc<RwLock<Vec<String>>>,
    /// Those that they are held to.
    quotas: Arc<Mutex<Quotas>>,
}

impl Allowance {
    /// Holds them to these terms from now on, and with them the plugins of an engine.
    pub fn set(&self, terms: Terms, engine: Option<&Engine>) {
        let Terms {
            quotas,
            private_hosts,
            secrets,
            folders,
        } = terms;
        *self.folders.write().unwrap_or_else(PoisonError::into_inner) = folders;
        let hidden = self.hidden.write();
        hidden.unwrap_or_else(PoisonError::into_inner).add(&secrets);
        if let Some(engine) = engine {
            let hosts = private_hosts
                .iter()
                .filter_map(|host| HostPort::parse(host));
            engine.reach().confine(hosts.collect());
            engine.use_secrets(SecretSource::Given(secrets));
        }
        let before = self.quotas.lock();
        let mut before = before.unwrap_or_else(PoisonError::into_inner);
        // Set anew they begin anew, and a tenant that changes a secret again and again would have more than it may.
        if std::mem::replace(&mut *before, quotas) != quotas {
            self.hold(quotas, engine);
        }
    }

    fn hold(&self, quotas: Quotas, engine: Option<&Engine>) {
        if let Some(engine) = engine {
            engine.quota().set(quotas.millicores);
            engine.memory().set(quotas.memory);
        }
        self.intake.set(quotas.rows_per_second);
        self.state.set(quotas.state);
        self.lines.set(quotas.log_lines_per_second);
    }

    /// A text without secrets, and with paths as the tenant writes them.
    pub fn hide<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let hidden = self.hidden.read();
        let mut text = hidden.unwrap_or_else(PoisonError::into_inner).hide(text);
        let folders = self.folders.read();
        for folder in &*folders.unwrap_or_else(PoisonError::into_inner) {
            if text.contains(folder) {
                text = Cow::Owned(text.replace(folder, ""));
            }
        }
        text
    }
}

/// Lines that the runs of a runner may say together; any number unless a limit is set.
#[derive(Debug, Default)]
pub struct Lines(Mutex<Option<Throttle>>);

impl Lines {
    /// Lets so many through in a second from now on.
    pub fn set(&self, most: Option<u32>) {
        let throttle = most.map(|most| Throttle::new(most, Instant::now()));
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = throttle;
    }

    /// One more line of any run.
    pub fn admit(&self, now: Instant) -> Verdict {
        let mut throttle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *throttle {
            Some(throttle) => throttle.admit(now),
            None => Verdict {
                passes: true,
                lost: 0,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_terms_with_the_same_quotas_do_not_begin_them_anew() {
        let allowance = Allowance::default();
        let terms = |hosts: &[&str]| Terms {
            quotas: Quotas {
                log_lines_per_second: Some(1),
                ..Quotas::default()
            },
            private_hosts: hosts.iter().map(ToString::to_string).collect(),
            ..Terms::default()
        };
        allowance.set(terms(&[]), None);
        let now = Instant::now();
        assert!(allowance.lines.admit(now).passes);
        allowance.set(terms(&["a.example"]), None);
        assert!(!allowance.lines.admit(now).passes);
        allowance.set(Terms::default(), None);
        assert!(allowance.lines.admit(now).passes);
    }
}
