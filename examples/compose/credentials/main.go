// Command credentials generates the passwords of docker-compose.yml. Nothing has
// to be prepared, and no file of the project and no container's settings contain
// one.
//
//	credentials make    creates missing files; changes no password
//	credentials show    prints the addresses of databases and broker as JSON
//
// There is a volume for each reader, mounted below the directory that -volumes
// names, so that a service can read its own secrets and no others.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
)

// Exit codes.
const (
	succeeded = 0
	failed    = 1
	misused   = 2
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("credentials", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		fmt.Fprintln(stderr, "usage: credentials [-volumes directory] make|show")
		flags.PrintDefaults()
	}
	root := flags.String("volumes", "/volumes", "where the volumes of all readers are mounted")
	if err := flags.Parse(args); err != nil {
		return misused
	}
	var err error
	switch v := volumes(*root); {
	case flags.NArg() == 1 && flags.Arg(0) == "make":
		err = v.fill()
	case flags.NArg() == 1 && flags.Arg(0) == "show":
		err = show(v, stdout)
	default:
		flags.Usage()
		return misused
	}
	if err != nil {
		fmt.Fprintln(stderr, "error:", err)
		return failed
	}
	return succeeded
}

func show(v volumes, stdout io.Writer) error {
	a, err := v.addresses()
	if err != nil {
		return err
	}
	encoder := json.NewEncoder(stdout)
	encoder.SetEscapeHTML(false) // an address is for people to copy
	return encoder.Encode(a)
}
