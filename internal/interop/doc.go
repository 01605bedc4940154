// Package interop holds tests of the wire formats with clients of other
// ecosystems, which nobody here wrote: @nestjs/microservices and the
// CloudEvents SDK, from npm. The tests need Node.js and these packages, and skip
// where they are missing; "make broker-suites SUITES=codecs" installs and runs
// them.
package interop
