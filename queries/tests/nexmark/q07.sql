-- q7, highest bid: the bids of the highest price of each ten seconds.
SELECT b.auction, b.price, b.bidder, b.date_time, b.extra
FROM bid b
JOIN (
  SELECT max(price) AS most, window_start, window_end
  FROM TUMBLE(bid, date_time, INTERVAL '10 seconds')
  GROUP BY window_start, window_end
) AS highest
  ON b.price = highest.most AND b.date_time >= highest.window_start AND b.date_time < highest.window_end
