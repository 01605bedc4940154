package sqltext

import "strings"

func set(words string) map[string]bool {
	m := make(map[string]bool)
	for w := range strings.FieldsSeq(words) {
		m[w] = true
	}
	return m
}

var (
	// sessionStatements of PostgreSQL leave something behind in the session, or
	// in what is left of the transaction.
	sessionStatements = set(`SET RESET LISTEN UNLISTEN DISCARD LOAD DECLARE PREPARE DEALLOCATE`)

	// startsInBlock are words of PL/pgSQL behind which a statement begins.
	startsInBlock = set(`BEGIN THEN ELSE LOOP`)

	// plainStatements of PostgreSQL change nothing but tables, unless they call
	// something that does.
	plainStatements = set(`SELECT INSERT UPDATE DELETE MERGE WITH VALUES TABLE SAVEPOINT RELEASE ROLLBACK LOCK NOTIFY TRUNCATE SHOW`)

	// readingPragmas of SQLite take an argument and set nothing.
	readingPragmas = set(`table_info table_xinfo table_list index_info index_list index_xinfo foreign_key_list
		foreign_key_check integrity_check quick_check`)

	// namesTable are words after which a name with a parenthesis is that of a
	// table, with its columns.
	namesTable = set(`INTO AS WITH RECURSIVE`)

	// notCalled stand before a parenthesis and are no functions: keywords and
	// types.
	notCalled = set(`select insert update delete from where having and or not in any all some exists values on conflict as using over
		filter group within by order limit offset fetch partition rows range set when then else case end returning with recursive
		materialized into is like ilike between distinct union except intersect join lateral if is null key primary unique check
		references default generated always row array cast interval only rollup cube sets grouping exclude include to collate
		varchar char character bpchar nchar varying numeric decimal dec bit time timestamp timestamptz timetz float int integer text
		precision real double smallint bigint boolean nvarchar clob blob`)

	// pureFunctions come with the database and change no session.
	pureFunctions = set(`
		count sum avg min max coalesce nullif greatest least now clock_timestamp statement_timestamp transaction_timestamp timeofday
		lower upper initcap length char_length character_length octet_length bit_length substring substr position strpos overlay trim
		ltrim rtrim btrim lpad rpad left right concat concat_ws format replace translate reverse repeat split_part regexp_replace
		regexp_match regexp_matches regexp_split_to_array regexp_split_to_table string_to_array string_to_table array_to_string starts_with
		ascii chr md5 sha224 sha256 sha384 sha512 digest encode decode convert_from convert_to quote_ident quote_literal quote_nullable
		to_char to_date to_number to_timestamp date_trunc date_part date_bin extract age make_date make_interval make_time make_timestamp
		make_timestamptz isfinite justify_days justify_hours justify_interval abs ceil ceiling floor round trunc mod div power sqrt exp ln log
		sign random width_bucket gcd lcm gen_random_uuid uuidv7 uuidv4 uuid_generate_v4 array_agg string_agg json_agg jsonb_agg json_object_agg
		jsonb_object_agg bool_and bool_or every bit_and bit_or stddev stddev_pop stddev_samp variance var_pop var_samp
		percentile_cont percentile_disc mode corr row_number rank dense_rank percent_rank cume_dist ntile lag lead first_value last_value nth_value
		array_append array_prepend array_cat array_length array_lower array_upper array_ndims array_position array_positions array_remove
		array_replace cardinality unnest generate_series generate_subscripts to_json to_jsonb row_to_json array_to_json
		json_build_object jsonb_build_object json_build_array jsonb_build_array json_object jsonb_object json_array_length jsonb_array_length
		json_array_elements jsonb_array_elements json_array_elements_text jsonb_array_elements_text json_each jsonb_each json_each_text
		jsonb_each_text json_extract_path jsonb_extract_path json_extract_path_text jsonb_extract_path_text json_object_keys jsonb_object_keys
		json_populate_record jsonb_populate_record json_populate_recordset jsonb_populate_recordset json_to_record jsonb_to_record
		json_to_recordset jsonb_to_recordset json_typeof jsonb_typeof json_strip_nulls jsonb_strip_nulls jsonb_set jsonb_set_lax jsonb_insert
		jsonb_pretty jsonb_path_exists jsonb_path_match jsonb_path_query jsonb_path_query_array jsonb_path_query_first
		to_tsvector to_tsquery plainto_tsquery phraseto_tsquery websearch_to_tsquery setweight ts_rank ts_headline
		nextval currval lastval setval current_setting current_schema current_database pg_typeof txid_current pg_current_xact_id
		pg_advisory_xact_lock pg_advisory_xact_lock_shared pg_try_advisory_xact_lock pg_try_advisory_xact_lock_shared pg_notify pg_sleep
		hashtext hashtextextended lower_inc upper_inc int4range int8range numrange tsrange tstzrange daterange`)
)

// changesSession reports whether a function that comes with the database, or
// with it, leaves something behind in the session.
func changesSession(name string) bool {
	switch name {
	case "set_config", "setseed", "dblink_connect", "dblink_connect_u", "dblink_disconnect", "load_extension":
		return true
	}
	return strings.HasPrefix(name, "pg_advisory_") && !strings.HasPrefix(name, "pg_advisory_xact_") ||
		strings.HasPrefix(name, "pg_try_advisory_") && !strings.HasPrefix(name, "pg_try_advisory_xact_")
}
