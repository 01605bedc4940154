package registry

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/sr"

	"github.com/asimalizada/pulse-events/internal/schema"
	"github.com/asimalizada/pulse-events/outbox/wire/contract"
)

// PushOptions are the settings of Push. The zero value is ready for use.
type PushOptions struct {
	// DryRun finds out what Push would do, asks the registry what it would refuse as
	// far as it can tell before, and writes nothing.
	DryRun bool
	// Compatibility is set for the subjects that get new versions, such as "NONE" or
	// "BACKWARD". Empty: it stays as it is.
	Compatibility string
}

// Pushed is a file that Push has looked at.
type Pushed struct {
	File    string
	Subject string
	Version int  // in the registry; 0: not there yet, after a dry run
	New     bool // it was, or would be, added
}

// IncompatibleError says that the registry refuses a version because of what the
// subject has. Compatible is what pulsectl contract check proves; registries judge by
// rules of their own.
type IncompatibleError struct {
	File, Subject string
	Reasons       []string // the registry's
}

func (e *IncompatibleError) Error() string {
	return fmt.Sprintf("%s: the registry refuses it as incompatible with subject %s: %s", e.File, e.Subject, strings.Join(e.Reasons, "; "))
}

// Push adds the contracts of a directory that the registry does not have, and what
// they refer to. It changes nothing before all is known to fit: a version that is
// there has to be the same, with what it refers to, and a new one the next of its
// subject. What was pushed before an error stays, and is returned; Push again goes on
// from there.
func (c *Client) Push(ctx context.Context, dir fs.FS, o PushOptions) ([]Pushed, error) {
	var level sr.CompatibilityLevel
	if o.Compatibility != "" {
		if err := level.UnmarshalText([]byte(strings.ToUpper(o.Compatibility))); err != nil {
			return nil, fmt.Errorf("registry: Compatibility: %w", err)
		}
	}
	set, err := contract.Load(dir, contract.Config{})
	if err != nil {
		return nil, err
	}
	p := &pusher{client: c, o: o, level: level, dir: dir, library: schema.NewLibrary(dir), contracts: make(map[string]contract.Contract),
		present: make(map[string]bool), done: make(map[string]Pushed), subjects: make(map[string]string), leveled: make(map[string]bool)}
	for _, contract := range set.All() {
		p.contracts[contract.File] = contract
	}
	if err := p.plan(ctx, set.All()); err != nil {
		return nil, err
	}
	var problems []error
	for _, contract := range set.All() {
		if _, err := p.push(ctx, contract.File, nil); err != nil {
			problems = append(problems, err)
			if !o.DryRun {
				break
			}
		}
	}
	return p.pushed, errors.Join(problems...)
}

// pusher pushes a directory.
type pusher struct {
	client    *Client
	o         PushOptions
	level     sr.CompatibilityLevel
	dir       fs.FS
	library   *schema.Library
	contracts map[string]contract.Contract // by file
	present   map[string]bool              // files of contracts that the registry has
	done      map[string]Pushed            // by file
	subjects  map[string]string            // which file a subject is of, for shared schemas
	leveled   map[string]bool              // subjects whose compatibility is set
	pushed    []Pushed
}

// plan finds all that stands in the way.
func (p *pusher) plan(ctx context.Context, contracts []contract.Contract) error {
	var problems []error
	next := make(map[string]int)
	for _, contract := range contracts {
		subject := p.client.subject(contract.Name)
		versions, err := p.client.versions(ctx, subject)
		if err != nil {
			return err
		}
		if next[contract.Name] == 0 {
			next[contract.Name] = slices.Max(append(versions, 0)) + 1
		}
		if slices.Contains(versions, contract.Version) {
			p.present[contract.File] = true
			if err := p.compare(ctx, contract, subject); err != nil {
				problems = append(problems, err)
			}
			continue
		}
		if contract.Version != next[contract.Name] {
			problems = append(problems, fmt.Errorf("%s: the registry would make it version %d of subject %s: it numbers versions without gaps", contract.File, next[contract.Name], subject))
		}
		next[contract.Name]++
	}
	return errors.Join(problems...)
}

// compare compares a contract and what it refers to with what the registry has.
func (p *pusher) compare(ctx context.Context, contract contract.Contract, subject string) error {
	theirs := &puller{client: p.client, files: make(map[string]string), from: make(map[string]string)}
	s, err := p.client.schema(ctx, subject, contract.Version)
	if err == nil {
		err = theirs.add(ctx, contract.File, s)
	}
	if err != nil {
		return err
	}
	var problems []error
	for _, file := range slices.Sorted(maps.Keys(theirs.files)) {
		ours, err := fs.ReadFile(p.dir, file)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			problems = append(problems, fmt.Errorf("%s: is missing, and %s is %s in the registry", file, contract, theirs.from[file]))
		case err != nil:
			return err
		case !Same(ours, []byte(theirs.files[file])):
			problems = append(problems, fmt.Errorf("%s: differs from %s in the registry, where %s is; a version never changes: add a new one", file, theirs.from[file], contract))
		}
	}
	return errors.Join(problems...)
}

