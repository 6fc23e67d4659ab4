//! Known addresses of chains: those that are never an attacker.
//!
//! A seed, to be extended by a job. An address stands here only if its owner publishes it; those of Ethereum
//! that occur in real blocks were also seen there, called by many senders with nothing else in common.

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::Address as HexAddress;
use highwater_engine::model::chain_profile::ChainProfile;

use super::{Address, Label, MevSettings};

/// A known address.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// Chain, or `None` where it is the same on every chain (deployed with one key or salt).
    pub chain_id: Option<u64>,
    /// The address with its checksum.
    pub address: &'static str,
    /// Name for people.
    pub name: &'static str,
    /// As in [`Label::kind`].
    pub kind: &'static str,
}

const fn everywhere(address: &'static str, name: &'static str, kind: &'static str) -> Known {
    Known { chain_id: None, address, name, kind }
}

const fn on(chain_id: u64, address: &'static str, name: &'static str, kind: &'static str) -> Known {
    Known { chain_id: Some(chain_id), address, name, kind }
}

/// The seed of the table of labels.
pub const KNOWN: &[Known] = &[
    everywhere("0x000000000022D473030F116dDEE9F6B43aC78BA3", "Permit2", "infrastructure"),
    everywhere("0xcA11bde05977b3631167028862bE2a173976CA11", "Multicall3", "infrastructure"),
    everywhere("0x5FF137D4b0FDCD49DcA30c7CF57E578a026d2789", "EntryPoint 0.6", "infrastructure"),
    everywhere("0x0000000071727De22E5E9d8BAf0edAc6f37da032", "EntryPoint 0.7", "infrastructure"),
    everywhere("0x1111111254fb6c44bAC0beD2854e76F90643097d", "1inch router 4", "aggregator"),
    everywhere("0x1111111254EEB25477B68fb85Ed929f73A960582", "1inch router 5", "aggregator"),
    everywhere("0x111111125421cA6dc452d289314280a0f8842A65", "1inch router 6", "aggregator"),
    everywhere("0xDef1C0ded9bec7F1a1670819833240f027b25EfF", "0x exchange proxy", "aggregator"),
    everywhere("0x0000000000001fF3684f28c67538d4D072C22734", "0x allowance holder", "aggregator"),
    everywhere("0xDEF171Fe48CF0115B1d80b88dc8eAB59176FEe57", "ParaSwap 5", "aggregator"),
    everywhere("0x6A000F20005980200259B80c5102003040001068", "ParaSwap 6", "aggregator"),
    everywhere("0x6131B5fae19EA4f9D964eAc0408E4408b66337b5", "KyberSwap meta router", "aggregator"),
    everywhere("0x1231DEB6f5749EF6cE6943a275A1D3E7486F4EaE", "LI.FI diamond", "aggregator"),
    everywhere("0x9008D19f58AAbD9eD0D60971565AA8510560ab41", "CoW settlement", "settlement"),
    on(1, "0x7a250d5630B4cF539739dF2C5dAcb4c659F2488D", "Uniswap V2 router", "router"),
    on(1, "0xf164fC0Ec4E93095b804a4795bBe1e041497b92a", "Uniswap V2 router 1", "router"),
    on(1, "0xE592427A0AEce92De3Edee1F18E0157C05861564", "Uniswap V3 router", "router"),
    on(1, "0x68b3465833fb72A70ecDF485E0e4C7bD8665Fc45", "Uniswap V3 router 2", "router"),
    on(1, "0xEf1c6E67703c7BD7107eed8303Fbe6EC2554BF6B", "Uniswap universal router 1", "router"),
    on(1, "0x3fC91A3afd70395Cd496C647d5a6CC9D4B2b7FAD", "Uniswap universal router 1.2", "router"),
    on(1, "0x66a9893cC07D91D95644AEDD05D03f95e1dBA8Af", "Uniswap universal router 2", "router"),
    on(1, "0xd9e1cE17f2641f24aE83637ab66a2cca9C378B9F", "SushiSwap router", "router"),
    on(1, "0x03f7724180AA6b939894B5Ca4314783B0b36b329", "ShibaSwap router", "router"),
    on(1, "0x80a64c6D7f12C47B7c66c5B4E20E72bc1FCd5d9e", "Maestro router 2", "router"),
    on(1, "0x3328F7f4A1D1C57c35df56bBf0c9dCAFCA309C49", "Banana Gun router 2", "router"),
    on(1, "0x881D40237659C251811CEC9c364ef91dC08D300C", "MetaMask swap router", "aggregator"),
    on(1, "0x11111112542D85B3EF69AE05771c2dCCff4fAa26", "1inch router 3", "aggregator"),
    on(1, "0x111111125434b319222CdBf8C261674aDB56F3ae", "1inch router 2", "aggregator"),
    on(1, "0xCf5540fFFCdC3d510B18bFcA6d2b9987b0772559", "Odos router 2", "aggregator"),
    on(1, "0x6000da47483062A0D734Ba3dc7576Ce6A0B645C4", "UniswapX reactor", "settlement"),
    on(1, "0x00000011F84B9aa48e5f8aA8B9897600006289Be", "UniswapX reactor 2", "settlement"),
    on(1, "0x28C6c06298d514Db089934071355E5743bf21d60", "Binance hot wallet", "exchange"),
    on(1, "0xA9D1e08C7793af67e9d92fe308d5697FB81d3E43", "Coinbase hot wallet", "exchange"),
    on(1, "0x1b81D678ffb9C0263b24A97847620C99d213eB14", "PancakeSwap V3 router", "router"),
    on(1, "0x13f4EA83D0bd40E75C8222255bc855a974568Dd4", "PancakeSwap smart router", "router"),
    on(1, "0x7D0CcAa3Fac1e5A943c5168b6CEd828691b46B36", "OKX router", "aggregator"),
    on(1, "0xF3dE3C0d654FDa23daD170f0f320a92172509127", "OKX aggregator", "aggregator"),
    on(1, "0x21a31Ee1afC51d94C2eFcCAa2092aD1028285549", "Binance hot wallet 2", "exchange"),
    on(1, "0xDFd5293D8e347dFe59E90eFd55b2956a1343963d", "Binance hot wallet 3", "exchange"),
    on(10, "0xCb1355ff08Ab38bBCE60111F1bb2B784bE25D7e8", "Uniswap universal router 1.2", "router"),
    on(10, "0x851116D9223fabED8E56C0E6b8Ad0c31d98B3507", "Uniswap universal router 2", "router"),
    on(42161, "0x5E325eDA8064b456f4781070C0738d849c824258", "Uniswap universal router 1.2", "router"),
    on(42161, "0xA51afAFe0263b40EdaEf0Df8781eA9aa03E381a3", "Uniswap universal router 2", "router"),
    on(137, "0xec7BE89e9d109e7e3Fec59c222CF297125FEFda2", "Uniswap universal router 1.2", "router"),
    on(8453, "0x3fC91A3afd70395Cd496C647d5a6CC9D4B2b7FAD", "Uniswap universal router 1.2", "router"),
    on(8453, "0x6fF5693b99212Da76ad316178A184AB56D299b43", "Uniswap universal router 2", "router"),
    on(8453, "0x19cEeAd7105607Cd444F5ad10dd51356436095a1", "Odos router 2", "aggregator"),
    on(42161, "0xa669e7A0d4b3e4Fa48af2dE86BD4CD7126Be4e13", "Odos router 2", "aggregator"),
    on(56, "0x13f4EA83D0bd40E75C8222255bc855a974568Dd4", "PancakeSwap smart router", "router"),
    on(56, "0x1b81D678ffb9C0263b24A97847620C99d213eB14", "PancakeSwap V3 router", "router"),
    on(56, "0x4Dae2f939ACf50408e13d58534Ff8c2776d45265", "Uniswap universal router 1.2", "router"),
    on(56, "0x1906c1d672b88cD1B9aC7593301cA990F94Eae07", "Uniswap universal router 2", "router"),
    on(10, "0xE592427A0AEce92De3Edee1F18E0157C05861564", "Uniswap V3 router", "router"),
    on(10, "0x68b3465833fb72A70ecDF485E0e4C7bD8665Fc45", "Uniswap V3 router 2", "router"),
    on(42161, "0xE592427A0AEce92De3Edee1F18E0157C05861564", "Uniswap V3 router", "router"),
    on(42161, "0x68b3465833fb72A70ecDF485E0e4C7bD8665Fc45", "Uniswap V3 router 2", "router"),
    on(137, "0xE592427A0AEce92De3Edee1F18E0157C05861564", "Uniswap V3 router", "router"),
    on(137, "0x68b3465833fb72A70ecDF485E0e4C7bD8665Fc45", "Uniswap V3 router 2", "router"),
    on(137, "0xa5E0829CaCEd8fFDD4De3c43696c57F7D7A678ff", "QuickSwap router", "router"),
    on(8453, "0x2626664c2603336E57B271c5C0b26F421741e481", "Uniswap V3 router 2", "router"),
    on(8453, "0xcF77a3Ba9A5CA399B7c97c74d54e5b1Beb874E43", "Aerodrome router", "router"),
    on(56, "0x10ED43C718714eb63d5aA57B78B54704E256024E", "PancakeSwap router", "router"),
];

