package reconcile

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
)

// spool holds any number of texts in the order they were added: the first in
// memory, the rest in an unlinked temporary file.
type spool struct {
	n     int
	head  []string
	file  *os.File
	write *bufio.Writer
}

// spoolHead is how many texts a spool keeps in memory.
const spoolHead = 4096

func (s *spool) add(text string) error {
	s.n++
	if len(s.head) < spoolHead {
		s.head = append(s.head, text)
		return nil
	}
	if s.file == nil {
		file, err := os.CreateTemp("", "pulsectl-verify-*")
		if err != nil {
			return fmt.Errorf("write ids to disk: %w", err)
		}
		// Removed with the process, however it ends; where an open file cannot
		// be removed, close does it.
		_ = os.Remove(file.Name())
		s.file, s.write = file, bufio.NewWriterSize(file, 1<<16)
	}
	s.write.Write(binary.AppendUvarint(nil, uint64(len(text))))
	if _, err := s.write.WriteString(text); err != nil {
		return fmt.Errorf("write ids to disk: %w", err)
	}
	return nil
}

// all yields the texts; an error ends the sequence. Texts must not be added
// meanwhile.
func (s *spool) all() iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for _, text := range s.head {
			if !yield(text, nil) {
				return
			}
		}
		if s.file == nil {
			return
		}
		if err := s.rewind(); err != nil {
			yield("", err)
			return
		}
		in := bufio.NewReaderSize(s.file, 1<<16)
		for range s.n - len(s.head) {
			text, err := readText(in)
			if !yield(text, err) || err != nil {
				return
			}
		}
	}
}

func (s *spool) rewind() error {
	if err := s.write.Flush(); err != nil {
		return fmt.Errorf("write ids to disk: %w", err)
	}
	if _, err := s.file.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("read back ids: %w", err)
	}
	return nil
}

func readText(in *bufio.Reader) (string, error) {
	size, err := binary.ReadUvarint(in)
	if err != nil {
		return "", fmt.Errorf("read back ids: %w", err)
	}
	text := make([]byte, size)
	if _, err := io.ReadFull(in, text); err != nil {
		return "", fmt.Errorf("read back ids: %w", err)
	}
	return string(text), nil
}

// close removes the file. The texts in memory stay readable.
func (s *spool) close() error {
	if s.file == nil {
		return nil
	}
	err := s.file.Close()
	if removal := os.Remove(s.file.Name()); removal != nil && !errors.Is(removal, os.ErrNotExist) {
		err = errors.Join(err, removal)
	}
	s.file = nil
	return err
}
