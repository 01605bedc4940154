package databases

import _ "embed"

// Schema makes the tables of the examples.
//
//go:embed schema.sql
var Schema string
