-- Per day of enrollment (UTC): everybody, those to whom something went out, those who answered, those who opted out.
-- Runs in every dialect as it stands.
SELECT
  people.enrolled_on AS enrolled_on,
  COUNT(*) AS enrolled,
  SUM(people.reached) AS reached,
  SUM(CASE WHEN ends.ended_by = 'replied' THEN 1 ELSE 0 END) AS replied,
  SUM(CASE WHEN ends.ended_by IN ('unsubscribed', 'complained') THEN 1 ELSE 0 END) AS opted_out
FROM (
  SELECT
    enrollment_id,
    MIN(CASE WHEN event_type = 'enrolled' THEN CAST(occurred_at AS DATE) END) AS enrolled_on,
    MAX(CASE WHEN event_type IN ('stage_sent', 'task_done') THEN 1 ELSE 0 END) AS reached
  FROM enrollment_events
  WHERE NOT is_test AND event_type <> 'refused'
  GROUP BY enrollment_id
) AS people
LEFT JOIN enrollment_ends AS ends ON ends.enrollment_id = people.enrollment_id
GROUP BY people.enrolled_on;
