//! The functions that an expression may call: DataFusion's, found by name.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use arrow::datatypes::DataType;
use datafusion_common::config::ConfigOptions;
use datafusion_common::{Result, TableReference, plan_err};
use datafusion_expr::planner::{ContextProvider, ExprPlanner};
use datafusion_expr::{
    AggregateUDF, HigherOrderUDF, ScalarUDF, TableSource, Volatility, WindowUDF,
};
use datafusion_functions::core::planner::CoreFunctionPlanner;
use datafusion_functions::datetime::planner::DatetimeFunctionPlanner;
use datafusion_functions::unicode::planner::UnicodeFunctionPlanner;

/// All functions, and how DataFusion's planner asks for them.
pub struct Functions {
    by_name: BTreeMap<String, Arc<ScalarUDF>>,
    planners: Vec<Arc<dyn ExprPlanner>>,
    options: ConfigOptions,
}

impl Functions {
    /// The one table of them.
    pub fn known() -> &'static Self {
        static KNOWN: OnceLock<Functions> = OnceLock::new();
        KNOWN.get_or_init(|| {
            let mut by_name = BTreeMap::new();
            for function in datafusion_functions::all_default_functions() {
                for alias in function.aliases() {
                    by_name.insert(alias.clone(), function.clone());
                }
                by_name.insert(function.name().to_owned(), function);
            }
            Self {
                by_name,
                planners: vec![
                    Arc::new(CoreFunctionPlanner::default()),
                    Arc::new(DatetimeFunctionPlanner),
                    Arc::new(UnicodeFunctionPlanner),
                ],
                options: ConfigOptions::default(),
            }
        })
    }

    /// Whether there is a function of this name, and if so, whether it gives the same for the same arguments always.
    pub fn is_pure(&self, name: &str) -> Option<bool> {
        let function = self.by_name.get(name)?;
        Some(function.signature().volatility == Volatility::Immutable)
    }

    /// The names of those that may be called.
    pub fn names(&self) -> impl Iterator<Item = &str> + Clone {
        self.by_name
            .iter()
            .filter(|(_, function)| function.signature().volatility == Volatility::Immutable)
            .map(|(name, _)| name.as_str())
    }
}

impl ContextProvider for Functions {
    fn get_table_source(&self, name: TableReference) -> Result<Arc<dyn TableSource>> {
        plan_err!("there is no table `{name}` in an expression")
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        &self.planners
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        self.by_name.get(name).cloned()
    }

    fn get_higher_order_meta(&self, _name: &str) -> Option<Arc<HigherOrderUDF>> {
        None
    }

    fn get_aggregate_meta(&self, _name: &str) -> Option<Arc<AggregateUDF>> {
        None
    }

    fn get_window_meta(&self, _name: &str) -> Option<Arc<WindowUDF>> {
        None
    }

    fn get_variable_type(&self, _names: &[String]) -> Option<DataType> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        &self.options
    }

    fn udf_names(&self) -> Vec<String> {
        self.names().map(str::to_owned).collect()
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        Vec::new()
    }

    fn udaf_names(&self) -> Vec<String> {
        Vec::new()
    }

    fn udwf_names(&self) -> Vec<String> {
        Vec::new()
    }
}