// push adds a file and before it what it refers to, and returns which version of which
// subject it is. above are the files that led here.
func (p *pusher) push(ctx context.Context, file string, above []string) (Pushed, error) {
	if done, found := p.done[file]; found {
		return done, nil
	}
	if slices.Contains(above, file) {
		return Pushed{}, fmt.Errorf("%s: schemas refer to each other in a circle, which a registry cannot hold: %s", file, strings.Join(append(above, file), ", "))
	}
	c, isContract := p.contracts[file]
	subject := p.client.subject(c.Name)
	if !isContract {
		subject = p.client.subject(strings.ReplaceAll(strings.TrimSuffix(file, ".json"), "/", "."))
		if other, taken := p.subjects[subject]; taken && other != file {
			return Pushed{}, fmt.Errorf("%s and %s would both be subject %s", other, file, subject)
		}
		p.subjects[subject] = file
	}
	pushed := Pushed{File: file, Subject: subject}
	var err error
	if p.present[file] {
		pushed.Version = c.Version
	} else if pushed, err = p.register(ctx, pushed, c.Version, append(slices.Clone(above), file)); err != nil {
		return pushed, err
	}
	p.done[file] = pushed
	p.pushed = append(p.pushed, pushed)
	return pushed, nil
}

// register adds a file to the registry unless its subject has it. version is the one
// that it has to become; 0: any.
func (p *pusher) register(ctx context.Context, pushed Pushed, version int, above []string) (Pushed, error) {
	text, err := fs.ReadFile(p.dir, pushed.File)
	if err != nil {
		return pushed, err
	}
	s := sr.Schema{Schema: string(text), Type: sr.TypeJSON}
	known := true // all that it refers to is in the registry
	refs, err := p.library.References(pushed.File)
	if err != nil {
		return pushed, err
	}
	// What they refer to in turn is named too, and first: some registries resolve the
	// references of references against this file, and each subject once.
	for i := 0; i < len(refs); i++ {
		r := refs[i]
		to, err := p.push(ctx, r.File, above)
		if err != nil {
			return pushed, err
		}
		known = known && to.Version != 0
		s.References = append(s.References, sr.SchemaReference{Name: r.Name, Subject: to.Subject, Version: to.Version})
		further, err := p.library.References(r.File)
		if err != nil {
			return pushed, err
		}
		for _, f := range further {
			if !slices.ContainsFunc(refs, func(r schema.Reference) bool { return r.File == f.File }) {
				relative, err := filepath.Rel(path.Dir(pushed.File), f.File)
				if err != nil {
					return pushed, err
				}
				refs = append(refs, schema.Reference{Name: filepath.ToSlash(relative), File: f.File})
			}
		}
	}
	slices.Reverse(s.References)
	if known {
		if pushed.Version, err = p.lookup(ctx, pushed.Subject, s); err != nil {
			return pushed, err
		}
	}
	switch {
	case pushed.Version != 0 && version != 0:
		return pushed, fmt.Errorf("%s: is the same as version %d of subject %s, and a registry has each schema once", pushed.File, pushed.Version, pushed.Subject)
	case pushed.Version != 0:
		return pushed, nil
	}
	pushed.New = true
	if p.o.DryRun {
		if known && p.o.Compatibility == "" {
			err = p.compatible(ctx, pushed, s)
		}
		return pushed, err
	}
	if err := p.setLevel(ctx, pushed.Subject); err != nil {
		return pushed, err
	}
	err = p.client.call(ctx, "register "+pushed.File+" as subject "+pushed.Subject, func(ctx context.Context) error {
		_, err := p.client.api.RegisterSchema(ctx, pushed.Subject, s, -1, -1)
		return err
	})
	if refused, ok := errors.AsType[*Error](err); ok && refused.Status == http.StatusConflict {
		if explained := p.compatible(ctx, pushed, s); explained != nil {
			return pushed, explained
		}
		return pushed, &IncompatibleError{pushed.File, pushed.Subject, []string{refused.Message}}
	}
	if err == nil {
		pushed.Version, err = p.lookup(ctx, pushed.Subject, s)
	}
	if err == nil && (pushed.Version == 0 || version != 0 && pushed.Version != version) {
		err = fmt.Errorf("%s: became version %d of subject %s: somebody else writes to it, or versions of it were deleted", pushed.File, pushed.Version, pushed.Subject)
	}
	return pushed, err
}

// lookup returns which version of a subject a schema is; 0: none.
func (p *pusher) lookup(ctx context.Context, subject string, s sr.Schema) (version int, err error) {
	err = p.client.call(ctx, "look for a schema in subject "+subject, func(ctx context.Context) error {
		found, err := p.client.api.LookupSchema(ctx, subject, s)
		version = found.Version
		return err
	})
	if missing(err) {
		return 0, nil
	}
	return version, err
}

// compatible asks the registry whether it would take a version, and why not.
func (p *pusher) compatible(ctx context.Context, pushed Pushed, s sr.Schema) error {
	var result sr.CheckCompatibilityResult
	err := p.client.call(ctx, "compatibility of "+pushed.File+" with subject "+pushed.Subject, func(ctx context.Context) (err error) {
		result, err = p.client.api.CheckCompatibility(sr.WithParams(ctx, sr.Verbose), pushed.Subject, -2, s)
		return err
	})
	switch {
	case missing(err) || err == nil && result.Is:
		return nil
	case err != nil:
		return err
	}
	reasons := result.Messages
	if len(reasons) == 0 {
		reasons = []string{"it gives no reason"}
	}
	return &IncompatibleError{pushed.File, pushed.Subject, reasons}
}

// setLevel sets the compatibility of a subject, where that is asked for.
func (p *pusher) setLevel(ctx context.Context, subject string) error {
	if p.o.Compatibility == "" || p.leveled[subject] {
		return nil
	}
	p.leveled[subject] = true
	return p.client.call(ctx, "compatibility of subject "+subject, func(ctx context.Context) error {
		return p.client.api.SetCompatibility(ctx, sr.SetCompatibility{Level: p.level}, subject)[0].Err
	})
}
