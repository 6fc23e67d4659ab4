//! Which tokens were lent and seized, from the transfers of the same transaction.

use super::identity::{Identities, Way};
use super::rows::{FlashLoan, Liquidation};

/// Finds the token of each loan among what the lender sent.
pub(super) fn name_loans(loans: &mut [FlashLoan], identities: &mut Identities) {
    for loan in loans.iter_mut().filter(|loan| loan.token.is_none()) {
        loan.token = identities.take(&loan.lender, Way::Out, &loan.amount, loan.at.log);
    }
}

/// Finds the tokens of liquidations that do not tell them, among what the market got and gave.
pub(super) fn name_liquidations(liquidations: &mut [Liquidation], identities: &mut Identities) {
    for liquidation in liquidations.iter_mut().filter(|liquidation| liquidation.is_paid) {
        let (market, at) = (&liquidation.market, liquidation.at.log);
        if let (None, Some(amount)) = (liquidation.debt_token, &liquidation.debt_repaid) {
            liquidation.debt_token = identities.take(market, Way::In, amount, at);
        }
        if let (None, Some(amount)) = (liquidation.collateral_token, &liquidation.collateral_seized) {
            liquidation.collateral_token = identities.take(market, Way::Out, amount, at);
        }
    }
}
