-- q19, top ten prices of each auction. Time and bidder break ties.
SELECT *, row_number() OVER (PARTITION BY auction ORDER BY price DESC, date_time, bidder) AS rank_number
FROM bid
QUALIFY rank_number <= 10
