// Package exampletest holds every stack of the examples to what can be seen
// from outside only with an eye on database, logs or process: what is stored
// together, what is logged, how programs begin and end. Each stack's own tests
// call the methods of a [Stack], and package acceptance says the rest.
package exampletest
