//! Types nodes that are user code: loads the component, has it describe itself, and says which columns come and go.

use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use toml::Spanned;

use super::{Typed, TypedKind, TypedPort, Typer, only_port};
use crate::aggregate::Aggregate;
use crate::batch::name_of;
use crate::checkpoint::ComponentFile;
use crate::deliver::SinkConfig;
use crate::ids::NodeName;
use crate::pipeline::plan::Input;
use crate::pipeline::prune::Carried;
use crate::pipeline::spec::{NodeSpec, PluginSpec, Settings};
use crate::plugin::{Component, Keyed, Reducer, Transform, World};
use crate::window::WindowSpec;

impl Typer<'_> {
    pub(super) fn component(&mut self, node: &NodeSpec, plugin: &PluginSpec) -> Option<Component> {
        let span = plugin.plugin.span();
        let name = NodeName::from(node.name.get_ref().as_str());
        let found = match self.chosen.get(&name) {
            Some(chosen) => Ok(chosen.clone()),
            None => (self.find)(plugin.plugin.get_ref()),
        };
        let path = self.reported(&span, found)?;
        let engine = self.engine;
        let loaded = self
            .components
            .entry(path.clone())
            .or_insert_with_key(|path| engine.load(path))
            .clone();
        let component = self.reported(&span, loaded)?;
        let digest = component.digest();
        self.of_nodes.insert(name, ComponentFile { path, digest });
        Some(component)
    }

    /// A step with `plugin`, which is of the world that its component is.
    pub(super) fn plugin(
        &self,
        node: &NodeSpec,
        component: &Component,
        inputs: Option<&[Input]>,
        typed: &[Option<Typed>],
    ) -> Option<(Vec<TypedPort>, TypedKind)> {
        let Some(Settings::Plugin {
            plugin,
            group_by,
            window,
            ..
        }) = &node.settings
        else {
            return None;
        };
        match component.world() {
            World::Keyed => {
                self.refuse_foreign(node, World::Keyed);
                self.keyed(node, plugin, group_by, component, inputs?, typed)
            }
            World::Reducer => {
                self.refuse_foreign(node, World::Reducer);
                let (names, window) = (group_by.get_ref(), window.as_ref());
                let input = inputs?.first()?;
                self.reducer(node, plugin, names, window, component, input, typed)
            }
            // That a sink is none, the transform says.
            World::Transform | World::Sink => {
                self.refuse_foreign(node, World::Transform);
                self.transform(node, plugin, component, &inputs?.first()?.schema)
            }
        }
    }

    fn transform(
        &self,
        node: &NodeSpec,
        plugin: &PluginSpec,
        component: &Component,
        input: &SchemaRef,
    ) -> Option<(Vec<TypedPort>, TypedKind)> {
        let transform = Transform::new(
            component,
            &node.name.get_ref().as_str().into(),
            plugin.config.get_ref(),
            input,
            &plugin.limits,
            &plugin.grants,
        );
        let transform = self.reported(&plugin.plugin.span(), transform)?;
        let ports = transform.ports().iter().map(|port| {
            let made = port.columns.fields();
            TypedPort::beside(port.name.clone(), made, input, port.carry)
        });
        Some((ports.collect(), TypedKind::Transform(transform)))
    }

    /// Reports settings that are for plugins of other worlds.
    fn refuse_foreign(&self, node: &NodeSpec, world: World) {
        let Some(Settings::Plugin {
            lifetime,
            group_by,
            every_key,
            window,
            ..
        }) = &node.settings
        else {
            return;
        };
        let group_by = (!group_by.get_ref().is_empty()).then(|| group_by.span());
        let on_error = node.on_error.as_ref().map(Spanned::span);
        let written = [
            (
                "lifetime",
                lifetime.as_ref().map(Spanned::span),
                &[World::Transform][..],
            ),
            ("group_by", group_by, &[World::Reducer, World::Keyed]),
            (
                "every_key",
                every_key.as_ref().map(Spanned::span),
                &[World::Keyed],
            ),
            (
                "window",
                window.as_ref().map(Spanned::span),
                &[World::Reducer],
            ),
            // A reducer takes all rows or none.
            ("on_error", on_error, &[World::Transform, World::Keyed]),
        ];
        for (setting, span, of) in written {
            let Some(span) = span.filter(|_| !of.contains(&world)) else {
                continue;
            };
            let of: Vec<_> = of.iter().map(ToString::to_string).collect();
            let message = format!(
                "`{setting}` is for a {}, and the plugin is a {world}",
                of.join(" or a ")
            );
            self.problems.add(span, message, None);
        }
    }

    fn keyed(
        &self,
        node: &NodeSpec,
        plugin: &PluginSpec,
        group_by: &Spanned<Vec<Spanned<String>>>,
        component: &Component,
        inputs: &[Input],
        typed: &[Option<Typed>],
    ) -> Option<(Vec<TypedPort>, TypedKind)> {
        let names = group_by.get_ref();
        if names.is_empty() {
            let message = format!(
                "step `{}` needs `group_by`, the columns of the key that its plugin works by",
                node.name.get_ref()
            );
            self.problems.add(plugin.plugin.span(), message, None);
            return None;
        }
        let columns = |input: &Input| {
            let columns = names
                .iter()
                .map(|name| self.column(name, input, node, typed));
            columns
                .collect::<Vec<_>>()
                .into_iter()
                .collect::<Option<Vec<_>>>()
        };
        let keys: Vec<_> = inputs.iter().map(columns).collect();
        let keys: Vec<Vec<usize>> = keys.into_iter().collect::<Option<_>>()?;
        let schema = self.key_schema(names, inputs, &keys)?;
        let schemas: Vec<SchemaRef> = inputs.iter().map(|input| input.schema.clone()).collect();
        let keyed = Keyed::new(
            component,
            &node.name.get_ref().as_str().into(),
            plugin.config.get_ref(),
            &schema,
            &schemas,
            &plugin.limits,
            &plugin.grants,
        );
        let keyed = self.reported(&plugin.plugin.span(), keyed)?;
        let ports = keyed.ports().iter().map(|port| {
            let replaced = |field: &Field| port.columns.field_with_name(field.name()).is_ok();
            let carried = schema.fields().iter().zip(&keys[0]);
            let carried = carried.filter(|(field, _)| port.carry && !replaced(field));
            let fields = carried.clone().map(|(field, _)| field.clone());
            let fields = fields.chain(port.columns.fields().iter().cloned());
            TypedPort {
                name: port.name.clone(),
                schema: Arc::new(Schema::new(fields.collect::<Vec<_>>())),
                fixed: 0,
                carried: carried
                    .map(|(_, &column)| Carried { input: 0, column })
                    .collect(),
            }
        });
        Some((ports.collect(), TypedKind::Keyed(keyed, keys)))
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "the parts of one table of the file"
    )]
    fn reducer(
        &self,
        node: &NodeSpec,
        plugin: &PluginSpec,
        group_by: &[Spanned<String>],
        window: Option<&Spanned<WindowSpec>>,
        component: &Component,
        input: &Input,
        typed: &[Option<Typed>],
    ) -> Option<(Vec<TypedPort>, TypedKind)> {
        let keys = group_by
            .iter()
            .map(|name| self.column(name, input, node, typed));
        let keys: Vec<usize> = keys
            .collect::<Vec<_>>()
            .into_iter()
            .collect::<Option<_>>()?;
        let key_schema = self.key_schema(
            group_by,
            std::slice::from_ref(input),
            std::slice::from_ref(&keys),
        )?;
        // The plugin reduces what is not the key.
        let others: Vec<usize> = (0..input.schema.fields().len())
            .filter(|column| !keys.contains(column))
            .collect();
        let values = Arc::new(input.schema.project(&others).ok()?);
        let reducer = Reducer::new(
            component,
            &node.name.get_ref().as_str().into(),
            plugin.config.get_ref(),
            &values,
            &plugin.limits,
            &plugin.grants,
        );
        let reducer = self.reported(&plugin.plugin.span(), reducer)?;
        let reduced = reducer
            .columns()
            .iter()
            .map(|column| others[*column])
            .collect();
        let fields = key_schema.fields().iter().chain(reducer.result().fields());
        let mut schema = Arc::new(Schema::new(fields.cloned().collect::<Vec<_>>()));
        if let Some(window) = window {
            schema = self.with_bounds(window.span(), &schema)?;
        }
        let window = window.map(|window| *window.get_ref());
        let kind = TypedKind::Reduce(reducer, [keys, reduced], window);
        Some((vec![only_port(schema)], kind))
    }

    /// The columns of a key that all inputs have, each of one type.
    fn key_schema(
        &self,
        names: &[Spanned<String>],
        inputs: &[Input],
        keys: &[Vec<usize>],
    ) -> Option<SchemaRef> {
        let mut fields = Vec::new();
        for (place, name) in names.iter().enumerate() {
            let of_inputs = inputs.iter().zip(keys);
            let mut of_inputs = of_inputs.map(|(input, keys)| input.schema.field(keys[place]));
            let first = of_inputs.next()?;
            let alone = Aggregate {
                keys: vec![keys[0][place]],
                measures: Vec::new(),
            };
            if let Err(reason) = alone.output_schema(&inputs[0].schema) {
                self.problems.add(name.span(), reason, None);
                return None;
            }
            if let Some(other) = of_inputs.find(|other| other.data_type() != first.data_type()) {
                let message = format!(
                    "`{}` is {} in one input and {} in another",
                    name.get_ref(),
                    name_of(first),
                    name_of(other)
                );
                self.problems.add(name.span(), message, None);
                return None;
            }
            let mut of_inputs = inputs.iter().zip(keys);
            let nullable =
                of_inputs.any(|(input, keys)| input.schema.field(keys[place]).is_nullable());
            fields.push(first.clone().with_nullable(nullable));
        }
        Some(Arc::new(Schema::new(fields)))
    }

    pub(super) fn sink_plugin(
        &self,
        node: &NodeSpec,
        plugin: &PluginSpec,
        retries: u32,
        component: &Component,
        input: &SchemaRef,
    ) -> Option<SinkConfig> {
        let sink = SinkConfig::plugin(
            component,
            &node.name.get_ref().as_str().into(),
            plugin.config.get_ref(),
            input,
            &plugin.limits,
            &plugin.grants,
            retries,
        );
        self.reported(&plugin.plugin.span(), sink)
    }
}
