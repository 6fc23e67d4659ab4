-- q10, log to a file system: bids with the folder, by day and time, into which a Parquet sink would sort them.
SELECT
  auction, bidder, price, date_time, extra,
  to_char(date_time, 'YYYY-MM-DD') AS day, to_char(date_time, 'HH24:MI') AS minute
FROM bid