/// What is known of a chain from the start.
pub fn settings(chain_id: u64) -> MevSettings {
    let here = KNOWN.iter().filter(|known| known.chain_id.is_none_or(|chain| chain == chain_id));
    let label = |known: &Known| Label { name: known.name.to_owned(), kind: known.kind.to_owned() };
    let profile = ChainProfile::of(chain_id);
    let stablecoins = profile.map_or(&[][..], |profile| profile.stablecoins);
    MevSettings {
        labels: here.map(|known| (parse(known.address), label(known))).collect::<BTreeMap<_, _>>(),
        wrapped_native: profile.and_then(|profile| profile.wrapped_native).into_iter().collect::<BTreeSet<_>>(),
        stablecoins: stablecoins
            .iter()
            .map(|coin| (coin.address, u32::from(coin.decimals)))
            .collect::<BTreeMap<_, _>>(),
        ..MevSettings::default()
    }
}

fn parse(address: &str) -> Address {
    HexAddress::parse_checksummed(address, None).expect("a test reads every address of the lists").into_array()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_has_its_checksum() {
        let lists = KNOWN.iter().map(|known| known.address);
        let wrong: Vec<_> = lists.filter(|address| HexAddress::parse_checksummed(address, None).is_err()).collect();
        assert!(wrong.is_empty(), "{wrong:?}");
    }

    #[test]
    fn a_chain_has_its_own_addresses() {
        let ethereum = settings(1);
        assert!(ethereum.is_public(&parse("0x7a250d5630B4cF539739dF2C5dAcb4c659F2488D")));
        assert!(!settings(10).is_public(&parse("0x7a250d5630B4cF539739dF2C5dAcb4c659F2488D")));
        assert_eq!((ethereum.wrapped_native.len(), ethereum.stablecoins.len()), (1, 3));
        assert!(settings(31337).is_public(&parse("0x000000000022D473030F116dDEE9F6B43aC78BA3")));
    }
}
