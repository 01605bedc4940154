-- For the reader of the plan.
  -- Indented as well.
SELECT 1 -- the rest of a line stays
WHERE note <> '--';

