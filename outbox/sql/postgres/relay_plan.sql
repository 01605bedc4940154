-- Runs first in each transaction of a relay's hot statements. Their plans are
-- cached, and may be made while the table is empty or its statistics are old. Then
-- reading the table looks cheap, and goes on when it has grown, until the
-- next ANALYZE. Every hot statement has its index; compiling it never pays.
SELECT set_config('enable_seqscan', 'off', true), set_config('jit', 'off', true)
