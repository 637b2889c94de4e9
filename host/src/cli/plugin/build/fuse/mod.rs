//! One core module out of the many that a component instantiates.
//!
//! A component of componentize-py holds some forty: the libraries of Python, linked as shared objects are, and one that stands in for each
//! interface of WASI. Every instance of the component makes an instance of each of them, and fills the one table that they share with
//! five thousand functions, as nobody can know before where another module's are. In one module the compiler knows: tables are ready,
//! calls go straight, and addresses are constants.
//!
//! What comes out does what went in does, and says the same of itself: only how the component's inside is cut differs.

mod graph;
mod link;
mod rewrite;

use graph::Graph;

/// The component with its core modules in one, but for those that can only be instantiated after it: what fills in the functions that
/// the host gives, for which it needs the memory.
///
/// # Errors
/// A component that is broken, or of a shape that this does not know: [`Unfit`].
pub fn fuse(component: &[u8]) -> Result<Vec<u8>, Unfit> {
    wasmparser::Validator::new().validate_all(component)?;
    rewrite::rewrite(&Graph::read(component)?)
}

/// Why modules cannot be made one.
#[derive(Debug, thiserror::Error)]
pub enum Unfit {
    /// What there is in the component that is not known here.
    #[error("the component's core modules cannot be made one: {0}")]
    Shape(&'static str),
    /// No valid component.
    #[error("the component cannot be read")]
    Broken(#[from] wasmparser::BinaryReaderError),
    /// Something in it that cannot be written again.
    #[error("the component cannot be written again: {0}")]
    Written(String),
}

impl From<wasm_encoder::reencode::Error<Unfit>> for Unfit {
    fn from(error: wasm_encoder::reencode::Error<Unfit>) -> Unfit {
        match error {
            wasm_encoder::reencode::Error::UserError(unfit) => unfit,
            wasm_encoder::reencode::Error::ParseError(broken) => Unfit::Broken(broken),
            other => Unfit::Written(other.to_string()),
        }
    }
}

/// What modules give each other. Tags are not known here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Func,
    Table,
    Memory,
    Global,
}

impl TryFrom<wasmparser::ExternalKind> for Kind {
    type Error = Unfit;

    fn try_from(kind: wasmparser::ExternalKind) -> Result<Kind, Unfit> {
        match kind {
            wasmparser::ExternalKind::Func => Ok(Kind::Func),
            wasmparser::ExternalKind::Table => Ok(Kind::Table),
            wasmparser::ExternalKind::Memory => Ok(Kind::Memory),
            wasmparser::ExternalKind::Global => Ok(Kind::Global),
            _ => Err(Unfit::Shape("a module exports a tag")),
        }
    }
}

impl From<Kind> for wasm_encoder::ExportKind {
    fn from(kind: Kind) -> wasm_encoder::ExportKind {
        match kind {
            Kind::Func => wasm_encoder::ExportKind::Func,
            Kind::Table => wasm_encoder::ExportKind::Table,
            Kind::Memory => wasm_encoder::ExportKind::Memory,
            Kind::Global => wasm_encoder::ExportKind::Global,
        }
    }
}

/// One of each kind.
#[derive(Clone, Debug, Default)]
struct Each<T>([T; 4]);

impl<T> std::ops::Index<Kind> for Each<T> {
    type Output = T;

    fn index(&self, kind: Kind) -> &T {
        &self.0[kind as usize]
    }
}

impl<T> std::ops::IndexMut<Kind> for Each<T> {
    fn index_mut(&mut self, kind: Kind) -> &mut T {
        &mut self.0[kind as usize]
    }
}

#[cfg(test)]
mod tests;
