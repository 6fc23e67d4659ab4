-- q1, currency conversion: prices in euro, exact because the rate is a decimal.
SELECT auction, bidder, CAST('0.908' AS DECIMAL(4, 3)) * price AS price, date_time, extra FROM bid
