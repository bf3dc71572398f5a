-- How long it took from the arrival of an answer until nothing more could go out to the person: Spark.
-- One row; seconds. The nearest answer before the stop counts. Not for a demo, whose clock is faster than real time.
WITH replied AS (
  SELECT workspace_id, enrollment_id, person_id, recorded_at
  FROM enrollment_events
  WHERE event_type = 'stopped' AND reason = 'replied' AND NOT is_test
),
waits AS (
  SELECT replied.enrollment_id AS enrollment_id, timestampdiff(MILLISECOND, cause.occurred_at, replied.recorded_at) / 1000 AS waited
  FROM replied
  JOIN enrollment_stops AS cause
    ON cause.workspace_id = replied.workspace_id AND cause.enrollment_id = replied.enrollment_id
  WHERE cause.event_type = 'replied' AND cause.scope = 'enrollment' AND cause.occurred_at <= replied.recorded_at
  UNION ALL
  SELECT replied.enrollment_id AS enrollment_id, timestampdiff(MILLISECOND, cause.occurred_at, replied.recorded_at) / 1000 AS waited
  FROM replied
  JOIN enrollment_stops AS cause
    ON cause.workspace_id = replied.workspace_id AND cause.person_id = replied.person_id
  WHERE cause.event_type = 'replied' AND cause.scope = 'person' AND cause.occurred_at <= replied.recorded_at
),
shortest AS (
  SELECT enrollment_id, MIN(waited) AS waited
  FROM waits
  GROUP BY enrollment_id
)
SELECT COUNT(*) AS stops, percentile(waited, 0.5) AS half_within, percentile(waited, 0.99) AS most_within, MAX(waited) AS longest
FROM shortest;
