-- q0, pass through: every bid as it came.
SELECT auction, bidder, price, date_time, extra FROM bid
