-- q14, calculation: conversion, day or night, and how often c stands in a text (a function of users elsewhere).
SELECT
  auction,
  bidder,
  CAST('0.908' AS DECIMAL(4, 3)) * price AS price,
  CASE
    WHEN extract(hour FROM date_time) BETWEEN 8 AND 18 THEN 'dayTime'
    WHEN extract(hour FROM date_time) <= 6 OR extract(hour FROM date_time) >= 20 THEN 'nightTime'
    ELSE 'otherTime'
  END AS bid_time_type,
  date_time,
  extra,
  length(extra) - length(replace(extra, 'c', '')) AS c_counts
FROM bid
WHERE CAST('0.908' AS DECIMAL(4, 3)) * price > 1000000 AND CAST('0.908' AS DECIMAL(4, 3)) * price < 50000000
