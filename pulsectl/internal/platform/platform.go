// Package platform has what differs between operating systems: groups of processes,
// signals, and codes of errors.
//
// Windows has no signals to send: Terminate and Interrupt end a process there at
// once, as kill -9 does, which loses no message, and Pause, Resume and Detach fail.
package platform
