package acceptance

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"

	"github.com/google/uuid"
)

func correlationIDRunsThrough(ctx context.Context, v *visitor) error {
	longest := strings.Repeat("x", 255)
	for _, id := range []string{"acceptance-" + uuid.NewString(), longest} {
		a, err := v.ask(ctx, http.MethodPost, v.OrdersURL+"/orders", someOrder, "X-Correlation-Id", id)
		if err != nil {
			return err
		}
		p, err := decode[placed](a, http.StatusCreated)
		if err != nil {
			return err
		}
		if p.CorrelationID != id || a.header.Get("x-correlation-id") != id {
			return a.wrong("given %q, header %q", id, a.header.Get("x-correlation-id"))
		}
		n, err := v.awaitNotification(ctx, p.OrderID)
		if err != nil {
			return err
		}
		if n.CorrelationID != id {
			return fmt.Errorf("the notification has the correlation id %q, want %q", n.CorrelationID, id)
		}
	}
	a, err := v.ask(ctx, http.MethodPost, v.OrdersURL+"/orders", someOrder)
	if err != nil {
		return err
	}
	if p, err := decode[placed](a, http.StatusCreated); err != nil || p.CorrelationID == "" || a.header.Get("x-correlation-id") != p.CorrelationID {
		return errors.Join(err, a.wrong("none given: header %q", a.header.Get("x-correlation-id")))
	}
	var problems []error
	for about, headers := range map[string][]string{
		"empty":     {"x-correlation-id", ""},
		"with gap":  {"x-correlation-id", "a b"},
		"not ASCII": {"x-correlation-id", "größe"},
		"too long":  {"x-correlation-id", longest + "x"},
		"two":       {"x-correlation-id", "a", "x-correlation-id", "b"},
	} {
		a, err := v.ask(ctx, http.MethodPost, v.OrdersURL+"/orders", someOrder, headers...)
		if err == nil {
			err = refused(a, http.StatusBadRequest, "invalid_request", "x-correlation-id")
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", about, err))
		}
	}
	return errors.Join(problems...)
}

const keyHeader = "Idempotency-Key"

func idempotencyKeyHolds(ctx context.Context, v *visitor) error {
	key := uuid.NewString()
	first, err := v.place(ctx, someOrder, keyHeader, key)
	if err != nil {
		return err
	}
	// The same order in other spelling is the same.
	for _, body := range []string{someOrder, `{"amount": 7750e-2, "customerId": "acceptance-customer"}`} {
		again, err := v.place(ctx, body, keyHeader, key)
		if err != nil {
			return err
		}
		if again != first {
			return fmt.Errorf("%s under the same key: answered %+v, want the first answer %+v", body, again, first)
		}
	}
	other := strings.Replace(someOrder, "77.5", "77.51", 1)
	a, err := v.ask(ctx, http.MethodPost, v.OrdersURL+"/orders", other, keyHeader, key)
	if err == nil {
		err = refused(a, http.StatusUnprocessableEntity, "idempotency_key_reused", keyHeader)
	}
	if err != nil {
		return err
	}
	if p, err := v.place(ctx, other, keyHeader, key+"-2"); err != nil || p.OrderID == first.OrderID {
		return errors.Join(err, fmt.Errorf("under a key of its own the other order got %+v, the first %+v", p, first))
	}
	if _, err := v.awaitNotification(ctx, first.OrderID); err != nil {
		return err
	}
	var problems []error
	for about, headers := range map[string][]string{
		"empty":    {keyHeader, ""},
		"with gap": {keyHeader, "a b"},
		"too long": {keyHeader, strings.Repeat("x", 256)},
		"two":      {keyHeader, "a", keyHeader, "b"},
	} {
		a, err := v.ask(ctx, http.MethodPost, v.OrdersURL+"/orders", someOrder, headers...)
		if err == nil {
			err = refused(a, http.StatusBadRequest, "invalid_request", keyHeader)
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("key %s: %w", about, err))
		}
	}
	return errors.Join(problems...)
}

func idempotencyKeyHoldsAtOnce(ctx context.Context, v *visitor) error {
	const clients = 8
	key := uuid.NewString()
	answers, failures := make([]placed, clients), make([]error, clients)
	var wg sync.WaitGroup
	for i := range clients {
		wg.Go(func() { answers[i], failures[i] = v.place(ctx, someOrder, keyHeader, key) })
	}
	wg.Wait()
	if err := errors.Join(failures...); err != nil {
		return err
	}
	for _, p := range answers {
		if p != answers[0] {
			return fmt.Errorf("%d clients at once under one key got different answers: %+v and %+v", clients, answers[0], p)
		}
	}
	_, err := v.awaitNotification(ctx, answers[0].OrderID)
	return err
}
