-- Per sequence and stage: to how many people it went out, and how many answered it.
-- An answer belongs to the last stage that had gone out. Runs in every dialect as it stands.
SELECT
  gone_out.sequence_id AS sequence_id,
  gone_out.stage_id AS stage_id,
  COUNT(*) AS people,
  SUM(CASE WHEN gone_out.last_first = 1 AND ends.ended_by = 'replied' THEN 1 ELSE 0 END) AS replies
FROM (
  SELECT
    sequence_id, stage_id, enrollment_id,
    ROW_NUMBER() OVER (PARTITION BY enrollment_id ORDER BY seq DESC) AS last_first
  FROM enrollment_events
  WHERE event_type IN ('stage_sent', 'task_done') AND NOT is_test
) AS gone_out
LEFT JOIN enrollment_ends AS ends ON ends.enrollment_id = gone_out.enrollment_id
GROUP BY gone_out.sequence_id, gone_out.stage_id;
