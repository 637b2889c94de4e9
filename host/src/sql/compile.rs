//! From a parsed expression to one that can be evaluated: DataFusion types and simplifies it, then arithmetic is made
//! checked and the result is made a type of the data plane.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema};
use datafusion_common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion_common::{DFSchema, DataFusionError, ScalarValue};
use datafusion_expr::execution_props::ExecutionProps;
use datafusion_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion_expr::simplify::SimplifyContext;
use datafusion_expr::{Expr, Operator};
use datafusion_optimizer::simplify_expressions::ExprSimplifier;
use datafusion_physical_expr::expressions::{BinaryExpr, Column, Literal, NegativeExpr, cast};
use datafusion_physical_expr::{PhysicalExpr, create_physical_expr};
use datafusion_sql::planner::{ParserOptions, PlannerContext, SqlToRel};
use datafusion_sql::sqlparser::ast::Expr as Parsed;

use super::functions::Functions;
use super::names::schema_with_time;
use crate::batch::ColumnType;

/// An expression ready to run.
pub struct Compiled {
    /// What is evaluated.
    pub physical: Arc<dyn PhysicalExpr>,
    /// What it gives, without a name.
    pub field: Field,
}

/// Compiles an expression whose names are known to be right.
pub fn compile(parsed: Parsed, input: &Schema) -> Result<Compiled, String> {
    let schema = Arc::new(without_metadata(&schema_with_time(input)));
    let physical = plan(parsed, &schema).map_err(|error| refused(&error))?;
    let physical = fitted(physical, &schema)?;
    // What is wrong without any row, such as a division of constants, is better said now than by every row.
    let nothing = RecordBatch::new_empty(schema.clone());
    let tried = physical.evaluate(&nothing);
    tried.map_err(|error| refused(&error))?;
    let field = field(&physical, &schema, input).map_err(|error| refused(&error))?;
    Ok(Compiled { physical, field })
}

/// To DataFusion a json column is the text it is.
fn without_metadata(schema: &Schema) -> Schema {
    let fields = schema.fields().iter();
    let plain = fields.map(|field| field.as_ref().clone().with_metadata(Default::default()));
    Schema::new(plain.collect::<Vec<_>>())
}

fn plan(parsed: Parsed, schema: &Arc<Schema>) -> Result<Arc<dyn PhysicalExpr>, DataFusionError> {
    let schema = Arc::new(DFSchema::try_from(schema.clone())?);
    let options = ParserOptions::new()
        .with_enable_ident_normalization(false)
        .with_map_string_types_to_utf8view(false);
    let planner = SqlToRel::new_with_options(Functions::known(), options);
    let expression = planner.sql_to_expr(parsed, &schema, &mut PlannerContext::new())?;
    let context = SimplifyContext::builder().with_schema(schema.clone());
    let simplifier = ExprSimplifier::new(context.build());
    let expression = simplifier.coerce(expression, &schema)?;
    let expression: Expr = simplifier.simplify(expression)?;
    let physical = create_physical_expr(
        &expression,
        &schema,
        &ExecutionProps::new(),
        &PhysicalPlanningContext::default(),
    )?;
    physical.transform_up(|part| checked(part, &schema)).data()
}

/// Arithmetic of integers that wraps around gives wrong numbers in silence: it fails here.
fn checked(
    part: Arc<dyn PhysicalExpr>,
    schema: &DFSchema,
) -> Result<Transformed<Arc<dyn PhysicalExpr>>, DataFusionError> {
    if let Some(binary) = part.downcast_ref::<BinaryExpr>() {
        let checked = binary.clone().with_fail_on_overflow(true);
        return Ok(Transformed::yes(Arc::new(checked)));
    }
    if let Some(negative) = part.downcast_ref::<NegativeExpr>()
        && part.data_type(schema.as_arrow())? == DataType::Int64
    {
        let zero = Arc::new(Literal::new(ScalarValue::Int64(Some(0))));
        let minus = BinaryExpr::new(zero, Operator::Minus, negative.arg().clone());
        return Ok(Transformed::yes(Arc::new(
            minus.with_fail_on_overflow(true),
        )));
    }
    Ok(Transformed::no(part))
}

/// Casts what is not a type of the data plane to the one that holds it.
fn fitted(
    physical: Arc<dyn PhysicalExpr>,
    schema: &Schema,
) -> Result<Arc<dyn PhysicalExpr>, String> {
    let data_type = physical
        .data_type(schema)
        .map_err(|error| refused(&error))?;
    if physical.is::<Column>() {
        return Ok(physical);
    }
    let host = match &data_type {
        DataType::UInt64 => Some(ColumnType::Int64),
        DataType::Timestamp(..) => Some(ColumnType::Timestamp),
        other => ColumnType::of(&Field::new("", other.clone(), true)),
    };
    match host.map(ColumnType::data_type) {
        Some(host) if host == data_type => Ok(physical),
        Some(host) => cast(physical, schema, host).map_err(|error| refused(&error)),
        None => Err(format!(
            "the expression gives {data_type}, which no column can hold; cast it to what one can: CAST(... AS BIGINT)"
        )),
    }
}

/// A column keeps what its field says beyond its type (that it holds json); anything else is what it computes.
fn field(
    physical: &Arc<dyn PhysicalExpr>,
    schema: &Schema,
    input: &Schema,
) -> Result<Field, DataFusionError> {
    let column = physical.downcast_ref::<Column>();
    match column.and_then(|column| input.fields().get(column.index())) {
        Some(field) => Ok(field.as_ref().clone()),
        None => Ok(Field::new(
            "",
            physical.data_type(schema)?,
            physical.nullable(schema)?,
        )),
    }
}

/// What is said of an expression that DataFusion has no way to compute.
fn refused(error: &DataFusionError) -> String {
    format!("this cannot be computed: {}", in_words(error))
}

/// An error of DataFusion or Arrow without the words that say whose it is.
pub fn in_words(error: &DataFusionError) -> String {
    let message = match error.find_root() {
        DataFusionError::ArrowError(error, _) => error.to_string(),
        other => other.message().into_owned(),
    };
    let line = message.lines().next().unwrap_or_default();
    let mut letters = line.trim_end_matches('.').chars();
    let first = letters.next().into_iter().flat_map(char::to_lowercase);
    first.chain(letters).collect()
}
