//! The objects of a snapshot of Python are not counted.
//!
//! Python counts who uses an object in the object itself, so code that only reads writes all over the memory, and every page that an instance writes to is one
//! that the host has to copy. What is "immortal" to Python (PEP 683) it leaves alone: objects whose count has a certain bit. The SDK lists all objects there are when
//! the snapshot is taken (`guest/snapshot.py`), and here they get that bit.

use std::collections::BTreeMap;
use std::ops::Range;

use wasmparser::{DataKind, Operator, Parser, Payload};

/// What stands before the list, in complement: the SDK's code has the text itself.
const MARK: &[u8] = b"wasmill: objects of the snapshot";
/// What CPython 3.14 gives objects that it makes immortal, where addresses have 32 bits.
const IMMORTAL: u32 = 5 << 28;
/// Counts of those that are not.
const COUNTED: Range<u32> = 1..1 << 30;

/// Why the objects stay as they are.
#[derive(Debug, thiserror::Error)]
pub enum Unlisted {
    /// No valid component.
    #[error("the component cannot be read")]
    Broken(#[from] wasmparser::BinaryReaderError),
    /// Nor is there a list.
    #[error("the snapshot does not say where Python's objects are")]
    NoList,
    /// The list is not what it is taken for.
    #[error("the snapshot says that a Python object is at {0:#x}, where none can be")]
    NoObject(u32),
}

/// Makes the objects that a component's snapshot lists immortal, and removes the list: how many they are.
///
/// # Errors
/// When there is no list or it cannot be right; then nothing is changed.
pub fn immortalize(component: &mut [u8]) -> Result<usize, Unlisted> {
    let mark: Vec<u8> = MARK.iter().map(|letter| !letter).collect();
    for memory in memories(component)? {
        let Some(list) = memory.find(component, &mark) else {
            continue;
        };
        let number = |at| memory.number(component, at);
        let addresses = list + mark.len() as u32 + 4;
        let count = number(addresses - 4);
        let objects = (0..count).map(|at| {
            let object = number(addresses + 4 * at);
            match number(object) {
                0 => Err(Unlisted::NoObject(object)),
                count => Ok((object, count)),
            }
        });
        let objects: Vec<(u32, u32)> = objects.collect::<Result<_, _>>()?;
        let counted = objects.iter().filter(|(_, count)| COUNTED.contains(count));
        // A count of which a byte is not in the file stays.
        let places = counted.filter_map(|(object, _)| memory.place(*object, 4));
        let places: Vec<usize> = places.collect();
        for place in &places {
            component[*place..place + 4].copy_from_slice(&IMMORTAL.to_le_bytes());
        }
        for at in list..addresses + 4 * count {
            if let Some(place) = memory.place(at, 1) {
                component[place] = 0;
            }
        }
        return Ok(places.len());
    }
    Err(Unlisted::NoList)
}

/// The memory that a core module begins with: where in the file its pieces are, by address. What is not there is zero.
#[derive(Default)]
struct Memory(BTreeMap<u32, Range<usize>>);

impl Memory {
    /// The address of a text that lies in one piece.
    fn find(&self, file: &[u8], text: &[u8]) -> Option<u32> {
        self.0.iter().find_map(|(address, piece)| {
            let at = memchr::memmem::find(&file[piece.clone()], text)?;
            Some(address + at as u32)
        })
    }

    /// Where so many bytes are, if they lie in one piece.
    fn place(&self, address: u32, length: usize) -> Option<usize> {
        let (start, piece) = self.0.range(..=address).next_back()?;
        let at = piece.start + (address - start) as usize;
        (at + length <= piece.end).then_some(at)
    }

    fn number(&self, file: &[u8], address: u32) -> u32 {
        let byte = |at| {
            self.place(address.wrapping_add(at), 1)
                .map_or(0, |place| file[place])
        };
        u32::from_le_bytes([0, 1, 2, 3].map(byte))
    }
}

/// Of each core module that begins with something.
fn memories(component: &[u8]) -> Result<Vec<Memory>, Unlisted> {
    let mut memories = Vec::new();
    for payload in Parser::new(0).parse_all(component) {
        let Payload::DataSection(section) = payload? else {
            continue;
        };
        let mut memory = Memory::default();
        for data in section {
            let data = data?;
            let DataKind::Active { offset_expr, .. } = data.kind else {
                continue;
            };
            if let Operator::I32Const { value } = offset_expr.get_operators_reader().read()? {
                let end = usize::try_from(data.range.end).expect("it is in memory");
                memory
                    .0
                    .insert(value.cast_unsigned(), end - data.data.len()..end);
            }
        }
        memories.push(memory);
    }
    Ok(memories)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two objects that are counted, in different pieces, one that is not, and one whose count goes beyond its piece.
    fn component(objects: &[u32]) -> Vec<u8> {
        let list: Vec<u8> = MARK.iter().map(|letter| !letter).collect();
        let numbers = [&[objects.len() as u32], objects].concat();
        let list = [
            list,
            numbers
                .iter()
                .flat_map(|number| number.to_le_bytes())
                .collect(),
        ]
        .concat();
        let text: String = list.iter().map(|byte| format!("\\{byte:02x}")).collect();
        let text = format!(
            r#"(component (core module (memory 1) (data (i32.const 0) "unlisted"))
                 (core module (memory 1)
                   (data (i32.const 64) "\07\00\00\00rest\00\00\00\70more")
                   (data (i32.const 96) "\01\02\00\00rest\03")
                   (data (i32.const 128) "{text}")))"#
        );
        wat::parse_str(text).unwrap()
    }

    #[test]
    fn listed_objects_are_not_counted_and_nothing_else_is_touched() {
        let mut component = component(&[64, 72, 96, 104]);
        let before = component.clone();
        assert_eq!(immortalize(&mut component).unwrap(), 2);
        let memory = &memories(&component).unwrap()[1];
        let counts = [64, 72, 96, 104].map(|at| memory.number(&component, at));
        assert_eq!(counts, [IMMORTAL, 0x7000_0000, IMMORTAL, 3]);
        let list = memory.find(&before, &[!b'w']).unwrap();
        for at in 0..200 {
            let place = memory.place(at, 1);
            let is_count = (64..68).contains(&at) || (96..100).contains(&at);
            if let Some(place) = place.filter(|_| !is_count) {
                let kept = if at < list { before[place] } else { 0 };
                assert_eq!(component[place], kept, "{at}");
            }
        }
        assert!(matches!(immortalize(&mut component), Err(Unlisted::NoList)));
    }

    #[test]
    fn a_list_that_cannot_be_right_changes_nothing() {
        let mut component = component(&[64, 1000]);
        let before = component.clone();
        let refused = immortalize(&mut component).unwrap_err();
        assert!(matches!(refused, Unlisted::NoObject(1000)));
        assert_eq!(component, before);
    }
}
