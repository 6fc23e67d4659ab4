-- q12, windows of processing time. A view is a function of its tables' rows, and when a row arrived is not among them
-- (a replay would give other rows): the windows are of the bids' own time instead.
SELECT bidder, count(*) AS bid_count, window_start AS starttime, window_end AS endtime
FROM TUMBLE(bid, date_time, INTERVAL '10 seconds')
GROUP BY bidder, window_start, window_end
