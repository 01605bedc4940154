// Package contract reads contracts, the JSON Schemas of messages, from files, and
// checks messages with them on both sides:
//
//	//go:embed contracts
//	var files embed.FS
//
//	dir, err := fs.Sub(files, "contracts")
//	set, err := contract.Load(dir, contract.Config{})
//	ob, err := outbox.New(db, outbox.WithContracts(set.Producer()))
//	cfg := inbox.ConsumerConfig{Contracts: set.Consumer()}
//
// A contract is a file for each type and version, such as OrderCreated/1.json: a
// JSON Schema of draft 2020-12. The directory is named as the type of the events,
// or as their topic, and may have others above it. Directories whose names begin
// with "_" hold schemas that contracts refer to by relative paths, such as
// {"$ref": "../_shared/money.json"}.
//
// Both sides apply the same schema, in different roles. A consumer ignores
// properties that its version of the contract does not have, as JSON Schema does.
// A producer writes none that are not declared: where an object has properties and
// no additionalProperties, others are refused. So properties can be added later
// without a clash with what has been written, and pulsectl contract diff can prove
// it; see docs/contracts.md.
//
// Formats are asserted. Nothing is read from the network. Patterns are those of
// package regexp, which takes time linear in the text, whatever the pattern.
// Documents are bounded in bytes, depth, values and digits; what exceeds a bound
// is refused.
package contract

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/asimalizada/pulse-events/internal/schema"
	"github.com/asimalizada/pulse-events/outbox/wire"
)

// DefaultMaxBytes is the largest payload that is checked, unless Config says
// otherwise.
const DefaultMaxBytes = 16 << 20

// Config are the settings of Load. The zero value is ready for use.
type Config struct {
	// Optional lets messages pass for whose type and topic there is no contract.
	// Without it they are refused, so that a misspelt type is found.
	Optional bool
	// MaxBytes is the largest payload that is checked; a larger one is refused.
	// Defaults to DefaultMaxBytes.
	MaxBytes int
}

// Contract is one version of the contract for a type.
type Contract struct {
	Name    string // the type or topic
	Version int
	File    string // in the directory that was loaded
}

func (c Contract) String() string { return fmt.Sprintf("%s/%d", c.Name, c.Version) }

// Set are the contracts of a directory. It is safe for concurrent use.
type Set struct {
	cfg       Config
	contracts []Contract // by name and version
	newest    map[string]int
	of        map[id]Contract
	open      map[id]*schema.Schema
	closed    map[id]*schema.Schema
}

// id tells a contract from others.
type id struct {
	name    string
	version int
}

// List returns the contracts in a directory, by name and version, without reading
// them. An error names the file that is no contract.
func List(dir fs.FS) ([]Contract, error) {
	var contracts []Contract
	var problems []error
	err := fs.WalkDir(dir, ".", func(file string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case file != "." && strings.HasPrefix(entry.Name(), "."), entry.IsDir() && strings.HasPrefix(entry.Name(), "_"):
			if entry.IsDir() {
				return fs.SkipDir
			}
			return nil
		case entry.IsDir() || path.Ext(file) != ".json":
			return nil
		}
		name := path.Dir(file)
		stem := strings.TrimSuffix(path.Base(file), ".json")
		version, err := wire.ParseVersion(stem)
		if err != nil || name == "." || stem[0] == '0' || stem[0] == '+' {
			problems = append(problems, fmt.Errorf("%s: name it TYPE/VERSION.json, such as OrderCreated/1.json; schemas that contracts share belong in a directory whose name begins with _", file))
			return nil
		}
		contracts = append(contracts, Contract{name, version, file})
		return nil
	})
	slices.SortFunc(contracts, func(a, b Contract) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), a.Version-b.Version)
	})
	return contracts, errors.Join(append(problems, err)...)
}

// Load reads the contracts of a directory. The error joins what is wrong with
// each of them, with file and place.
func Load(dir fs.FS, cfg Config) (*Set, error) {
	if cfg.MaxBytes < 0 {
		return nil, fmt.Errorf("contract: MaxBytes: %d; must be positive, or 0 for %d", cfg.MaxBytes, DefaultMaxBytes)
	}
	cfg.MaxBytes = cmp.Or(cfg.MaxBytes, DefaultMaxBytes)
	contracts, err := List(dir)
	if err != nil {
		return nil, fmt.Errorf("contract: %w", err)
	}
	if len(contracts) == 0 && !cfg.Optional {
		return nil, errors.New("contract: the directory has no contract, such as OrderCreated/1.json")
	}
	s := &Set{cfg: cfg, contracts: contracts, newest: make(map[string]int),
		of: make(map[id]Contract), open: make(map[id]*schema.Schema), closed: make(map[id]*schema.Schema)}
	library := schema.NewLibrary(dir)
	var problems []error
	for _, c := range contracts {
		if err := s.compile(library, c); err != nil {
			problems = append(problems, fmt.Errorf("contract: %w", err))
		}
		s.newest[c.Name] = max(s.newest[c.Name], c.Version)
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	return s, nil
}

// compile makes the schemas of both roles.
func (s *Set) compile(library *schema.Library, c Contract) (err error) {
	key := id{c.Name, c.Version}
	s.of[key] = c
	if s.open[key], err = library.Compile(c.File, ""); err != nil {
		return err
	}
	closed, err := library.Closed(c.File)
	if err != nil {
		return err
	}
	s.closed[key], err = closed.Compile(c.File, "")
	return err
}

// All returns the contracts, by name and version.
func (s *Set) All() []Contract { return slices.Clone(s.contracts) }

// Producer returns the contracts as a producer has to keep them.
func (s *Set) Producer() wire.Contracts { return role{s, s.closed} }

// Consumer returns the contracts as consumers rely on them.
func (s *Set) Consumer() wire.Contracts { return role{s, s.open} }

// Unchecked returns contracts that give messages their versions and check nothing,
// for those who do not want to pay for it.
func (s *Set) Unchecked() wire.Contracts { return role{s, nil} }
