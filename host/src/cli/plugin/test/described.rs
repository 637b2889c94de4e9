//! A plugin bound to the columns and settings of a fixture.

use std::sync::Arc;

use anyhow::Context as _;
use arrow::datatypes::{Schema, SchemaRef};
use serde_json::json;

use super::case::{Case, NODE};
use crate::ids::NodeName;
use crate::plugin::{Component, Grants, Keyed, Limits, Reducer, SinkPlugin, Transform, World};

/// What the plugin makes of them, by its world.
pub enum Described {
    Transform(Transform),
    Reducer(Reducer),
    Keyed(Keyed),
    Sink(SinkPlugin),
}

impl Described {
    /// Lets the plugin describe itself.
    pub fn new(
        component: &Component,
        case: &Case,
        limits: &Limits,
        grants: &Grants,
    ) -> anyhow::Result<Self> {
        let config = match case.setting("config") {
            Some(config) => serde_json::to_value(config)?,
            None => json!({}),
        };
        let name = NodeName::from(NODE);
        let schemas = case.schemas()?;
        let input = &schemas[0];
        Ok(match component.world() {
            World::Transform => {
                let described = Transform::new(component, &name, &config, input, limits, grants);
                Self::Transform(described?)
            }
            World::Reducer => {
                let described = Reducer::new(component, &name, &config, input, limits, grants);
                Self::Reducer(described?)
            }
            World::Keyed => {
                let keys = keys(case, input)?;
                let described =
                    Keyed::new(component, &name, &config, &keys, &schemas, limits, grants);
                Self::Keyed(described?)
            }
            World::Sink => {
                let described = SinkPlugin::new(component, &name, &config, input, limits, grants);
                Self::Sink(described?)
            }
        })
    }
}

/// The columns that `group_by` names, in its order.
fn keys(case: &Case, input: &SchemaRef) -> anyhow::Result<SchemaRef> {
    let names = case.setting("group_by").and_then(toml::Value::as_array);
    let names = names.with_context(|| {
        format!(
            "case `{}` has no `group_by`, the columns of the key",
            case.name
        )
    })?;
    let fields = names.iter().map(|name| {
        let name = name.as_str().unwrap_or_default();
        let field = input.field_with_name(name);
        field.cloned().with_context(|| {
            format!(
                "case `{}` has no column `{name}`, which `group_by` names",
                case.name
            )
        })
    });
    let fields: Vec<_> = fields.collect::<anyhow::Result<_>>()?;
    Ok(Arc::new(Schema::new(fields)))
}
