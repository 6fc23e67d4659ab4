-- q5, hot items: in each ten seconds, every two, the auctions with the most bids.
WITH counted AS (
  SELECT auction, count(*) AS num, window_start, window_end
  FROM HOP(bid, date_time, INTERVAL '2 seconds', INTERVAL '10 seconds')
  GROUP BY auction, window_start, window_end
)
SELECT counted.auction, counted.num, counted.window_start, counted.window_end
FROM counted
JOIN (SELECT max(num) AS most, window_start, window_end FROM counted GROUP BY window_start, window_end) AS greatest
  ON counted.window_start = greatest.window_start
  AND counted.window_end = greatest.window_end
  AND counted.num >= greatest.most
