// Package readme holds README.md to what compiles: each of its Go blocks
// stands word for word in a test file here.
package readme
