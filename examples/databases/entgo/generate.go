package entgo

// The version of ent is that in go.mod.
//go:generate go tool ent generate --feature sql/execquery ./ent/schema
