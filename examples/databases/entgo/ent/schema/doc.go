// Package schema holds the entities from which ent generates package ent.
package schema
