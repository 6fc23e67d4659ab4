-- q18, last bid: the latest of each person on each auction. Price and channel break ties.
SELECT auction, bidder, price, channel, url, date_time, extra
FROM bid
QUALIFY row_number() OVER (PARTITION BY bidder, auction ORDER BY date_time DESC, price DESC, channel) = 1
