//! Options that every source of EVM blocks has.

use alloy_primitives::Address;
use highwater_engine::options::{OptionDoc, OptionError, Options};

use super::verify::Level;

/// The option `factories`.
pub(crate) const FACTORIES: OptionDoc = OptionDoc {
    name: "factories",
    kind: "addresses",
    default: "those of known exchanges",
    doc: "Further factories whose word about the tokens of a pool is taken: its trades are 'verified'.",
    example: "0x5c69bee701ef814a2b6a3edd4b1652cb9cc5aa6f",
};

/// Takes the option `verify`.
pub(crate) fn take_verify(options: &mut Options) -> Result<Option<Level>, OptionError> {
    options.take_choice("verify", &[("off", Level::Off), ("bloom", Level::Bloom), ("roots", Level::Roots)])
}

/// Takes the option `factories`.
pub(crate) fn take_factories(options: &mut Options) -> Result<Vec<[u8; 20]>, OptionError> {
    let factories = options.take_with("factories", "a list of addresses", |text| {
        let words = text.split([',', ' ']).filter(|word| !word.is_empty());
        words.map(|word| word.parse::<Address>().ok().map(Address::into_array)).collect::<Option<Vec<_>>>()
    })?;
    Ok(factories.unwrap_or_default())
}
