package chaos

import (
	"context"
	"errors"
	"sync"
	"time"
)

// terminateEvery is how often sessions are terminated while that lasts.
const terminateEvery = 300 * time.Millisecond

func (s *system) beginDatabase(ctx context.Context, f Fault) (Healing, error) {
	switch f.Kind {
	case DatabaseLock:
		store := s.orders
		if f.Target == databaseOf+"-effects" {
			store = s.effects
		}
		unlock, err := store.lock(context.WithoutCancel(ctx))
		return func(context.Context) error { return unlock() }, err
	case DatabaseStop, DatabaseKill:
		return s.command(ctx, f.Kind, *s.cfg.Servers)
	case DatabaseTerminate:
		return s.terminate(ctx)
	case DatabaseCredentials:
		return s.refuse(ctx, (*store).shutOut, (*store).letIn)
	case DatabaseRevoke:
		return s.refuse(ctx, (*store).revoke, (*store).grant)
	case DatabaseClock:
		by := f.Delay
		if f.Back {
			by = -by
		}
		move := func(by time.Duration) Healing {
			return s.onStores(func(st *store, ctx context.Context) error { return st.setClock(ctx, by) })
		}
		return move(0), move(by)(ctx)
	}
	return nil, errors.New("there is no such fault")
}

// refuse makes the databases refuse the run's roles, until the end.
func (s *system) refuse(ctx context.Context, begin, end func(*store, context.Context) error) (Healing, error) {
	s.mu.Lock()
	s.refusal = period{from: time.Now()}
	s.mu.Unlock()
	return func(ctx context.Context) error {
		err := s.onStores(end)(ctx)
		s.mu.Lock()
		s.refusal.until = time.Now()
		s.mu.Unlock()
		return err
	}, s.onStores(begin)(ctx)
}

// onStores does something with both databases.
func (s *system) onStores(do func(*store, context.Context) error) Healing {
	return func(ctx context.Context) error { return errors.Join(do(s.orders, ctx), do(s.effects, ctx)) }
}

// terminate ends sessions again and again.
func (s *system) terminate(ctx context.Context) (Healing, error) {
	once := func(ctx context.Context) error {
		return errors.Join(s.orders.terminate(ctx, s.exchange), s.effects.terminate(ctx, s.exchange))
	}
	if err := once(ctx); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() {
		tick := time.NewTicker(terminateEvery)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				_ = once(ctx) // the database may be stopped as well
			case <-ctx.Done():
				return
			}
		}
	})
	return func(context.Context) error {
		cancel()
		running.Wait()
		return nil
	}, nil
}
