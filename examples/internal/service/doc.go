// Package service is what the example services share whatever web framework
// and data layer they are written with: settings and where they come from, the
// life of the server, the schemas a database has to have, and what health tells.
package service
