package registry

import (
	"archive/zip"
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"reflect"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/sr"

	"github.com/asimalizada/pulse-events/internal/schema"
	"github.com/asimalizada/pulse-events/outbox/wire"
)

// What is read of a registry is bounded.
const (
	maxFiles = 10_000
	maxText  = 1 << 20 // of a schema, as contract.Load has it
)

// Pull returns the contracts of the given names with all their versions and the
// schemas that they refer to, as files that contract.Load reads. Without names these
// are the JSON Schemas of all subjects with the client's prefix and suffix, of which
// those whose names begin with "_" are left out unless a contract refers to them.
func (c *Client) Pull(ctx context.Context, names ...string) (fs.FS, error) {
	text, err := c.pull(ctx, names)
	if err != nil {
		return nil, err
	}
	return zip.NewReader(bytes.NewReader(text), int64(len(text)))
}

// pull returns the files in an archive.
func (c *Client) pull(ctx context.Context, names []string) ([]byte, error) {
	all := len(names) == 0
	if all {
		var err error
		if names, err = c.names(ctx); err != nil {
			return nil, err
		}
	}
	p := &puller{client: c, files: make(map[string]string), from: make(map[string]string)}
	for _, name := range names {
		if !fs.ValidPath(name) || name == "." {
			return nil, fmt.Errorf("registry %s: %q is not the name of a contract", c.name, name)
		}
		versions, err := c.versions(ctx, c.subject(name))
		if err != nil {
			return nil, err
		}
		if len(versions) == 0 && !all {
			return nil, fmt.Errorf("registry %s: there is no subject %s", c.name, c.subject(name))
		}
		for _, version := range versions {
			s, err := c.schema(ctx, c.subject(name), version)
			if err != nil {
				return nil, err
			}
			if s.Type != sr.TypeJSON && all {
				break
			}
			if version > wire.MaxVersion {
				return nil, fmt.Errorf("registry %s: version %d of subject %s is above %d", c.name, version, s.Subject, wire.MaxVersion)
			}
			if err := p.add(ctx, fmt.Sprintf("%s/%d.json", name, version), s); err != nil {
				return nil, err
			}
		}
	}
	return archive(p.files)
}

// names returns the names of the contracts in the registry.
func (c *Client) names(ctx context.Context) (names []string, err error) {
	var subjects []string
	err = c.call(ctx, "list of subjects", func(ctx context.Context) error {
		subjects, err = c.api.Subjects(ctx)
		return err
	})
	for _, subject := range subjects {
		name, ours := strings.CutPrefix(subject, c.cfg.Prefix)
		name, also := strings.CutSuffix(name, c.cfg.Suffix)
		if ours && also && name != "" && name[0] != '_' {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, err
}

// puller collects files.
type puller struct {
	client *Client
	files  map[string]string // texts
	from   map[string]string // which version of a subject a file is
}

// add adds the file of a schema and those of what it refers to.
func (p *puller) add(ctx context.Context, file string, s sr.SubjectSchema) error {
	from := fmt.Sprintf("version %d of subject %s", s.Version, s.Subject)
	if s.Type != sr.TypeJSON {
		return fmt.Errorf("registry %s: %s is no JSON Schema, but %v", p.client.name, from, s.Type)
	}
	if have, found := p.files[file]; found {
		if p.from[file] == from || Same([]byte(have), []byte(s.Schema.Schema)) {
			return nil
		}
		return fmt.Errorf("registry %s: %s would be %s and %s, which differ; a directory holds one of them: pull fewer contracts, by name", p.client.name, file, p.from[file], from)
	}
	if len(p.files) == maxFiles {
		return fmt.Errorf("registry %s: more than %d schemas; name the contracts", p.client.name, maxFiles)
	}
	p.files[file], p.from[file] = s.Schema.Schema, from
	for _, r := range s.References {
		target := path.Join(path.Dir(file), r.Name)
		if strings.Contains(r.Name, ":") || path.IsAbs(r.Name) || !fs.ValidPath(target) {
			return fmt.Errorf("registry %s: %s refers to %q, which is no relative path in a directory of contracts", p.client.name, from, r.Name)
		}
		referred, err := p.client.schema(ctx, r.Subject, r.Version)
		if err != nil {
			return err
		}
		if err := p.add(ctx, target, referred); err != nil {
			return err
		}
	}
	return nil
}

// archive returns a zip of files.
func archive(files map[string]string) ([]byte, error) {
	var out bytes.Buffer
	z := zip.NewWriter(&out)
	for _, file := range slices.Sorted(maps.Keys(files)) {
		w, err := z.Create(file)
		if err == nil {
			_, err = io.WriteString(w, files[file])
		}
		if err != nil {
			return nil, err
		}
	}
	err := z.Close()
	return out.Bytes(), err
}

// Same reports whether two texts are the same JSON, however it is written.
func Same(a, b []byte) bool {
	x, errA := schema.Decode(a, maxText)
	y, errB := schema.Decode(b, maxText)
	return errA == nil && errB == nil && reflect.DeepEqual(x, y)
}
