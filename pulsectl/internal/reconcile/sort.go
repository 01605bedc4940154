package reconcile

import (
	"context"
	"fmt"
	"iter"

	"github.com/lanrat/extsort"
)

// sortChunk is how many texts are sorted in memory; more are merged from files.
const sortChunk = 100_000

// sortUnique sorts texts byte by byte and drops repetitions. The caller closes
// the result.
func sortUnique(ctx context.Context, texts iter.Seq2[string, error]) (_ *spool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	in := make(chan string, 64)
	read := make(chan error, 1)
	go func() {
		defer close(in)
		for text, err := range texts {
			if err != nil {
				read <- err
				cancel()
				return
			}
			select {
			case in <- text:
			case <-ctx.Done():
				read <- ctx.Err()
				return
			}
		}
		read <- nil
	}()
	sorter, out, failed := extsort.Strings(in, &extsort.Config{ChunkSize: sortChunk, NumWorkers: 2, ChanBuffSize: 1, SortedChanBuffSize: 64})
	sorter.Sort(ctx)
	sorted := new(spool)
	last, first := "", true
	for text := range out {
		if !first && text == last {
			continue
		}
		last, first = text, false
		if err == nil {
			err = sorted.add(text)
		}
	}
	readErr, sortErr := <-read, <-failed
	switch {
	case readErr != nil:
		err = readErr
	case sortErr != nil && err == nil:
		err = fmt.Errorf("sort ids: %w", sortErr)
	}
	if err != nil {
		_ = sorted.close()
		return nil, err
	}
	return sorted, nil
}
