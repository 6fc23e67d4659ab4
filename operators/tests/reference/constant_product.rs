//! A constant product pool as Uniswap V2 describes it.

/// What the pool gives for `amount` of coin `sold`, with numbers that fit 128 bits.
pub(crate) fn amount_out(reserves: (u128, u128), sold: i64, amount: u128, fee_pips: u128) -> u128 {
    let (into, from) = if sold == 0 { reserves } else { (reserves.1, reserves.0) };
    let kept = amount * (1_000_000 - fee_pips);
    kept * from / (into * 1_000_000 + kept)
}

/// The reserves after a trade.
pub(crate) fn after(reserves: (u128, u128), sold: i64, amount: u128, out: u128) -> (u128, u128) {
    if sold == 0 { (reserves.0 + amount, reserves.1 - out) } else { (reserves.0 - out, reserves.1 + amount) }
}

/// What each trade `(coin sold, amount)` gets, one after the other.
pub(crate) fn outs(mut reserves: (u128, u128), trades: &[(i64, u128)], fee_pips: u128) -> Vec<u128> {
    let mut outs = Vec::new();
    for (sold, amount) in trades {
        let out = amount_out(reserves, *sold, *amount, fee_pips);
        reserves = after(reserves, *sold, *amount, out);
        outs.push(out);
    }
    outs
}
